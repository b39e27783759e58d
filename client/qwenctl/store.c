/* store.c - models on this machine.  See store.h. */
#include "store.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "file.h"
#include "proto/sha256.h"

enum { STORE_SPARE_BYTES = 64 << 20 }; /* a disk is never filled to its last block */

void store_folders(char *ret_folders[2])
{
    ret_folders[0] = file_home("XDG_DATA_HOME", ".local/share", "models");
    ret_folders[1] = strdup(QWENCTL_STATE "/models");
}

enum code store_folder(const char *into, char **ret_folder, struct fault *fault)
{
    char *folders[2];
    const bool for_service = !geteuid();

    if (into) {
        *ret_folder = strdup(into);
    } else {
        store_folders(folders);
        *ret_folder = folders[for_service];
        free(folders[!for_service]);
    }
    if (!*ret_folder)
        return (enum code)fault_set(fault, CODE_USAGE, "there is no home for models: --into FOLDER");
    return CODE_OK;
}

int store_hash(int fd, bool (*stop)(void), char ret_hex[STORE_HASH_BYTES + 1])
{
    enum { CHUNK = 1 << 20 };
    _cleanup_(freep) uint8_t *data = malloc(CHUNK);
    struct sha256 sha;
    uint8_t digest[32];
    off_t at = 0;
    ssize_t n;

    if (!data)
        return err_origin(-ENOMEM);
    sha256_init(&sha);
    while ((n = pread(fd, data, CHUNK, at)) != 0) {
        if (stop && stop())
            return -EINTR;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno();
        sha256_put(&sha, data, (size_t)n);
        at += n;
    }
    sha256_end(&sha, digest);
    for (size_t i = 0; i < sizeof(digest); i++)
        snprintf(ret_hex + 2 * i, 3, "%02x", digest[i]);
    return 0;
}

bool store_known_hash(const char *path, char ret_hex[STORE_HASH_BYTES + 1])
{
    _cleanup_(freep) char *beside = NULL, *text = NULL;
    size_t n;

    if (asprintf(&beside, "%s.sha256", path) < 0 || file_read(beside, 4096, &text, &n) ||
        strspn(text, "0123456789abcdef") != STORE_HASH_BYTES)
        return false;
    memcpy(ret_hex, text, STORE_HASH_BYTES);
    ret_hex[STORE_HASH_BYTES] = 0;
    return true;
}

int store_write_hash(const char *path, const char *hex)
{
    _cleanup_(freep) char *beside = NULL, *line = NULL;
    const char *name = strrchr(path, '/');

    if (asprintf(&beside, "%s.sha256", path) < 0 ||
        asprintf(&line, "%s  %s\n", hex, name ? name + 1 : path) < 0)
        return err_origin(-ENOMEM);
    return file_replace(beside, line, strlen(line), 0644);
}

enum code store_check_room(const char *folder, uint64_t bytes, struct fault *fault)
{
    const double mib = 1 << 20;
    struct statvfs fs;
    uint64_t room;

    if (statvfs(folder, &fs) < 0)
        return (enum code)fault_set(fault, CODE_FAILED, "%s: %s", folder, strerror(errno));
    room = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (room >= bytes + STORE_SPARE_BYTES)
        return CODE_OK;
    return (enum code)fault_set(fault, CODE_FAILED, "%s has room for %.0f MiB, %.0f MiB are needed", folder,
                                (double)room / mib, (double)(bytes + STORE_SPARE_BYTES) / mib);
}

bool store_is_gguf(int fd)
{
    char magic[4];

    return pread(fd, magic, sizeof(magic), 0) == sizeof(magic) && !memcmp(magic, "GGUF", sizeof(magic));
}
