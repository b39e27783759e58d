/* admin.h - what administrators do to the service while it runs: Reload, Drain, Resume. */
#pragma once

#include "qwend.pb-c.h"

struct broker;
struct client;

/* Answers on the stream: Done, or Error (301: the client's class may not). */
void admin_do(struct client *client, uint32_t stream, const Qwp__Admin *admin);
/* SIGHUP: the same as Reload, told to the log and to the service manager only. */
void admin_reload(struct broker *broker);
