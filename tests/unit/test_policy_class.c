/* test_policy_class.c - classes, what they allow, token buckets and accounts; see
 * daemon/broker/{policy_class,policy_read,rate,account}.h. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

#include <string.h>

#include "daemon/broker/account.h"
#include "daemon/broker/policy_read.h"
#include "proto/status.h"

/* names */
static bool find_user(const char *name, uint32_t *ret_id)
{
    *ret_id = 1000;
    return !strcmp(name, "alice");
}

static bool find_group(const char *name, uint32_t *ret_id)
{
    *ret_id = !strcmp(name, "staff") ? 50 : 60;
    return !strcmp(name, "staff") || !strcmp(name, "qwend-admin");
}

static const struct policy_names names = {find_user, find_group};

static int read_text(struct policy *policy, const char *text, struct fault *fault)
{
    FILE *file = fmemopen((char *)text, strlen(text), "r");
    int r;

    assert_non_null(file);
    *fault = (struct fault){};
    r = policy_read_stream(policy, file, "f", &names, fault);
    fclose(file);
    return r;
}

/* Reads texts as one file after the other; all must be fine. */
static void read_all(struct policy *policy, const char *const *texts)
{
    struct fault fault = {};

    policy_init(policy, &names);
    for (; *texts; texts++)
        if (read_text(policy, *texts, &fault))
            fail_msg("%s", fault.text);
    if (policy_finish(policy, &fault))
        fail_msg("%s", fault.text);
}

static const struct policy_class *class_of(const struct policy *policy, uid_t uid, gid_t gid)
{
    const struct policy_who who = {.uid = uid, .gid = 9999, .groups = &gid, .n_groups = 1};

    return policy_class_find(policy, &who);
}

/* reading */
static void test_policy_without_sections_lets_everybody_in(void **state)
{
    struct policy policy;
    const struct policy_class *user, *admin;

    read_all(&policy, (const char *const[]){"[daemon]\nwhatever = it is\n", NULL});
    user = class_of(&policy, 1234, 100);
    assert_string_equal(user->name, "user");
    assert_true(user->allow);
    assert_false(user->accounts);
    assert_int_equal(user->admin, 0);
    assert_int_equal(user->priorities, 7);
    assert_int_equal(user->weight, 100);
    assert_int_equal(user->max_running + user->max_queued + user->tokens_per_min + user->max_context +
                         user->max_output + user->max_streams + user->max_mib + user->max_queued_tokens,
                     0);
    admin = class_of(&policy, 0, 100);
    assert_string_equal(admin->name, "admin");
    assert_int_equal(admin->admin, POLICY_DRAIN | POLICY_RELOAD | POLICY_KILL);
    assert_ptr_equal(class_of(&policy, 1234, 60), admin);
}

static void test_policy_last_match_counts(void **state)
{
    struct policy policy;

    read_all(&policy,
             (const char *const[]){"[class a]\nmatch = uid:alice, gid:staff\n[class b]\nmatch = uid:7\n"
                                   "[class c]\nmatch = uid:1000\n",
                                   NULL});
    assert_string_equal(class_of(&policy, 1000, 1)->name, "c");
    assert_string_equal(class_of(&policy, 8, 50)->name, "a");
    assert_string_equal(class_of(&policy, 7, 50)->name, "b");
    assert_string_equal(class_of(&policy, 8, 1)->name, "user");
    assert_string_equal(class_of(&policy, 0, 50)->name, "a");
}

static void test_policy_class_find_looks_at_the_own_group_too(void **state)
{
    const struct policy_who who = {.uid = 8, .gid = 50};
    struct policy policy;

    read_all(&policy, (const char *const[]){"[class a]\nmatch = gid:staff\n", NULL});
    assert_string_equal(policy_class_find(&policy, &who)->name, "a");
}

