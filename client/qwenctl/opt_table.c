/* opt_table.c - the table of options.  See opt.h.
 *
 * A new option is one row, one field of struct opt_values, and what the verb does with it: parser, help, man
 * page, completions and `qwenctl help --json` follow. */
#include "opt.h"

/* verbs that have an answer; those that talk */
enum { OPT_TALK = OPT_ASK | OPT_CHAT, OPT_GEN = OPT_TALK | OPT_COMPLETE | OPT_FIM };

static const struct opt opt_rows[] = {
#define OPT_AT(field) offsetof(struct opt_values, field)
#define OPT_CHOICES(...)                                                                                     \
    (const char *const[])                                                                                    \
    {                                                                                                        \
        __VA_ARGS__, NULL                                                                                    \
    }
    {"file", "F", OPT_LIST, OPT_ASK, OPT_AT(file), "read F before the question; may repeat", .letter = 'f'},
    {"prefix", "F", OPT_TEXT, OPT_FIM, OPT_AT(prefix), "before the gap; standard input if absent"},
    {"suffix", "F", OPT_TEXT, OPT_FIM, OPT_AT(suffix), "what stands behind it"},
    {"extra", "F", OPT_LIST, OPT_FIM, OPT_AT(extra), "read F before both; may repeat"},
    {"suffix-first", NULL, OPT_FLAG, OPT_FIM, OPT_AT(suffix_first), "so that a longer prefix is soon read"},
    {"warm", NULL, OPT_FLAG, OPT_FIM, OPT_AT(warm), "only read it, so that the next is soon answered"},
    {"time-limit", "TIME", OPT_DURATION, OPT_COMPLETE | OPT_FIM, OPT_AT(time_limit_ms),
     "what is there after TIME is the answer", 1, 24 * 3600 * 1000, .conf = true},
    {"template", "NAME", OPT_TEXT, OPT_TALK, OPT_AT(template), "a role from a file: see qwenctl template",
     .names = "qwenctl template ls -q", .letter = 't'},
    {"session", "NAME", OPT_TEXT, OPT_TALK, OPT_AT(session), "go on with this conversation, and keep it",
     .names = "qwenctl session ls -q", .letter = 's'},
    {"continue", NULL, OPT_FLAG, OPT_TALK, OPT_AT(keep_on), "go on with the session used last",
     .letter = 'c'},
    {"system", "TEXT", OPT_TEXT, OPT_TALK, OPT_AT(system), "system message; @F: what is in the file F",
     .conf = true},
    {"think", "X", OPT_THINK, OPT_TALK, OPT_AT(thinking), "reason before answering: on, off or auto",
     .choices = OPT_CHOICES("on", "off", "auto"), .optional = true, .conf = true},
    {"no-think", NULL, OPT_SET, OPT_TALK, OPT_AT(thinking), "answer at once", .lo = 0},
    {"show-thinking", "WHERE", OPT_CHOICE, OPT_TALK | OPT_ATTACH, OPT_AT(show_thinking),
     "auto, stderr, stdout or none; auto: on a terminal",
     .choices = OPT_CHOICES("auto", "stderr", "stdout", "none"), .conf = true},
    {"max-tokens", "N", OPT_INT, OPT_GEN, OPT_AT(max_tokens), "end after N tokens, reasoning included", 1,
     INT32_MAX, .letter = 'n', .conf = true},
    {"temp", "X", OPT_REAL, OPT_GEN, OPT_AT(temp), "temperature; 0: always the best token", 0, 100,
     .conf = true},
    {"top-p", "X", OPT_REAL, OPT_GEN, OPT_AT(top_p), "keep the best tokens of total probability X", 0, 1,
     .conf = true},
    {"top-k", "N", OPT_INT, OPT_GEN, OPT_AT(top_k), "keep the N best tokens; 0: all", 0, INT32_MAX,
     .conf = true},
    {"min-p", "X", OPT_REAL, OPT_GEN, OPT_AT(min_p), "drop tokens below X times the best", 0, 1,
     .conf = true},
    {"repeat-penalty", "X", OPT_REAL, OPT_GEN, OPT_AT(repeat_penalty), "divide repeated logits by X; 1: off",
     0.01, 100, .conf = true},
    {"presence-penalty", "X", OPT_REAL, OPT_GEN, OPT_AT(presence_penalty), "subtract X from what was used",
     -100, 100, .conf = true},
    {"frequency-penalty", "X", OPT_REAL, OPT_GEN, OPT_AT(frequency_penalty), "subtract X for each use", -100,
     100, .conf = true},
    {"seed", "N", OPT_U64, OPT_GEN, OPT_AT(seed), "the same seed draws the same answer", .conf = true},
    {"stop", "TEXT", OPT_LIST, OPT_GEN, OPT_AT(stop), "end the answer before TEXT; up to 8"},
    {"logprobs", "N", OPT_INT, OPT_ASK, OPT_AT(logprobs), "N alternatives a token, with --json or --ndjson",
     0, 20},
    {"raw", NULL, OPT_FLAG, OPT_ASK, OPT_AT(raw), "the text as it stands instead of a chat"},
    {"special", NULL, OPT_FLAG, OPT_ASK | OPT_TOKENIZE, OPT_AT(special),
     "the text may hold special tokens (with --raw)"},
    {"priority", "P", OPT_LEVEL, OPT_GEN, OPT_AT(priority), "interactive, normal or batch",
     .choices = OPT_CHOICES("interactive", "normal", "batch"), .conf = true},
    {"deadline", "TIME", OPT_DURATION, OPT_GEN, OPT_AT(deadline_ms),
     "end it after TIME; refused if it begins later", 1, 24 * 3600 * 1000, .conf = true},
    {"overflow", "HOW", OPT_CHOICE, OPT_ASK, OPT_AT(overflow),
     "too long: refuse, keep head, tail, cut middle",
     .choices = OPT_CHOICES("refuse", "head", "tail", "middle"), .conf = true},
    {"extract", "LANG", OPT_TEXT, OPT_ASK | OPT_ATTACH, OPT_AT(extract),
     "only its first code block (of LANG)", .letter = 'x', .optional = true},
    {"strict", NULL, OPT_FLAG, OPT_ASK | OPT_ATTACH, OPT_AT(strict), "exit 7 if the answer was cut off",
     .conf = true},
    {"dry-run", NULL, OPT_FLAG, OPT_ASK, OPT_AT(dry_run), "print the prompt, count its tokens, ask nothing"},
    {"usage", NULL, OPT_FLAG, OPT_GEN | OPT_ATTACH, OPT_AT(usage), "say at the end what was used, on stderr",
     .conf = true},
    {"json", NULL, OPT_FLAG,
     OPT_ASK | OPT_ATTACH | OPT_COMPLETE | OPT_FIM | OPT_DOCTOR | OPT_HELP | OPT_MODELS | OPT_SESSION |
         OPT_STATUS | OPT_PS | OPT_TOKENIZE | OPT_TOP,
     OPT_AT(json), "one JSON object"},
    {"ndjson", NULL, OPT_FLAG, OPT_ASK | OPT_ATTACH | OPT_COMPLETE | OPT_FIM, OPT_AT(ndjson),
     "one JSON object for each event"},
    {"into", "PATH", OPT_TEXT, OPT_IMPORT | OPT_PULL, OPT_AT(into), "the folder for it"},
    {"link", NULL, OPT_FLAG, OPT_IMPORT, OPT_AT(link), "a hard link instead of a copy"},
    {"sha256", "HEX", OPT_TEXT, OPT_PULL, OPT_AT(sha256), "what the whole file must have"},
    {"unpinned", NULL, OPT_FLAG, OPT_PULL, OPT_AT(unpinned), "take whatever comes"},
    {"limit-rate", "N", OPT_INT, OPT_PULL, OPT_AT(limit_rate), "bytes a second at most", 1, 1e12},
    {"count", NULL, OPT_FLAG, OPT_TOKENIZE, OPT_AT(count), "only how many"},
    {"detach", NULL, OPT_FLAG, OPT_ASK, OPT_AT(detach), "print the request's id and end: see qwenctl attach"},
    {"mine", NULL, OPT_FLAG, OPT_CANCEL, OPT_AT(mine), "every request of this user"},
    {"once", NULL, OPT_FLAG, OPT_TOP, OPT_AT(once), "one plain table, and end"},
    {"interval", "TIME", OPT_DURATION, OPT_TOP, OPT_AT(interval_ms),
     "between two looks: 100ms to 60s (500ms)", 100, 60000, .conf = true},
    {"show-origin", NULL, OPT_FLAG, OPT_CONFIG, OPT_AT(show_origin),
     "where each value comes from, before it"},
    {"socket", "PATH", OPT_TEXT, OPT_ANY, OPT_AT(socket), "where the daemon listens (or $QWEND_SOCKET)",
     .conf = true},
    {"profile", "NAME", OPT_TEXT, OPT_ANY, OPT_AT(profile), "with [profile NAME] of the configuration",
     .conf = true},
    {"timeout", "TIME", OPT_DURATION, OPT_ANY, OPT_AT(timeout_ms), "give up after 500ms, 10s, 2m, 1h", 1,
     INT32_MAX, .conf = true},
    {"color", "WHEN", OPT_CHOICE, OPT_ANY, OPT_AT(color), "auto, always or never",
     .choices = OPT_CHOICES("auto", "always", "never"), .conf = true},
    {"quiet", NULL, OPT_FLAG, OPT_ANY, OPT_AT(quiet), "no notes, no reasoning; errors only", .letter = 'q',
     .conf = true},
    {"verbose", NULL, OPT_FLAG, OPT_ANY, OPT_AT(verbose), "notes even where stderr is no terminal",
     .letter = 'v', .conf = true},
    {"help", NULL, OPT_FLAG, OPT_ANY, OPT_AT(help), "this text", .letter = 'h'},
    {"version", NULL, OPT_FLAG, OPT_ANY, OPT_AT(version), "versions of qwenctl and of the daemon"},
};

_Static_assert(ARRAY_SIZE(opt_rows) <= 8 * sizeof(((struct opt_values *)0)->given),
               "opt_values.given has a bit for each option");

const struct opt *opt_table(size_t *ret_n)
{
    *ret_n = ARRAY_SIZE(opt_rows);
    return opt_rows;
}
