/* fuzz_conf.c - libFuzzer target: qwend.conf, as classes, as public prefixes and as [daemon] keys.
 *
 * What must hold: a text is refused with a fault that names the file, or gives classes of which each has a
 * name, a match, a weight and a priority; everybody is in one of them; the same text gives the same classes;
 * whatever is asked of them, a refusal has its code and its reason. */
#include <assert.h>
#include <string.h>

#include "daemon/broker/policy_read.h"
#include "daemon/broker/publish.h"
#include "proto/status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* No lookup in the machine's own files: every name is somebody. */
static bool fuzz_id(const char *name, uint32_t *ret_id)
{
    *ret_id = (uint32_t)(unsigned char)*name;
    return *name;
}

static int fuzz_read(const uint8_t *data, size_t n, struct policy *policy)
{
    static const struct policy_names names = {fuzz_id, fuzz_id};
    FILE *file = fmemopen((void *)data, n, "r");
    struct fault fault = {0};
    int r;

    assert(file);
    policy_init(policy, &names);
    r = policy_read_stream(policy, file, "f", &names, &fault);
    fclose(file);
    assert(r >= 0 && (r ? !strncmp(fault.text, "f:", 2) && strlen(fault.text) > 5 : !*fault.text));
    if (!r)
        r = policy_finish(policy, &fault);
    assert(!r || *fault.text);
    return r;
}

static void fuzz_class(const struct policy_class *class, bool is_default)
{
    assert(*class->name && strlen(class->name) < sizeof(class->name));
    assert(class->n_matches <= POLICY_MATCHES_MAX && (is_default || class->n_matches));
    assert(class->weight && class->priorities && class->priorities < 8 && class->admin < 8);
    assert(!class->burst == !class->tokens_per_min && class->max_streams <= POLICY_STREAMS_MAX);
}

static void fuzz_ask(const struct policy_class *class, uint32_t number)
{
    const struct policy_usage usage = {
        .n_streams = number % 70, .n_queued = number, .queued_tokens = number, .rate_wait_ms = number % 3};

    for (int op = POLICY_OP_STREAM; op <= POLICY_OP_ADMIN; op++) {
        const struct policy_ask ask = {.op = (enum policy_op)op,
                                       .account = number % 2 ? class->name : NULL,
                                       .has_priority = true,
                                       .priority = (Qwp__Priority)(1 + number % 3),
                                       .has_max_tokens = true,
                                       .max_tokens = number,
                                       .admin = 1u << number % 3,
                                       .tokens = number};
        struct refusal refusal = {0};
        const int r = policy_check(class, &ask, &usage, &refusal);

        assert(r == refusal.fault.code && !r == !*refusal.fault.text);
        assert(!r || strcmp(status_name(r), "UNKNOWN"));
    }
    assert(class->priorities & (1u << (policy_priority(class) - 1)));
}

static void fuzz_daemon_keys(const uint8_t *data, size_t n)
{
    static const char *const words[] = {"a", "b", NULL};
    struct target {
        uint32_t number, set;
        const char *word;
        bool flag;
    } target = {0};
    static const struct conf_key keys[] = {
        {"daemon", "slots", CONF_UINT, offsetof(struct target, number), .min = 1, .max = 64},
        {"daemon", "backend", CONF_CHOICE, offsetof(struct target, word), .choices = words},
        {"daemon", "kv", CONF_SET, offsetof(struct target, set), .choices = words},
        {"daemon", "verbose", CONF_BOOL, offsetof(struct target, flag)},
    };
    char value[200];
    struct fault fault = {0};

    n = MIN(n, sizeof(value) - 1);
    memcpy(value, data, n);
    value[n] = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (conf_set(&keys[i], value, "f:1", &target, &fault))
            assert(!strncmp(fault.text, "f:1: ", 5));
    (void)conf_nearest(keys, ARRAY_SIZE(keys), value);
    assert(target.number <= 64 && target.set < 4);
}

static void fuzz_publics(const uint8_t *data, size_t n)
{
    struct publish *publish = calloc(1, sizeof(*publish));
    FILE *file = fmemopen((void *)data, n, "r");
    struct fault fault = {0};
    int r;

    assert(publish && file);
    r = publish_read_stream(publish, file, "f", &fault);
    fclose(file);
    assert(r >= 0 && (r ? !strncmp(fault.text, "f:", 2) : !*fault.text));
    assert(publish->n <= PUBLISH_MAX);
    for (size_t i = 0; i < publish->n; i++) {
        assert(*publish->items[i].name && publish->items[i].fd == -1);
        assert(strlen(publish->items[i].name) < PUBLISH_NAME_BYTES);
        for (size_t k = 0; k < i; k++)
            assert(strcmp(publish->items[i].name, publish->items[k].name) != 0);
    }
    publish_free(publish);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct policy policy, again;
    const uint32_t number = n > 4 ? data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 : 1;
    const struct policy_who who = {.uid = number % 256, .gid = number / 256 % 256};

    if (!n)
        return 0;
    fuzz_daemon_keys(data, n);
    fuzz_publics(data, n);
    if (fuzz_read(data, n, &policy))
        return 0;
    assert(!fuzz_read(data, n, &again) && !memcmp(&policy, &again, sizeof(policy)));
    for (size_t i = 0; i < policy.n; i++) {
        fuzz_class(&policy.classes[i], false);
        fuzz_ask(&policy.classes[i], number);
    }
    fuzz_class(&policy.otherwise, true);
    assert(policy_class_find(&policy, &who));
    return 0;
}
