/* cmd_table.c - the table of verbs.  See cmd.h.
 *
 * A new verb is a row here, a bit in opt.h, a file cmd_*.c, a chapter of verbs.scd and a name in meson.build:
 * dispatch, help, man pages and completions follow. */
#include <string.h>

#include "cmd.h"
#include "guess.h"

#define CMD_CODES(...)                                                                                       \
    (const enum code[])                                                                                      \
    {                                                                                                        \
        __VA_ARGS__, CODE_OK                                                                                 \
    }
/* what any verb that runs a request may end with, and any that asks the daemon something */
#define CMD_CODES_RUN                                                                                        \
    CMD_CODES(CODE_NO_DAEMON, CODE_DENIED, CODE_BUSY, CODE_TOO_LONG, CODE_DEADLINE, CODE_FAILED)
#define CMD_CODES_CALL CMD_CODES(CODE_NO_DAEMON, CODE_DENIED, CODE_BUSY, CODE_DEADLINE, CODE_FAILED)

static const struct cmd cmd_rows[] = {
    {"ask", "[OPTIONS] [TEXT]...", "Ask once, print the answer", OPT_ASK, cmd_ask,
     "Standard input (unless a terminal) and files come first, then the question.\n"
     "The answer alone goes to stdout; on a terminal its Markdown is laid out.\n"
     "--overflow head or tail keeps that end of a document that is too long, middle\n"
     "keeps both. --extract takes a block of LANG or without a name, and exits 1 if\n"
     "there is none.\n",
     -1, CMD_ASKING,
     .examples = "dmesg | qwenctl ask \"Is there a hardware fault?\"\n"
                 "qwenctl ask --no-think -n 50 \"A name for a cat\"\n"
                 "qwenctl ask -x=sh \"tar only the .c files\" | sh -n || echo \"no code\"\n"
                 "qwenctl ask --json -f paper.txt \"The title?\" | jq -r .text\n",
     .codes = CMD_CODES(CODE_NO, CODE_NO_DAEMON, CODE_DENIED, CODE_BUSY, CODE_TOO_LONG, CODE_CUT,
                        CODE_GRAMMAR, CODE_DEADLINE, CODE_FAILED)},
    {"chat", "[OPTIONS]", "Talk, with the conversation kept", OPT_CHAT, cmd_chat,
     "/help in the conversation lists its commands. Ctrl-C stops an answer, Ctrl-D\n"
     "ends. Without a terminal each line of standard input is one turn. Of a template\n"
     "options and system message count.\n",
     0, CMD_ASKING, CMD_TAKES_NOTHING, .examples = "echo \"What is 2 + 3?\" | qwenctl chat -s sums\n",
     .codes = CMD_CODES_RUN},
    {"complete", "[OPTIONS] [TEXT]", "Go on with a text as it stands", OPT_COMPLETE, cmd_complete,
     "Standard input, unless TEXT is given. No chat: the model writes what comes next.\n", 1, CMD_ASKING,
     .examples = "qwenctl complete -n 20 \"Once upon a time\"\n", .codes = CMD_CODES_RUN},
    {"fim", "[OPTIONS]", "Fill the gap in a text", OPT_FIM, cmd_fim,
     "For a model that was trained for it; its vocabulary must have the tokens.\n", 0, CMD_ASKING,
     CMD_TAKES_NOTHING,
     .examples = "qwenctl fim --prefix head.c --suffix tail.c -n 60\n"
                 "head -n 20 x.py | qwenctl fim --time-limit 500ms --extra util.py\n",
     .codes = CMD_CODES_RUN},
    {"map", "[OPTIONS] [TEMPLATE]...", "Ask about each record of an input", OPT_MAP, cmd_map,
     "{{.}} in the template is the record, {{.name}} a field of it (of files: .path,\n"
     ".text); without either the record goes behind the template. Put what all have\n"
     "in common first: it is read once. The first line of CSV names the columns.\n"
     "A line of JSON for each answer: _key, _h (of template, options and model), text,\n"
     "finish, usage. Requests give way to others, unless --priority says otherwise.\n",
     -1, CMD_ASKING,
     .examples = "qwenctl map \"Translate to French:\" < words.txt > french.ndjson\n"
                 "qwenctl map --in=ndjson -k .id -o out.ndjson --resume \\\n"
                 "  \"Bug or feature? {{.title}}: {{.text}}\" < tickets.ndjson\n"
                 "find . -name '*.c' -print0 | qwenctl map -0 --in=files \"In one line:\"\n",
     .codes = CMD_CODES(CODE_NO_DAEMON, CODE_DENIED, CODE_BUSY, CODE_TOO_LONG, CODE_CUT, CODE_DEADLINE,
                        CODE_FAILED, CODE_SOME)},
    {"attach", "[OPTIONS] ID", "The answer of a request that was detached", OPT_ATTACH, cmd_attach,
     "Shown from its beginning, until it ends. Ctrl-C leaves it running.\n", 1, CMD_ASKING, CMD_TAKES_REQUEST,
     .examples = "id=$(qwenctl ask --detach -f book.txt \"Summarise\"); qwenctl attach $id\n",
     .codes = CMD_CODES(CODE_NO, CODE_NO_DAEMON, CODE_DENIED, CODE_CUT, CODE_DEADLINE, CODE_FAILED)},
    {"tokenize", "[OPTIONS] [TEXT]", "Text to token ids", OPT_TOKENIZE, cmd_tokenize, NULL, 1, CMD_ASKING,
     .examples = "qwenctl tokenize --count < book.txt\n",
     .codes = CMD_CODES(CODE_NO_DAEMON, CODE_DENIED, CODE_BUSY, CODE_TOO_LONG, CODE_DEADLINE, CODE_FAILED)},
    {"session", "[ls | show | export | rm | fork | path] [NAME]...", "The conversations that are kept",
     OPT_SESSION, cmd_session,
     "ask and chat keep what is said with --session NAME; nothing else is kept.\n"
     "export prints it as messages for an API; fork NAME NEW makes a copy to go on\n"
     "with; ls -q prints names only.\n",
     -1, CMD_ASKING, CMD_TAKES_WORD, "ls show export rm fork path", "qwenctl session ls -q",
     .examples = "qwenctl ask -s plan \"Draft a plan\"; qwenctl ask -s plan \"Shorter\"\n"
                 "qwenctl ask -c \"And in French?\"\n"
                 "qwenctl session show plan | less\n",
     .codes = CMD_CODES(CODE_TOO_LONG, CODE_FAILED)},
    {"template", "[ls | show NAME | edit NAME]", "Roles in files, listed, shown and edited", OPT_TEMPLATE,
     cmd_template,
     "NAME.txt in ~/.config/qwend/templates, or the machine's templates. Options\n"
     "between two lines ---, then the system message, then, behind a line\n"
     "\"--- question\", how a question is put: {{question}} stands for its words.\n",
     2, CMD_ASKING, CMD_TAKES_WORD, "ls show edit", "qwenctl template ls -q",
     .examples = "qwenctl template edit review\n"
                 "git diff --staged | qwenctl ask -t review\n",
     .codes = CMD_CODES(CODE_TOO_LONG, CODE_FAILED)},
    {"status", "[--json]", "What the daemon is, has and does", OPT_STATUS, cmd_status, NULL, 0, CMD_WATCHING,
     CMD_TAKES_NOTHING, .examples = "qwenctl status --json | jq -r .state\n", .codes = CMD_CODES_CALL},
    {"ps", "[--json]", "The requests that wait or run", OPT_PS, cmd_ps, NULL, 0, CMD_WATCHING,
     CMD_TAKES_NOTHING, .examples = "qwenctl ps\n", .codes = CMD_CODES_CALL},
    {"top", "[--once] [--json]", "The service at work, live", OPT_TOP, cmd_top,
     "On a terminal until q or Ctrl-C; into a pipe or with --once one table.\n"
     "TOK/S is over the last 4 s; CACHED is the share of the prompt.\n",
     0, CMD_WATCHING, CMD_TAKES_NOTHING, .examples = "qwenctl top --once\n", .codes = CMD_CODES_CALL},
    {"doctor", "[--fix] [--json]", "Look for what is wrong, say what helps", OPT_DOCTOR, cmd_doctor,
     "Exits 1 if a check failed. The names of checks are stable. --fix changes modes\n"
     "of files and folders of this user, makes folders and removes sockets that nobody\n"
     "listens at; without it nothing is changed.\n",
     0, CMD_WATCHING, CMD_TAKES_NOTHING,
     .examples = "qwenctl doctor\nqwenctl doctor --fix\nqwenctl doctor --json | jq -r .ok\n",
     .codes = CMD_CODES(CODE_NO, CODE_FAILED)},
    {"log", "[JOURNALCTL OPTIONS]", "The service's log", 0, cmd_log,
     "Becomes journalctl --unit qwend.service with what stands behind it.\n", -1, CMD_WATCHING,
     .examples = "qwenctl log -f\nqwenctl log -S -1h QWEND_UID=1000\n", .passes = true,
     .see = "*journalctl*(1)", .codes = CMD_CODES(CODE_NO, CODE_FAILED)},
    {"cancel", "ID | --mine", "End a request, or all of this user's", OPT_CANCEL, cmd_cancel,
     "ID is what ps shows, or its first digits.\n", 1, CMD_STEERING, CMD_TAKES_REQUEST,
     .examples = "qwenctl cancel --mine || echo \"nothing of mine runs\"\n",
     .codes = CMD_CODES(CODE_NO, CODE_NO_DAEMON, CODE_DENIED, CODE_BUSY, CODE_DEADLINE, CODE_FAILED)},
    {"reload", "", "Have the daemon read its configuration again", OPT_ADMIN, cmd_reload,
     "For administrators. Requests go on; a mistake in the files changes nothing.\n", 0, CMD_STEERING,
     CMD_TAKES_NOTHING, .examples = "sudo qwenctl reload\n", .codes = CMD_CODES_CALL},
    {"drain", "", "Take no more requests, let those that run end", OPT_ADMIN, cmd_drain,
     "For administrators. The daemon stays up, and resume takes requests again.\n", 0, CMD_STEERING,
     CMD_TAKES_NOTHING, .examples = "sudo qwenctl drain\n", .codes = CMD_CODES_CALL},
    {"resume", "", "Take requests again", OPT_ADMIN, cmd_resume, "For administrators.\n", 0, CMD_STEERING,
     CMD_TAKES_NOTHING, .examples = "sudo qwenctl resume\n", .codes = CMD_CODES_CALL},
    {"upgrade", "", "Have the daemon's present binary take over", OPT_ADMIN, cmd_upgrade,
     "For administrators who may reload. Requests go on; what cannot be started is\nrefused.\n", 0,
     CMD_STEERING, CMD_TAKES_NOTHING, .examples = "sudo qwenctl upgrade\n", .codes = CMD_CODES_CALL},
    {"use", "[OPTIONS] MODEL", "Serve another model, without a restart", OPT_USE, cmd_use,
     "For administrators who may reload. MODEL is a GGUF file, or a name, or its\n"
     "beginning, of qwenctl models. Requests that wait or run are served by the old\n"
     "model to their end, those that come then by the new one. Ctrl-C calls it off\n"
     "while the old model is there. What cannot be loaded changes nothing, or the old\n"
     "model is loaded again.\n",
     1, CMD_STEERING, CMD_TAKES_FILE,
     .examples =
         "sudo qwenctl use qwen3.5-4b\nsudo qwenctl use --no-wait /srv/models/qwen3.5-9b-q4_k_m.gguf\n",
     .names = "qwenctl models -q",
     .codes = CMD_CODES(CODE_NO, CODE_NO_DAEMON, CODE_DENIED, CODE_BUSY, CODE_DEADLINE, CODE_FAILED)},
    {"models", "[--json]", "The models of this machine", OPT_MODELS, cmd_models,
     "Of the user's folder and of the service's; * is the one that is served. The hash\n"
     "is the one it had when it came: qwenctl verify looks again. -q prints names.\n",
     0, CMD_MODELS, CMD_TAKES_NOTHING, .examples = "qwenctl models\n", .codes = CMD_CODES(CODE_FAILED)},
    {"pull", "[OPTIONS] URL", "Fetch a model by HTTP", OPT_PULL, cmd_pull,
     "Goes on where an earlier try stopped. The file is put into place once its hash\n"
     "is the one that was given; exit 1 if it is another.\n",
     1, CMD_MODELS, CMD_TAKES_TEXT, .passes = true,
     .examples = "qwenctl pull --sha256 HEX https://example.org/qwen3.5-9b-q4_k_m.gguf\n",
     .codes = CMD_CODES(CODE_NO, CODE_BUSY, CODE_FAILED)},
    {"import", "[OPTIONS] FILE", "Take a GGUF file into the models of this machine", OPT_IMPORT, cmd_import,
     "Root's go to the service's folder, a user's to his own. Prints where it is.\n", 1, CMD_MODELS,
     CMD_TAKES_FILE, .examples = "qwenctl import --into models model.gguf\n",
     .codes = CMD_CODES(CODE_FAILED)},
    {"verify", "FILE", "Is a model what it was, and whole?", OPT_VERIFY, cmd_verify,
     "Its sha256 against the one it came with, then header, tensors and shapes.\n"
     "Exit 1: it is not.\n",
     1, CMD_MODELS, CMD_TAKES_FILE, .examples = "qwenctl verify model.gguf\n",
     .codes = CMD_CODES(CODE_NO, CODE_FAILED)},
    {"inspect", "FILE [OPTIONS]", "What is in a GGUF file, and the memory it takes", 0, cmd_inspect,
     "Becomes qwend-probe inspect, whose options these are.\n", -1, CMD_MODELS, CMD_TAKES_FILE,
     .passes = true, .examples = "qwenctl inspect model.gguf --ctx 32768 --slots 4\n",
     .see = "*qwend-probe*(1)", .codes = CMD_CODES(CODE_NO, CODE_FAILED)},
    {"bench", "FILE [OPTIONS]", "How fast this machine runs a model", 0, cmd_bench,
     "Becomes qwend-probe bench, whose options these are.\n", -1, CMD_MODELS, CMD_TAKES_FILE, .passes = true,
     .examples = "qwenctl bench model.gguf --json\n", .see = "*qwend-probe*(1)",
     .codes = CMD_CODES(CODE_NO, CODE_FAILED)},
    {"eval", "FILE SUITE [OPTIONS]", "How good a model's answers are", 0, cmd_eval,
     "Becomes qwend-probe eval, whose options these are.\n", -1, CMD_MODELS, CMD_TAKES_FILE, .passes = true,
     .examples = "qwenctl eval model.gguf SUITE.jsonl --limit 1\n", .see = "*qwend-probe*(1)",
     .codes = CMD_CODES(CODE_NO, CODE_FAILED)},
    {"config", "[list | get KEY | set KEY VALUE | unset KEY]", "What qwenctl does unless told otherwise",
     OPT_CONFIG, cmd_config,
     "Keys are names of options; qwenctl help settings lists them. set and unset\n"
     "change the user's file, with --profile a profile of it. get exits 1 if the key\n"
     "has no value.\n",
     3, CMD_TOOLS, CMD_TAKES_WORD, "list get set unset",
     .examples = "qwenctl config set max-tokens 500\n"
                 "qwenctl config set think off --profile quick; qwenctl ask --profile quick hi\n"
                 "qwenctl config list --show-origin\n",
     .codes = CMD_CODES(CODE_NO, CODE_FAILED)},
    {"completion", "SHELL", "Completions for bash, zsh or fish", OPT_COMPLETION, cmd_completion,
     "Packages install them; by hand, or for a shell that was not found:\n", 1, CMD_TOOLS, CMD_TAKES_WORD,
     "bash zsh fish",
     .examples = "eval \"$(qwenctl completion bash)\"\n"
                 "qwenctl completion fish > ~/.config/fish/completions/qwenctl.fish\n"},
    {"lsp", "", "A language server for editors, on stdin and stdout", OPT_LSP, cmd_lsp,
     "Editors start it: completions as one types, code actions, chats; docs/EDITORS.md\n"
     "has what to put into which. It outlives the daemon and finds it again.\n",
     0, CMD_TOOLS, CMD_TAKES_NOTHING, .codes = CMD_CODES(CODE_NO, CODE_FAILED)},
    {"version", "", "Versions of this program and of the daemon", OPT_VERSION, cmd_version, NULL, 0,
     CMD_TOOLS, CMD_TAKES_NOTHING, .examples = "qwenctl version\n"},
    {"help", "[VERB | TOPIC]", "This text, the options of a verb, or a topic", OPT_HELP, cmd_help,
     "With --json all verbs and options as one object, for other programs.\n", 1, CMD_TOOLS, CMD_TAKES_WORD,
     "VERBS", .examples = "qwenctl help ask\nqwenctl help exit-codes\n"},
};

const struct cmd *cmd_table(size_t *ret_n)
{
    *ret_n = ARRAY_SIZE(cmd_rows);
    return cmd_rows;
}

const struct cmd *cmd_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(cmd_rows); i++)
        if (!strcmp(cmd_rows[i].name, name))
            return &cmd_rows[i];
    return NULL;
}

const char *cmd_group_title(enum cmd_group group)
{
    static const char *const titles[CMD_GROUP_N] = {
        [CMD_ASKING] = "Ask",    [CMD_WATCHING] = "Look at the service", [CMD_STEERING] = "Steer the service",
        [CMD_MODELS] = "Models", [CMD_TOOLS] = "About qwenctl",
    };

    return titles[group];
}

const char *cmd_guess(const char *word)
{
    const char *best = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(cmd_rows); i++)
        guess_offer(word, cmd_rows[i].name, &best);
    return best;
}

/* Every verb may be used wrongly, interrupted, and asked for help into a pipe that nobody reads. */
bool cmd_has_code(const struct cmd *cmd, enum code code)
{
    const enum code *at = cmd->codes;

    if (code == CODE_OK || code == CODE_USAGE || code >= CODE_INT)
        return true;
    while (at && *at && *at != code)
        at++;
    return at && *at;
}