static void test_policy_who_matches_nothing_is_in_default(void **state)
{
    struct policy policy;

    read_all(&policy, (const char *const[]){"[class user]\nmatch = gid:staff\n", NULL});
    assert_false(class_of(&policy, 8, 1)->allow);
    assert_true(class_of(&policy, 8, 50)->allow);
    read_all(&policy, (const char *const[]){
                          "[class user]\nmatch = gid:staff\n[default]\nallow = yes\nweight = 3\n", NULL});
    assert_true(class_of(&policy, 8, 1)->allow);
    assert_int_equal(class_of(&policy, 8, 1)->weight, 3);
}

static void test_policy_reads_every_key(void **state)
{
    struct policy policy;
    const struct policy_class *c;

    read_all(&policy, (const char *const[]){
                          "[class a]\nmatch = any\nallow = no\naccounts = yes\nweight = 20\nmax_running = 1\n"
                          "max_queued = 2\nmax_queued_tokens = 3\nmax_mib = 4\nmax_streams = 5\n"
                          "tokens_per_min = 600\nburst = 700\nmax_context = 800\nmax_output = 900\n"
                          "priority = batch, normal\nadmin = kill,reload\n",
                          NULL});
    c = class_of(&policy, 1, 1);
    assert_string_equal(c->name, "a");
    assert_false(c->allow);
    assert_true(c->accounts);
    assert_int_equal(c->weight, 20);
    assert_int_equal(c->max_running, 1);
    assert_int_equal(c->max_queued, 2);
    assert_int_equal(c->max_queued_tokens, 3);
    assert_int_equal(c->max_mib, 4);
    assert_int_equal(c->max_streams, 5);
    assert_int_equal(c->tokens_per_min, 600);
    assert_int_equal(c->burst, 700);
    assert_int_equal(c->max_context, 800);
    assert_int_equal(c->max_output, 900);
    assert_int_equal(c->priorities, 6);
    assert_int_equal(c->admin, POLICY_KILL | POLICY_RELOAD);
}

static void test_policy_later_file_changes_single_keys(void **state)
{
    struct policy policy;
    const struct policy_class *c;

    read_all(&policy, (const char *const[]){"[class user]\nweight = 1\nmax_queued = 2\ntokens_per_min = 60\n",
                                            "[class user]\nmax_queued = 3\n", NULL});
    c = class_of(&policy, 1, 1);
    assert_int_equal(c->weight, 1);
    assert_int_equal(c->max_queued, 3);
    assert_int_equal(c->burst, 60);
}

static void test_policy_names_each_mistake(void **state)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"[class]\nweight = 1\n",
         "f:2: unknown section [class], should be [daemon], [class NAME], [default] or [public NAME]"},
        {"[clas a]\nweight = 1\n", "f:2: unknown section [clas a]"},
        {"weight = 1\n", "f:1: unknown section []"},
        {"[class a b]\nweight = 1\n", "f:2: the class is called 'a b', should be 1 to 63 letters"},
        {"[class ]\nweight = 1\n", "f:2: the class is called ''"},
        {"[class a]\nmax_runing = 1\n", "f:2: unknown key 'max_runing', did you mean 'max_running'?"},
        {"[default]\nmatch = any\n", "f:2: [default] is for whoever matches no class"},
        {"[default]\nwheight = 1\n", "f:2: unknown key 'wheight', did you mean 'weight'?"},
        {"[class a]\nmatch = root\n",
         "f:2: match has 'root', must be any, or a list of uid:NAME and gid:NAME"},
        {"[class a]\nmatch =\n", "f:2: match has '', must be"},
        {"[class a]\nmatch = uid:7,\n", "f:2: match has '', must be"},
        {"[class a]\nmatch = uid:bob\n", "f:2: match has 'uid:bob', there is no such user"},
        {"[class a]\nmatch = gid:alice\n", "f:2: match has 'gid:alice', there is no such group"},
        {"[class a]\nmatch = uid:4294967295\n", "f:2: match has 'uid:4294967295', there is no such user"},
        {"[class a]\nweight = 0\n", "f:2: weight is '0', must be a number from 1 to 10000"},
        {"[class a]\nmax_context = 1\n", "f:2: max_context is '1', must be a number from 2 to 1048576"},
        {"[class a]\nmax_streams = 65\n", "f:2: max_streams is '65', must be a number from 1 to 64"},
        {"[class a]\npriority = fast\n",
         "f:2: priority is 'fast', must be a list of interactive, normal, batch"},
        {"[class a]\nadmin = yes\n", "f:2: admin is 'yes', must be no, or a list of drain, reload, kill"},
        {"[class a]\nweight = 1\n[class b]\nweight = 1\n[class a]\nweight = 2\n",
         "f:6: 'weight' was already set in line 2"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct policy policy;
        struct fault fault;
        int r;

        policy_init(&policy, &names);
        r = read_text(&policy, rows[i].text, &fault);
        if (r != POLICY_E_INVALID || !strstr(fault.text, rows[i].words))
            fail_msg("%s: %d '%s', expected '%s'", rows[i].text, r, fault.text, rows[i].words);
    }
}

