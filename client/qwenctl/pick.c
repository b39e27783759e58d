/* pick.c - see pick.h. */
#include "pick.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "store.h"

#define PICK_SUFFIX ".gguf"

struct pick {
    const char *word;
    size_t n_word;
    char *exact, *near; /* owned; paths: of that name; of one that begins so */
    char names[300];    /* of those that begin so, or of all, for the fault */
    size_t n_near, n_all;
};

static bool pick_is_model(const char *name)
{
    const size_t n = strlen(name), k = strlen(PICK_SUFFIX);

    return n > k && !strcmp(name + n - k, PICK_SUFFIX);
}

/* "qwen3.5-9b.gguf" is meant by itself and by "qwen3.5-9b". */
static bool pick_is_exact(const struct pick *pick, const char *name)
{
    return !strcmp(name, pick->word) ||
           (!strncmp(name, pick->word, pick->n_word) && !strcmp(name + pick->n_word, PICK_SUFFIX));
}

static void pick_name(struct pick *pick, const char *name)
{
    const size_t n = strlen(pick->names);

    snprintf(pick->names + n, sizeof(pick->names) - n, "%s%.100s", n ? ", " : "", name);
}

static int pick_take(char **to, const char *folder, const char *name)
{
    if (!*to && asprintf(to, "%s/%s", folder, name) < 0) {
        *to = NULL;
        return err_origin(-ENOMEM);
    }
    return 0;
}

static int pick_look(struct pick *pick, const char *folder, bool all)
{
    struct dirent **list;
    int n = folder ? scandir(folder, &list, NULL, alphasort) : 0, r = 0;

    for (int i = 0; i < n; i++) {
        const char *name = list[i]->d_name;
        const bool begins = !strncasecmp(name, pick->word, pick->n_word);

        if (pick_is_model(name) && !r && (begins || all)) {
            pick->n_all++;
            pick->n_near += begins;
            pick_name(pick, name);
            if (pick_is_exact(pick, name))
                r = pick_take(&pick->exact, folder, name);
            if (!r && begins)
                r = pick_take(&pick->near, folder, name);
        }
        free(list[i]);
    }
    if (n > 0)
        free(list);
    return r;
}

static int pick_look_all(struct pick *pick, bool all)
{
    char *folders[2];
    int r = 0;

    store_folders(folders);
    for (size_t i = ARRAY_SIZE(folders); i-- > 0;) { /* the service's first */
        if (!r)
            r = pick_look(pick, folders[i], all);
        free(folders[i]);
    }
    return r;
}

/* What there is instead. */
static enum code pick_refuse(struct pick *pick, struct fault *fault)
{
    if (pick->n_near > 1)
        return (enum code)fault_set(fault, CODE_USAGE, "several models begin with \"%.80s\": %s", pick->word,
                                    pick->names);
    (void)pick_look_all(pick, true);
    if (!pick->n_all)
        return (enum code)fault_set(
            fault, CODE_NO, "no model \"%.80s\", nor any other: qwenctl pull URL, or qwenctl import FILE",
            pick->word);
    return (enum code)fault_set(fault, CODE_NO, "no model \"%.80s\"; there are: %s", pick->word, pick->names);
}

static enum code pick_name_of_store(const char *word, char **ret_path, struct fault *fault)
{
    struct pick pick = {.word = word, .n_word = strlen(word)};
    enum code code = CODE_OK;

    if (pick_look_all(&pick, false))
        code = (enum code)fault_set(fault, CODE_FAILED, "out of memory");
    else if (pick.exact)
        *ret_path = steal(&pick.exact);
    else if (pick.n_near == 1)
        *ret_path = steal(&pick.near);
    else
        code = pick_refuse(&pick, fault);
    free(pick.exact);
    free(pick.near);
    return code;
}

static enum code pick_path(const char *word, char **ret_path, struct fault *fault)
{
    _cleanup_(freep) char *here = NULL;

    if (*word == '/') {
        *ret_path = strdup(word);
        return *ret_path ? CODE_OK : (enum code)fault_set(fault, CODE_FAILED, "out of memory");
    }
    here = getcwd(NULL, 0);
    if (!here || asprintf(ret_path, "%s/%s", here, word) < 0)
        return (enum code)fault_set(fault, CODE_FAILED, "the present folder: %s", strerror(errno));
    return CODE_OK;
}

/* A word with a slash is a path, wherever it leads; any other is one if such a file lies here. */
enum code pick_model(const char *word, char **ret_path, struct fault *fault)
{
    if (!*word)
        return (enum code)fault_set(fault, CODE_USAGE, "the model's name is empty");
    if (strchr(word, '/') || (pick_is_model(word) && access(word, F_OK) == 0))
        return pick_path(word, ret_path, fault);
    return pick_name_of_store(word, ret_path, fault);
}
