/* upgrade.h - the broker makes way for the next version of itself, in the same process.
 *
 * It executes its own binary's path, where a package may have put another file meanwhile, with the same
 * arguments.  What goes along is what a start under systemd would find: the listening socket, the journal,
 * the weights, and the engine if it is still the right one (handover.h).  Connections break, and libqwend
 * makes them again. */
#pragma once

#include "proto/base.h"

struct broker;

/* same_keys: no key of [daemon] has changed.  Returns only if it cannot be: the status code and why.  The
 * service goes on then, at most with another engine. */
int upgrade_run(struct broker *broker, bool same_keys, struct fault *fault);