static void test_policy_finish_sees_what_only_the_whole_shows(void **state)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"[class a]\nweight = 1\n", "[class a] has no match"},
        {"[class a]\nmatch = any\nburst = 1\n", "[class a] has burst, but no tokens_per_min"},
        {"[default]\nburst = 1\n", "[class default] has burst"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct policy policy;
        struct fault fault;

        policy_init(&policy, &names);
        assert_int_equal(read_text(&policy, rows[i].text, &fault), POLICY_OK);
        assert_int_equal(policy_finish(&policy, &fault), POLICY_E_INVALID);
        assert_non_null(strstr(fault.text, rows[i].words));
    }
}

static void test_policy_holds_64_classes_of_32_matches(void **state)
{
    char text[200];
    struct policy policy;
    struct fault fault;
    char many[8 * 33 + 40] = "[class m]\nmatch = ";

    policy_init(&policy, &names);
    for (int i = 2; i < POLICY_CLASSES_MAX; i++) {
        snprintf(text, sizeof(text), "[class c%d]\nmatch = any\n", i);
        assert_int_equal(read_text(&policy, text, &fault), POLICY_OK);
    }
    assert_int_equal(read_text(&policy, "[class more]\nmatch = any\n", &fault), POLICY_E_INVALID);
    assert_non_null(strstr(fault.text, "more than 64 classes"));
    policy_init(&policy, &names);
    for (int i = 0; i < POLICY_MATCHES_MAX; i++)
        strcat(many, i ? ",any" : "any");
    assert_int_equal(read_text(&policy, many, &fault), POLICY_OK);
    policy_init(&policy, &names);
    strcat(many, ",any");
    assert_int_equal(read_text(&policy, many, &fault), POLICY_E_INVALID);
    assert_non_null(strstr(fault.text, "match has more than 32 entries"));
}

/* checking */
static const struct policy_class closed_class = {.name = "c"},
                                 open_class = {.name = "c", .allow = true, .priorities = 7};
#define CLASS(...)     ((struct policy_class){.name = "c", .allow = true, .priorities = 7, __VA_ARGS__})
#define WITH(bits)     ((struct policy_class){.name = "c", .allow = true, .priorities = bits})
#define ASK(what, ...) ((struct policy_ask){.op = POLICY_OP_##what, __VA_ARGS__})
#define USE(...)       ((struct policy_usage){__VA_ARGS__})

