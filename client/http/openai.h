/* openai.h - OpenAI's dialect: chat completions, completions, models; and what others share with it. */
#pragma once

#include "job.h"

void openai_put_error(const struct refusal *refusal, struct jout *j);
void openai_fail(struct job *job, const struct refusal *refusal, struct jout *j); /* in an event stream */
void openai_ping(struct job *job, struct jout *j);
void openai_put_usage(struct job *job, struct jout *j); /* member "usage" */
const char *openai_finish_name(qwend_finish finish);

void chat_serve(struct conn *conn);
void completion_serve(struct conn *conn);
