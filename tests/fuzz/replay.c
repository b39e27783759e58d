/* replay.c - a main() for a fuzz target where there is no libFuzzer: every build runs the corpus and some
 * mutations of it.
 *
 *     fuzz_x_replay CORPUS_DIR N_MUTATIONS
 *
 * So the targets compile and their corpus stays green with any compiler; the long runs are
 * tests/fuzz/run.sh's. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "gen.h"

enum { REPLAY_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t n_max, unsigned seed) __attribute__((weak));
size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t n_max);

static struct gen replay_gen = {1};

/* What libFuzzer's own mutations are for the targets that call it: bytes changed, cut, or appended. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t n_max)
{
    if (n < n_max && (!n || !gen_below(&replay_gen, 4)))
        data[n++] = (uint8_t)gen_u64(&replay_gen);
    gen_damage(&replay_gen, data, &n);
    return n;
}

static size_t replay_mutate(uint8_t *data, size_t n)
{
    if (LLVMFuzzerCustomMutator)
        return LLVMFuzzerCustomMutator(data, n, REPLAY_MAX, (unsigned)gen_u64(&replay_gen));
    return LLVMFuzzerMutate(data, n, REPLAY_MAX);
}

/* Runs the file's bytes, then n_mutations inputs that each come from it. */
static int replay_file(const char *path, int n_mutations)
{
    _cleanup_(freep) uint8_t *original = malloc(REPLAY_MAX), *data = malloc(REPLAY_MAX);
    FILE *file = fopen(path, "rb");
    size_t n;

    if (!file || !original || !data) {
        perror(path);
        return 1;
    }
    n = fread(original, 1, REPLAY_MAX, file);
    fclose(file);
    LLVMFuzzerTestOneInput(original, n);
    for (int i = 0; i < n_mutations; i++) {
        memcpy(data, original, n);
        LLVMFuzzerTestOneInput(data, replay_mutate(data, n));
    }
    return 0;
}

int main(int argc, char **argv)
{
    int n_files = 0, n_mutations = argc == 3 ? atoi(argv[2]) : 0;
    struct dirent *entry;
    DIR *dir;

    if (argc != 3 || !(dir = opendir(argv[1]))) {
        fprintf(stderr, "usage: %s CORPUS_DIR N_MUTATIONS\n", argv[0]);
        return 2;
    }
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    while ((entry = readdir(dir))) {
        char path[4096];

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", argv[1], entry->d_name);
        if (replay_file(path, n_mutations))
            return 1;
        n_files++;
    }
    closedir(dir);
    printf("%d files, %d mutations of each\n", n_files, n_mutations);
    return !n_files;
}
