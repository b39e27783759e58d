/* store.h - models on this machine: GGUF files in the user's folder and in the service's, each with its hash
 * in a file beside it (NAME.gguf.sha256, in the form of sha256sum). */
#pragma once

#include "code.h"

enum { STORE_HASH_BYTES = 64 }; /* hexadecimal digits */

/* Where a model is put: --into, else the service's folder for root, else the user's; the caller frees. */
enum code store_folder(const char *into, char **ret_folder, struct fault *fault);
/* The user's folder (NULL: no home) and the service's; the caller frees each. */
void store_folders(char *ret_folders[2]);

/* Of an open file, from its beginning; negative errno.  stop: asked now and then, true ends it with -EINTR.
 */
int store_hash(int fd, bool (*stop)(void), char ret_hex[STORE_HASH_BYTES + 1]);
/* The hash that stands beside a model; false: none does. */
bool store_known_hash(const char *path, char ret_hex[STORE_HASH_BYTES + 1]);
int store_write_hash(const char *path, const char *hex);

/* CODE_FAILED unless the folder has room for bytes and some more, with both numbers. */
enum code store_check_room(const char *folder, uint64_t bytes, struct fault *fault);
/* Does the file begin as GGUF does? */
bool store_is_gguf(int fd);
