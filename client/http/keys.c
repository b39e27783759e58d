/* keys.c - see keys.h. */
#include "keys.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/util/conf.h"

static const char keys_name_chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

/* The file is ours or root's, and nobody else can read it. */
static int keys_check_file(int fd, const char *path, struct fault *fault)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return err_errno();
    if (!S_ISREG(st.st_mode))
        return fault_set(fault, KEYS_E_FILE, "%s is not a file", path);
    if (st.st_uid != geteuid() && st.st_uid)
        return fault_set(fault, KEYS_E_FILE, "%s belongs to uid %u, must be ours or root's", path, st.st_uid);
    if (st.st_mode & 077)
        return fault_set(fault, KEYS_E_FILE, "%s has mode %03o: others could read the keys; chmod 600", path,
                         st.st_mode & 0777);
    return KEYS_OK;
}

static int keys_add(struct keys *keys, char *line, const char *path, int number, struct fault *fault)
{
    char *rest = NULL, *name = strtok_r(line, " \t\r\n", &rest), *key = strtok_r(NULL, " \t\r\n", &rest);
    const char *chars = keys_name_chars;

    if (!name || *name == '#')
        return KEYS_OK;
    if (!key || strtok_r(NULL, " \t\r\n", &rest))
        return fault_set(fault, KEYS_E_SYNTAX, "%s:%d: must be 'NAME KEY'", path, number);
    if (strlen(name) > KEYS_NAME_BYTES || strspn(name, chars) != strlen(name))
        return fault_set(fault, KEYS_E_SYNTAX, "%s:%d: a name has 1 to %d letters, digits and . _ -", path,
                         number, KEYS_NAME_BYTES);
    if (strlen(key) < KEYS_KEY_MIN || strlen(key) > KEYS_KEY_BYTES)
        return fault_set(fault, KEYS_E_SYNTAX, "%s:%d: a key has %d to %d characters", path, number,
                         KEYS_KEY_MIN, KEYS_KEY_BYTES);
    if (keys_find(keys, key))
        return fault_set(fault, KEYS_E_SYNTAX, "%s:%d: the same key stands there twice", path, number);
    if (keys->n == KEYS_MAX)
        return fault_set(fault, KEYS_E_SYNTAX, "%s:%d: more than %d keys", path, number, KEYS_MAX);
    snprintf(keys->entries[keys->n].name, sizeof(keys->entries[0].name), "%s", name);
    snprintf(keys->entries[keys->n++].key, sizeof(keys->entries[0].key), "%s", key);
    return KEYS_OK;
}

int keys_read(const char *path, struct keys **ret_keys, struct fault *fault)
{
    _cleanup_(keys_freep) struct keys *keys = calloc(1, sizeof(*keys));
    _cleanup_(conf_fclosep) FILE *file = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), r = KEYS_OK;
    char line[512];

    if (fd < 0)
        return fault_set(fault, KEYS_E_FILE, "%s: %s", path, strerror(errno));
    file = fdopen(fd, "r");
    if (!file)
        close(fd);
    if (!keys || !file)
        return err_origin(-ENOMEM);
    r = keys_check_file(fd, path, fault);
    for (int number = 1; !r && fgets(line, sizeof(line), file); number++)
        r = keys_add(keys, line, path, number, fault);
    explicit_bzero(line, sizeof(line));
    if (!r && !keys->n)
        r = fault_set(fault, KEYS_E_SYNTAX, "%s has no keys", path);
    if (!r)
        *ret_keys = steal(&keys);
    return r;
}

void keys_free(struct keys *keys)
{
    if (keys)
        explicit_bzero(keys, sizeof(*keys));
    free(keys);
}

/* All of both buffers, which are zero behind the key. */
static bool keys_is_same(const char a[KEYS_KEY_BYTES + 1], const char b[KEYS_KEY_BYTES + 1])
{
    volatile unsigned char differs = 0;

    for (size_t i = 0; i <= KEYS_KEY_BYTES; i++)
        differs |= (unsigned char)(a[i] ^ b[i]);
    return !differs;
}

const char *keys_find(const struct keys *keys, const char *key)
{
    char padded[KEYS_KEY_BYTES + 1] = "";
    const char *found = NULL;

    if (strlen(key) > KEYS_KEY_BYTES)
        return NULL;
    memcpy(padded, key, strlen(key));
    for (size_t i = 0; i < keys->n; i++)
        if (keys_is_same(padded, keys->entries[i].key))
            found = keys->entries[i].name;
    return found;
}