static void test_policy_check_each_cap_at_its_border(void **state)
{
    static char longest[POLICY_ACCOUNT_BYTES_MAX + 2];
    const struct {
        struct policy_class class;
        struct policy_ask ask;
        struct policy_usage usage;
        int code;
        const char *words;
        uint64_t used, limit;
    } rows[] = {
        {open_class, ASK(STREAM), USE(.n_streams = 63), 0},
        {open_class, ASK(STREAM), USE(.n_streams = 64), STATUS_CONCURRENCY, "64 streams", 64, 64},
        {CLASS(.max_streams = 2), ASK(STREAM), USE(.n_streams = 1), 0},
        {CLASS(.max_streams = 2), ASK(STREAM), USE(.n_streams = 2), STATUS_CONCURRENCY, "2 streams", 2, 2},
        {open_class, ASK(TEXT), USE(), 0},
        {closed_class, ASK(TEXT), USE(), STATUS_DENIED, "class c may not use this service"},
        {closed_class, ASK(GENERATE), USE(), STATUS_DENIED, "class c may not use"},
        {closed_class, ASK(STREAM), USE(), 0},
        {open_class, ASK(GENERATE, .account = "x"), USE(), STATUS_DENIED, "class c may not name an account"},
        {CLASS(.accounts = true), ASK(GENERATE, .account = "x"), USE(), 0},
        {CLASS(.accounts = true), ASK(GENERATE, .account = longest + 1), USE(), 0},
        {CLASS(.accounts = true), ASK(GENERATE, .account = longest), USE(), STATUS_INVALID, "65 bytes"},
        {CLASS(.accounts = true), ASK(GENERATE, .account = ""), USE(), STATUS_INVALID, "0 bytes"},
        {CLASS(.accounts = true), ASK(GENERATE, .account = "a b"), USE(), STATUS_INVALID, "byte 1 is not"},
        {CLASS(.accounts = true), ASK(GENERATE, .account = "\xc3\xa4"), USE(), STATUS_INVALID, "byte 0 is"},
        {WITH(5), ASK(GENERATE, .has_priority = true, .priority = 3), USE(), 0},
        {WITH(5), ASK(GENERATE, .has_priority = true, .priority = 2), USE(), STATUS_DENIED,
         "no priority normal, only interactive, batch"},
        {CLASS(.max_output = 9), ASK(GENERATE, .has_max_tokens = true, .max_tokens = 9), USE(), 0},
        {CLASS(.max_output = 9), ASK(GENERATE, .has_max_tokens = true, .max_tokens = 10), USE(),
         STATUS_CTX_LIMIT, "max_tokens is 10, class c gets at most 9", 10, 9},
        {CLASS(.max_output = 9), ASK(GENERATE), USE(), 0},
        {CLASS(.max_context = 9), ASK(GENERATE, .has_max_tokens = true, .max_tokens = 8), USE(), 0},
        {CLASS(.max_context = 9), ASK(GENERATE, .has_max_tokens = true, .max_tokens = 9), USE(),
         STATUS_CTX_LIMIT, "gets 9 for prompt and answer together", 9, 9},
        {CLASS(.tokens_per_min = 60, .burst = 5), ASK(GENERATE), USE(.rate_wait_ms = 1500), STATUS_TOKEN_RATE,
         "class c gets 60 tokens a minute, and they are used up for 1.5 s", 60, 5},
        {CLASS(.max_queued = 3), ASK(GENERATE), USE(.n_queued = 2), 0},
        {CLASS(.max_queued = 3), ASK(GENERATE), USE(.n_queued = 3), STATUS_QUEUE_FULL,
         "3 requests of yours wait, class c may have 3", 3, 3},
        {CLASS(.max_queued_tokens = 10), ASK(QUEUE, .tokens = 4), USE(.queued_tokens = 6), 0},
        {CLASS(.max_queued_tokens = 10), ASK(QUEUE, .tokens = 5), USE(.queued_tokens = 6), STATUS_QUEUE_FULL,
         "would take some 11 tokens, class c may have 10", 6, 10},
        {CLASS(.max_queued_tokens = 10), ASK(QUEUE, .tokens = 500), USE(), 0},
        {CLASS(.admin = POLICY_KILL), ASK(ADMIN, .admin = POLICY_KILL), USE(), 0},
        {CLASS(.admin = POLICY_KILL), ASK(ADMIN, .admin = POLICY_RELOAD), USE(), STATUS_DENIED,
         "class c may not reload"},
    };

    memset(longest, 'x', sizeof(longest) - 1);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct refusal refusal = {};
        int r = policy_check(&rows[i].class, &rows[i].ask, &rows[i].usage, &refusal);

        if (r != rows[i].code || refusal.fault.code != r || refusal.used != rows[i].used ||
            refusal.limit != rows[i].limit || !strstr(refusal.fault.text, rows[i].words ? rows[i].words : ""))
            fail_msg("row %zu: %d '%s' %llu of %llu, expected %d '%s'", i, r, refusal.fault.text,
                     (unsigned long long)refusal.used, (unsigned long long)refusal.limit, rows[i].code,
                     rows[i].words);
        assert_int_equal(refusal.retry_after_ms, r == STATUS_TOKEN_RATE ? 1500 : 0);
    }
}

