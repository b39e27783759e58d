/* report.h - what the service says about itself: Welcome, StatusReply, Requests. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "qwend.pb-c.h"

struct broker;
struct client;

Qwp__StatusReply__State report_state(const struct broker *broker);
void report_welcome(struct client *client);
/* To every client: something else is served than Welcome said. */
void report_served(struct broker *broker);
void report_status(struct client *client, uint32_t stream);
struct request;
/* What is one's own; all for an administrator. */
bool report_may_see(const struct client *client, const struct request *request);
void report_fill_request(struct request *request, Qwp__RequestInfo *info);
void report_requests(struct client *client,
                     uint32_t stream); /* of the client's uid; all for an administrator */
