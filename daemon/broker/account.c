/* account.c - accounts, found by uid and name.  See account.h. */
#include "account.h"

#include <assert.h>
#include <math.h>
#include <string.h>

void accounts_init(struct accounts *accounts)
{
    *accounts = (struct accounts){.last_key = UINT32_MAX};
    list_init(&accounts->list);
}

static void account_free(struct account *account)
{
    list_remove(&account->node);
    free(account);
}

void accounts_deinit(struct accounts *accounts)
{
    struct account *account;

    LIST_FOREACH (account, &accounts->list, node) {
        assert(!account->n_refs);
        account_free(account);
    }
    accounts->n_idle = 0;
}

static struct account *account_find(const struct accounts *accounts, uid_t uid, const char *name)
{
    struct account *account;

    LIST_FOREACH (account, &accounts->list, node)
        if (account->uid == uid && !strcmp(account->name, name))
            return account;
    return NULL;
}

static struct account *account_new(struct accounts *accounts, uid_t uid, const char *name)
{
    struct account *account = calloc(1, sizeof(*account));

    if (!account)
        return NULL;
    account->accounts = accounts;
    account->uid = uid;
    memcpy(account->name, name, strlen(name));
    account->key = *name ? ++accounts->last_key : uid;
    list_push(&accounts->list, &account->node);
    accounts->n_idle++;
    return account;
}

int account_get(struct accounts *accounts, uid_t uid, const char *name, const struct policy_class *class,
                uint64_t now_ns, struct account **ret_account)
{
    struct account *account = account_find(accounts, uid, name ? name : "");

    if (!account)
        account = account_new(accounts, uid, name ? name : "");
    if (!account)
        return err_origin(-ENOMEM);
    rate_set(&account->rate, class->tokens_per_min, class->burst, now_ns);
    if (!account->n_refs++)
        accounts->n_idle--;
    *ret_account = account;
    return 0;
}

int account_restore(struct accounts *accounts, uid_t uid, const char *name, uint64_t key,
                    const struct policy_class *class, uint64_t now_ns, struct account **ret_account)
{
    const uint64_t last_key = accounts->last_key;
    int r;

    if (name && !account_find(accounts, uid, name))
        accounts->last_key = key - 1;
    r = account_get(accounts, uid, name, class, now_ns, ret_account);
    accounts->last_key = MAX(accounts->last_key, last_key);
    return r;
}

/* Of too many idle ones: the longest idle of those that used up nothing, else the one that used up least. */
static void accounts_forget(struct accounts *accounts, uint64_t now_ns)
{
    struct account *account, *fullest = NULL;
    double fill, most = -INFINITY;

    LIST_FOREACH (account, &accounts->list, node) {
        if (account->n_refs)
            continue;
        fill = rate_fill(&account->rate, now_ns);
        if (fill <= most)
            continue;
        fullest = account;
        most = fill;
        if (fill >= 1)
            break;
    }
    accounts->n_idle--;
    account_free(fullest);
}

void account_put(struct account *account, uint64_t now_ns)
{
    struct accounts *accounts;

    if (!account || --account->n_refs)
        return;
    accounts = account->accounts;
    list_remove(&account->node); /* to the end: idle ones stand in the order in which they became so */
    list_push(&accounts->list, &account->node);
    if (++accounts->n_idle > ACCOUNTS_IDLE_MAX)
        accounts_forget(accounts, now_ns);
}
