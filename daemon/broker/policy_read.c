/* policy_read.c - classes from INI text.  See policy_read.h. */
#include "policy_read.h"

#include <ctype.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>

#define POLICY_ADMIN_GROUP "qwend-admin"

static const char *const policy_priorities[] = {"interactive", "normal", "batch", NULL};
static const char *const policy_admins[] = {"drain", "reload", "kill", NULL};

#define KEY(field, kind, key_name, ...)                                                                      \
    CONF_KEY("class", struct policy_class, field, key_name, kind, __VA_ARGS__)
static const struct conf_key policy_keys[] = {
    KEY(matches, CONF_STRING, "match"), /* for its name only: policy_take_match() */
    KEY(allow, CONF_BOOL, "allow"),
    KEY(accounts, CONF_BOOL, "accounts"),
    KEY(weight, CONF_UINT, "weight", .min = 1, .max = 10000),
    KEY(max_running, CONF_UINT, "max_running", .min = 1, .max = 64),
    KEY(max_queued, CONF_UINT, "max_queued", .min = 1, .max = 100000),
    KEY(max_queued_tokens, CONF_UINT, "max_queued_tokens", .min = 1, .max = 1000000000),
    KEY(max_mib, CONF_UINT, "max_mib", .min = 1, .max = 1 << 20),
    KEY(max_streams, CONF_UINT, "max_streams", .min = 1, .max = POLICY_STREAMS_MAX),
    KEY(tokens_per_min, CONF_UINT, "tokens_per_min", .min = 1, .max = 1000000000),
    KEY(burst, CONF_UINT, "burst", .min = 1, .max = 1000000000),
    KEY(max_context, CONF_UINT, "max_context", .min = 2, .max = POLICY_TOKENS_MAX),
    KEY(max_output, CONF_UINT, "max_output", .min = 1, .max = POLICY_TOKENS_MAX),
    KEY(priorities, CONF_SET, "priority", .min = 1, .choices = policy_priorities),
    KEY(admin, CONF_SET, "admin", .choices = policy_admins),
};
#undef KEY
enum { POLICY_KEY_MATCH = 0 };

struct policy_reader {
    struct policy *policy;
    const struct policy_names *names;
    int seen[POLICY_CLASSES_MAX + 1][ARRAY_SIZE(policy_keys)]; /* lines of this file; the last: [default] */
};

/* names */
static bool policy_system_user(const char *name, uint32_t *ret_id)
{
    const struct passwd *user = getpwnam(name);

    if (user)
        *ret_id = user->pw_uid;
    return user;
}

static bool policy_system_group(const char *name, uint32_t *ret_id)
{
    const struct group *group = getgrnam(name);

    if (group)
        *ret_id = group->gr_gid;
    return group;
}

static const struct policy_names policy_system = {policy_system_user, policy_system_group};

static bool policy_number(const char *text, uint32_t *ret_id)
{
    unsigned long long v;
    char *end;

    if (!isdigit((unsigned char)*text))
        return false;
    errno = 0;
    v = strtoull(text, &end, 10);
    if (*end || errno || v >= UINT32_MAX) /* the last one means "none" to the kernel */
        return false;
    *ret_id = (uint32_t)v;
    return true;
}

/* match */
/* One of "any", "uid:NAME", "gid:NAME"; word is its own copy. */
static int policy_read_match(const struct policy_reader *reader, const struct conf_place *place,
                             const char *word, struct policy_match *ret_match, struct fault *fault)
{
    const bool is_user = !strncmp(word, "uid:", 4), is_group = !strncmp(word, "gid:", 4);
    const char *name = word + 4;
    struct policy_match match = {.kind = is_user ? POLICY_UID : is_group ? POLICY_GID : POLICY_ANY};

    if (!is_user && !is_group && strcmp(word, "any"))
        return fault_set(fault, POLICY_E_INVALID,
                         "%s:%d: match has '%.64s', must be any, or a list of uid:NAME and gid:NAME",
                         place->path, place->line, word);
    if (match.kind != POLICY_ANY && !policy_number(name, &match.id) &&
        !(is_user ? reader->names->user : reader->names->group)(name, &match.id))
        return fault_set(fault, POLICY_E_INVALID, "%s:%d: match has '%.64s', there is no such %s",
                         place->path, place->line, word, is_user ? "user" : "group");
    *ret_match = match;
    return POLICY_OK;
}

