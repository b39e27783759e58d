/* dispatch.h - what a client's frame means: who may say it when, on which stream, and who handles it. */
#pragma once

struct client;
struct frame;

/* One whole frame.  Breaking a rule ends in client_fail(), so the client may be closing or dead afterwards.
 */
void dispatch_frame(struct client *client, const struct frame *frame);
