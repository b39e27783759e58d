/* ollama.h - Ollama's dialect, under /api/. */
#pragma once

#include "conn.h"

void ollama_put_error(const struct refusal *refusal, struct jout *j);
void ollama_chat_serve(struct conn *conn);
void ollama_generate_serve(struct conn *conn);
void ollama_tags_serve(struct conn *conn);
void ollama_ps_serve(struct conn *conn);
void ollama_show_serve(struct conn *conn);
void ollama_version_serve(struct conn *conn);
