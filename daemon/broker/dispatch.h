/* dispatch.h - what a client may say, and when: a table, so that it can be read as one. */
#pragma once

struct client;
struct frame;

/* One whole frame.  May refuse its stream, close the connection, or free requests; never frees the client. */
void dispatch_frame(struct client *client, const struct frame *frame);
