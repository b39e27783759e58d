/* ask_tools.c - tools that a client offers, in each dialect's words.  See ask.h.
 *
 * None can be called yet.  Whoever leaves the choice to the model may get a text instead by every dialect's
 * own rules; whoever insists on a call may not. */
#include <string.h>

#include "ask.h"

enum { TOOLS_MAX = 1024 };

int ask_read_tools(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal)
{
    int r = jin_array(value, param, TOOLS_MAX, refusal);

    ask->has_tools |= !r && json_array_size(value) > 0;
    return r;
}

/* "auto", "none", "required"; or an object whose type, or mode, says so: {"type": "tool", "name": ...}. */
int ask_read_tool_choice(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal)
{
    const json_t *mode = json_object_get(value, "mode");
    const char *word;
    size_t n;
    int r;

    if (json_is_object(value))
        value = mode ? mode : json_object_get(value, "type");
    r = jin_text(value, param, &word, &n, refusal);
    if (r)
        return r;
    ask->tool_choice = !strcmp(word, "auto")   ? ASK_TOOLS_AUTO
                       : !strcmp(word, "none") ? ASK_TOOLS_NONE
                                               : ASK_TOOLS_FORCED;
    return 0;
}

int ask_judge_tools(struct ask *ask, bool ignores, struct refusal *refusal)
{
    if (ask->tool_choice == ASK_TOOLS_FORCED)
        return refuse(refusal, 400, "unsupported_parameter", "tool_choice",
                      "tool_choice wants a call: the engine cannot call tools yet");
    if (!ask->has_tools)
        return 0;
    if (ask->tool_choice == ASK_TOOLS_AUTO && !ignores)
        return refuse(refusal, 400, "unsupported_parameter", "tools",
                      "tools: the engine cannot call tools yet");
    ask_note_ignored(ask, "", "tools");
    return 0;
}