static void test_policy_priority_is_normal_where_it_may(void **state)
{
    assert_int_equal(policy_priority(&WITH(7)), QWP__PRIORITY__PRIORITY_NORMAL);
    assert_int_equal(policy_priority(&WITH(5)), QWP__PRIORITY__PRIORITY_INTERACTIVE);
    assert_int_equal(policy_priority(&WITH(4)), QWP__PRIORITY__PRIORITY_BATCH);
}

static void test_policy_limits_are_the_lesser(void **state)
{
    assert_int_equal(policy_context(&open_class, 100), 100);
    assert_int_equal(policy_context(&CLASS(.max_context = 99), 100), 99);
    assert_int_equal(policy_context(&CLASS(.max_context = 101), 100), 100);
    assert_int_equal(policy_output(&open_class, 100), 100);
    assert_int_equal(policy_output(&CLASS(.max_output = 99), 100), 99);
    assert_int_equal(policy_tokens(9, 10), 13);
}

/* rate: a clock that is set */
static const uint64_t SECOND = 1000000000;

static void test_rate_fills_with_time(void **state)
{
    struct rate rate = {};

    rate_set(&rate, 60, 10, 100 * SECOND);
    assert_int_equal(rate_wait_ms(&rate, 100 * SECOND), 0);
    rate_charge(&rate, 10, 100 * SECOND);
    assert_int_equal(rate_wait_ms(&rate, 100 * SECOND), 1001);
    assert_int_equal(rate_wait_ms(&rate, 100 * SECOND + SECOND / 2), 501);
    assert_int_equal(rate_wait_ms(&rate, 101 * SECOND + 1000), 0);
    rate_charge(&rate, 31, 101 * SECOND); /* -30: in debt */
    assert_in_range(rate_wait_ms(&rate, 101 * SECOND), 31000, 31001);
    assert_int_equal(rate_wait_ms(&rate, 200 * SECOND), 0);
    assert_true(rate_fill(&rate, 200 * SECOND) == 1);
    rate_charge(&rate, 9, 200 * SECOND); /* never more than the burst was saved */
    assert_int_equal(rate_wait_ms(&rate, 200 * SECOND), 0);
    rate_charge(&rate, 1, 200 * SECOND);
    assert_true(rate_wait_ms(&rate, 200 * SECOND) > 0);
}

static void test_rate_keeps_its_debt_when_the_limit_changes(void **state)
{
    struct rate rate = {};

    rate_charge(&rate, 1000, SECOND); /* no limit: nothing is kept */
    assert_int_equal(rate_wait_ms(&rate, SECOND), 0);
    rate_set(&rate, 60, 10, SECOND);
    rate_charge(&rate, 70, SECOND);
    rate_set(&rate, 3600, 10, SECOND);
    assert_in_range(rate_wait_ms(&rate, SECOND), 1016, 1018); /* 61 tokens, at 60 a second */
    rate_set(&rate, 0, 0, SECOND);
    assert_int_equal(rate_wait_ms(&rate, SECOND), 0);
}

