/* policy_read.h - the classes of qwend.conf: sections [class NAME] and [default].
 *
 * User and group names become numbers here, at start and on reload: no request ever causes a name lookup. */
#pragma once

#include "daemon/util/conf.h"
#include "policy_class.h"

enum { POLICY_OK, POLICY_E_INVALID };

/* Name to number; false: there is no such name.  NULL stands for the system's. */
struct policy_names {
    bool (*user)(const char *name, uint32_t *ret_id);
    bool (*group)(const char *name, uint32_t *ret_id);
};

/* The two classes that are always there, and a [default] that allows nothing. */
void policy_init(struct policy *policy, const struct policy_names *names);
/* One file more.  After a fault the policy is half read and of no use. */
int policy_read_stream(struct policy *policy, FILE *file, const char *path, const struct policy_names *names,
                       struct fault *fault);
int policy_finish(struct policy *policy, struct fault *fault); /* what only the whole can show */

/* The keys of a class, for qwend-doc. */
void policy_table(struct policy_class *defaults, struct conf_table *ret_table);

/* All of it: the files in order, checked.  The fault names file, line, key and what it should be. */
int policy_read(const struct conf_files *files, struct policy **ret_policy, struct fault *fault);
