/* report.h - Status, ListRequests, and the line that systemd shows. */
#pragma once

#include "client.h"

void report_put_status(struct client *client, uint32_t stream);
void report_put_requests(struct client *client,
                         uint32_t stream); /* the asker's own; all for an administrator */
void report_put_welcome(struct client *client, uint32_t version);
void report_notify(struct broker *broker); /* STATUS= */