static int policy_take_match(struct policy_reader *reader, const struct conf_place *place, const char *value,
                             struct policy_class *class, struct fault *fault)
{
    _cleanup_(freep) char *copy = strdup(value);
    char *rest = copy, *word;

    if (!copy)
        return err_origin(-ENOMEM);
    class->n_matches = 0; /* a later file replaces the list, as it replaces a number */
    while ((word = strsep(&rest, ","))) {
        int r;

        if (class->n_matches == POLICY_MATCHES_MAX)
            return fault_set(fault, POLICY_E_INVALID, "%s:%d: match has more than %d entries", place->path,
                             place->line, POLICY_MATCHES_MAX);
        word += strspn(word, " \t");
        word[strcspn(word, " \t")] = '\0';
        r = policy_read_match(reader, place, word, &class->matches[class->n_matches], fault);
        if (r)
            return r;
        class->n_matches++;
    }
    return POLICY_OK;
}

/* classes */
static void policy_class_init(struct policy_class *class, const char *name)
{
    *class = (struct policy_class){.allow = true, .weight = POLICY_WEIGHT_DEFAULT, .priorities = 7};
    snprintf(class->name, sizeof(class->name), "%s", name);
}

void policy_table(struct policy_class *defaults, struct conf_table *ret_table)
{
    policy_class_init(defaults, "");
    *ret_table = (struct conf_table){policy_keys, ARRAY_SIZE(policy_keys), defaults};
}

static struct policy_class *policy_add(struct policy *policy, const char *name, struct policy_match match)
{
    struct policy_class *class = &policy->classes[policy->n++];

    policy_class_init(class, name);
    class->matches[class->n_matches++] = match;
    return class;
}

void policy_init(struct policy *policy, const struct policy_names *names)
{
    struct policy_class *admin;
    struct policy_match group = {.kind = POLICY_GID};

    *policy = (struct policy){};
    policy_class_init(&policy->otherwise, "default");
    policy->otherwise.allow = false;
    policy_add(policy, "user", (struct policy_match){.kind = POLICY_ANY});
    admin = policy_add(policy, "admin", (struct policy_match){.kind = POLICY_UID, .id = 0});
    admin->admin = POLICY_DRAIN | POLICY_RELOAD | POLICY_KILL;
    if ((names ? names : &policy_system)->group(POLICY_ADMIN_GROUP, &group.id))
        admin->matches[admin->n_matches++] = group;
}

static bool policy_is_name(const char *name)
{
    const size_t n = strlen(name);

    return n && n < POLICY_NAME_BYTES &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == n;
}

/* The class of a section, made if it is new. */
static int policy_open_section(struct policy *policy, const struct conf_place *place,
                               struct policy_class **ret_class, struct fault *fault)
{
    const char *name = place->section + strlen("class ");

    if (strncmp(place->section, "class ", strlen("class ")))
        return fault_set(
            fault, POLICY_E_INVALID,
            "%s:%d: unknown section [%.64s], should be [daemon], [class NAME], [default] or [public NAME]",
            place->path, place->line, place->section);
    if (!policy_is_name(name))
        return fault_set(fault, POLICY_E_INVALID,
                         "%s:%d: the class is called '%.64s', should be 1 to %d letters, digits, '_', '-'",
                         place->path, place->line, name, POLICY_NAME_BYTES - 1);
    for (size_t i = 0; i < policy->n; i++)
        if (!strcmp(policy->classes[i].name, name)) {
            *ret_class = &policy->classes[i];
            return POLICY_OK;
        }
    if (policy->n == POLICY_CLASSES_MAX)
        return fault_set(fault, POLICY_E_INVALID, "%s:%d: more than %d classes", place->path, place->line,
                         POLICY_CLASSES_MAX);
    *ret_class = &policy->classes[policy->n++];
    policy_class_init(*ret_class, name);
    return POLICY_OK;
}