/* accounts */
static void test_account_is_one_per_uid_and_name(void **state)
{
    struct accounts accounts;
    struct account *plain, *again, *named, *other;
    const struct policy_class class = CLASS(.tokens_per_min = 60, .burst = 10);

    accounts_init(&accounts);
    assert_int_equal(account_get(&accounts, 7, NULL, &class, SECOND, &plain), 0);
    assert_int_equal(account_get(&accounts, 7, NULL, &class, SECOND, &again), 0);
    assert_int_equal(account_get(&accounts, 7, "a", &class, SECOND, &named), 0);
    assert_int_equal(account_get(&accounts, 8, "a", &class, SECOND, &other), 0);
    assert_ptr_equal(plain, again);
    assert_ptr_not_equal(named, other);
    assert_int_equal(plain->key, 7);
    assert_true(named->key > UINT32_MAX && other->key > UINT32_MAX && named->key != other->key);
    rate_charge(&named->rate, 10, SECOND);
    account_put(plain, SECOND);
    account_put(again, SECOND);
    account_put(named, SECOND);
    account_put(other, SECOND);
    assert_int_equal(accounts.n_idle, 3);
    assert_int_equal(account_get(&accounts, 7, "a", &class, SECOND, &again), 0);
    assert_ptr_equal(again, named); /* with its number, and what it has used up */
    assert_true(rate_wait_ms(&named->rate, SECOND) > 0);
    account_put(named, 20 * SECOND);
    assert_int_equal(accounts.n_idle, 3);
    account_put(NULL, 0);
    accounts_deinit(&accounts);
}

static void test_account_remembers_so_many_and_forgets_the_least_used(void **state)
{
    struct accounts accounts;
    struct account *account;
    const struct policy_class class = CLASS(.tokens_per_min = 60, .burst = 10000);

    accounts_init(&accounts);
    for (uid_t uid = 0; uid <= ACCOUNTS_IDLE_MAX; uid++) {
        assert_int_equal(account_get(&accounts, uid, NULL, &class, SECOND, &account), 0);
        rate_charge(&account->rate, uid == 5 ? 1 : 100, SECOND);
        account_put(account, SECOND);
    }
    assert_int_equal(accounts.n_idle, ACCOUNTS_IDLE_MAX);
    LIST_FOREACH (account, &accounts.list, node)
        assert_int_not_equal(account->uid, 5);
    assert_int_equal(account_get(&accounts, 5000, NULL, &class, 100000 * SECOND, &account), 0);
    account_put(account, 100000 * SECOND); /* all are full again: the one that is idle longest goes */
    assert_int_equal(accounts.n_idle, ACCOUNTS_IDLE_MAX);
    LIST_FOREACH (account, &accounts.list, node)
        assert_int_not_equal(account->uid, 0);
    accounts_deinit(&accounts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policy_without_sections_lets_everybody_in),
        cmocka_unit_test(test_policy_last_match_counts),
        cmocka_unit_test(test_policy_class_find_looks_at_the_own_group_too),
        cmocka_unit_test(test_policy_who_matches_nothing_is_in_default),
        cmocka_unit_test(test_policy_reads_every_key),
        cmocka_unit_test(test_policy_later_file_changes_single_keys),
        cmocka_unit_test(test_policy_names_each_mistake),
        cmocka_unit_test(test_policy_finish_sees_what_only_the_whole_shows),
        cmocka_unit_test(test_policy_holds_64_classes_of_32_matches),
        cmocka_unit_test(test_policy_check_each_cap_at_its_border),
        cmocka_unit_test(test_policy_priority_is_normal_where_it_may),
        cmocka_unit_test(test_policy_limits_are_the_lesser),
        cmocka_unit_test(test_rate_fills_with_time),
        cmocka_unit_test(test_rate_keeps_its_debt_when_the_limit_changes),
        cmocka_unit_test(test_account_is_one_per_uid_and_name),
        cmocka_unit_test(test_account_remembers_so_many_and_forgets_the_least_used),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