static int policy_take_key(struct policy_reader *reader, const struct conf_place *place, const char *value,
                           struct policy_class *class, int *seen, struct fault *fault)
{
    const struct conf_place of_class = {place->path, place->line, "class", place->name};
    const struct conf_key *key = conf_find(policy_keys, ARRAY_SIZE(policy_keys), "class", place->name);
    char where[300];

    if (!key)
        return conf_refuse_key(policy_keys, ARRAY_SIZE(policy_keys), &of_class, fault);
    seen += key - policy_keys;
    if (*seen)
        return fault_set(fault, POLICY_E_INVALID, "%s:%d: '%s' was already set in line %d", place->path,
                         place->line, place->name, *seen);
    *seen = place->line;
    if (key != &policy_keys[POLICY_KEY_MATCH]) {
        snprintf(where, sizeof(where), "%s:%d", place->path, place->line);
        return conf_set(key, value, where, class, fault);
    }
    if (class == &reader->policy->otherwise)
        return fault_set(fault, POLICY_E_INVALID, "%s:%d: [default] is for whoever matches no class",
                         place->path, place->line);
    return policy_take_match(reader, place, value, class, fault);
}

static int policy_take(void *arg, const struct conf_place *place, const char *value, struct fault *fault)
{
    struct policy_reader *reader = arg;
    struct policy *policy = reader->policy;
    struct policy_class *class = &policy->otherwise;
    int *seen = reader->seen[POLICY_CLASSES_MAX], r = POLICY_OK;

    if (!strcmp(place->section, "daemon") || !strncmp(place->section, "public ", strlen("public ")))
        return POLICY_OK; /* options.c reads it, publish.c them */
    if (strcmp(place->section, "default")) {
        r = policy_open_section(policy, place, &class, fault);
        if (r)
            return r;
        seen = reader->seen[class - policy->classes];
    }
    return policy_take_key(reader, place, value, class, seen, fault);
}

int policy_read_stream(struct policy *policy, FILE *file, const char *path, const struct policy_names *names,
                       struct fault *fault)
{
    struct policy_reader reader = {.policy = policy, .names = names ? names : &policy_system};
    const int r = conf_walk(file, path, policy_take, &reader, fault);

    return r > 0 ? POLICY_E_INVALID : r;
}

static int policy_finish_class(struct policy_class *class, bool needs_match, struct fault *fault)
{
    if (needs_match && !class->n_matches)
        return fault_set(fault, POLICY_E_INVALID, "[class %s] has no match: nobody would be in it",
                         class->name);
    if (class->burst && !class->tokens_per_min)
        return fault_set(fault, POLICY_E_INVALID, "[class %s] has burst, but no tokens_per_min", class->name);
    if (!class->burst)
        class->burst = class->tokens_per_min; /* a minute's worth */
    return POLICY_OK;
}

int policy_finish(struct policy *policy, struct fault *fault)
{
    int r = policy_finish_class(&policy->otherwise, false, fault);

    for (size_t i = 0; i < policy->n && !r; i++)
        r = policy_finish_class(&policy->classes[i], true, fault);
    return r;
}

static int policy_read_file(struct policy *policy, const char *path, struct fault *fault)
{
    _cleanup_(conf_fclosep) FILE *file = fopen(path, "re");

    if (!file)
        return fault_set(fault, POLICY_E_INVALID, "%s: %s", path, strerror(errno));
    return policy_read_stream(policy, file, path, NULL, fault);
}

int policy_read(const struct conf_files *files, struct policy **ret_policy, struct fault *fault)
{
    _cleanup_(freep) struct policy *policy = malloc(sizeof(*policy));
    int r = POLICY_OK;

    if (!policy)
        return err_origin(-ENOMEM);
    policy_init(policy, NULL);
    for (size_t i = 0; i < files->n && !r; i++)
        r = policy_read_file(policy, files->paths[i], fault);
    if (!r)
        r = policy_finish(policy, fault);
    if (!r)
        *ret_policy = steal(&policy);
    return r;
}
