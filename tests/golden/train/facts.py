"""Collects what the demo model learns about qwend from the sources and the documents, and writes facts.json.

One command after the options or the documents have changed, before the model is trained again:
    python3 tests/golden/train/facts.py

A fact is {"kind", "name", "answer", "need", ...}: `kind` picks the phrasings of questions (tasks/qwend.py),
`need` is what an answer must contain, in the form of the suites.  Everything is read from where users read
it: the table of options (client/qwenctl/opt_table.c), the verbs (cmd_table.c), the exit codes (code.c), the tables
of docs/*.md.  A source whose form has changed so that nothing is found in it is an error, not an empty list."""

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
FILE = HERE / "facts.json"
STRING = r'"((?:[^"\\]|\\.)*)"'
# name, value, kind, verbs, offset, help (C joins its strings)
OPTION = re.compile(
    rf'{{{STRING}, (?:{STRING}|NULL), (OPT_\w+),\s+([\w |\n]+),\s+OPT_AT\(\w+\),\s*((?:"(?:[^"\\]|\\.)*"\s*)+)'
)


class SourceError(Exception):
    """A source does not have the form that this script reads."""


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


def fact(kind, name, answer, need, **more):
    """`need`: texts that must all be in the answer."""
    return {"kind": kind, "name": name, "answer": answer, "need": [[n] for n in need], **more}


def core(text):
    """The first clause, which every right answer has."""
    return re.split(r"[;:(]|, or ", text)[0].strip(" .").lower()


def braces(text, start):
    """The rows {...} of a C table that starts at `start`."""
    depth, row, quoted = 0, None, False
    for i in range(text.index("{", start), len(text)):
        c = text[i]
        if c == '"' and text[i - 1] != "\\":
            quoted = not quoted
        if quoted:
            continue
        if c == "{":
            depth += 1
            row = i if depth == 2 else row
        elif c == "}":
            depth -= 1
            if depth == 1:
                yield text[row : i + 1]
            elif depth == 0:
                return


def unquote(text):
    return "".join(re.findall(STRING, text)).replace('\\"', '"').replace("\\n", "\n")


def verbs_of():
    """{"OPT_ASK": ["ask"], ...} of qwenctl's table of verbs; some share a flag."""
    out = {}
    for verb, flag in re.findall(r'\{"(\w+)",\s*"[^"]*",\s*"[^"]*",\s*(OPT_\w+),', read("client/qwenctl/cmd_table.c")):
        out.setdefault(flag, []).append(verb)
    return out


def options():
    """Rows of opt_table: name, value, verbs, help, letter, choices."""
    text, known = read("client/qwenctl/opt_table.c"), verbs_of()
    start = text.index("opt_rows[] = {")
    # sets of verbs that have a name, each made of flags and of those before it: the last one is expanded first
    aliases = re.findall(r"(OPT_\w+) = ([\w |]+)", re.search(r"\nenum \{[^}]*\}", text).group(0))[::-1]
    for row in braces(text, start):
        m = OPTION.match(row)
        if not m:
            continue
        name, arg, kind, verbs, help_text = m.groups()
        for alias, meaning in aliases:
            verbs = re.sub(rf"\b{alias}\b", meaning.strip(), verbs)
        verbs = re.split(r"\s*\|\s*", verbs)
        letter = re.search(r"\.letter = '(\w)'", row)
        choices = re.search(r"OPT_CHOICES\(([^)]*)\)", row)
        yield {
            "name": name, "arg": arg, "kind": kind, "help": unquote(help_text),
            "letter": letter and letter.group(1),
            "verbs": ["every verb"] if "OPT_ANY" in verbs else [name for v in verbs for name in known[v]],
            "choices": re.findall(STRING, choices.group(1)) if choices else [],
        }  # fmt: skip


def option_facts():
    for o in options():
        shown, where = f"--{o['name']}", " and ".join(", ".join(o["verbs"]).rsplit(", ", 1))
        value = f" {o['arg']}" if o["arg"] else ""
        yield fact("option", shown, f"{shown}{value}: {o['help']}.", [core(o["help"])])
        yield fact("which-option", o["help"], f"{shown}{value}.", [shown])
        yield fact("option-verbs", shown, f"{shown} is an option of {where}.", o["verbs"])
        if o["letter"]:
            yield fact(
                "option-letter", shown, f"The short form of {shown} is -{o['letter']}.", [f"-{o['letter']}"]
            )
        else:
            yield fact("option-letter", shown, f"{shown} has no short form.", ["no short form"])
        if o["choices"]:
            yield fact(
                "option-values",
                shown,
                f"{shown} takes {', '.join(o['choices'][:-1])} or {o['choices'][-1]}.",
                o["choices"],
            )


def verb_facts():
    text = read("client/qwenctl/cmd_table.c")
    for row in braces(text, text.index("cmd_rows[] = {")):
        name, args, summary = re.findall(STRING, row)[:3]
        yield fact(
            "verb", f"qwenctl {name}", sentence(f"qwenctl {name}: {summary[0].lower()}{summary[1:]}"), [core(summary)]
        )
        yield fact("which-verb", summary[0].lower() + summary[1:], f"qwenctl {name}.", [f"qwenctl {name}"])
        if args:
            yield fact("usage", f"qwenctl {name}", f"qwenctl {name} {args}", [args.lower()])


def exit_facts():
    text = read("client/qwenctl/code.c")
    numbers = {n: int(v) for n, v in re.findall(r"(CODE_\w+) = (\d+)", read("client/qwenctl/code.h"))}
    for name, meaning in re.findall(
        rf"\{{(CODE_\w+), {STRING}\}}", text[text.index("code_meanings[] = {") :]
    ):
        code = numbers[name]
        yield fact("exit", str(code), f"Exit code {code}: {meaning}.", [core(meaning)])
        yield fact("which-exit", meaning, f"Exit code {code}.", [f"code {code}."])


def table(path, *heads):
    """Rows (lists of cells) of the Markdown table whose header starts with these cells."""
    lines = read(path).split("\n")
    for i, line in enumerate(lines):
        cells = [c.strip() for c in line.strip().strip("|").split("|")] if line.startswith("|") else None
        if cells and tuple(cells[: len(heads)]) == heads:
            for row in lines[i + 2 :]:
                if not row.startswith("|"):
                    return
                yield [plain(c) for c in row.strip().strip("|").split("|")]
            return
    raise SourceError(f"{path}: no table with the columns {', '.join(heads)}")


def plain(cell):
    """A cell without Markdown, and without what refers to other pages: (§4), (below), (LIBQWEND)."""
    cell = re.sub(r" \(\[[^\]]*\]\([^)]*\)\)", "", cell.strip())
    cell = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", cell)
    return re.sub(r" \((?:§[\d.]+|below)\)", "", cell).replace("`", "").replace("**", "")


def sentence(text):
    return text if text.endswith("?") else f"{text}."


def status_facts():
    for code, name, when, _ in table("docs/PROTOCOL.md", "code", "name", "when"):
        yield fact("status", f"{code} {name}", f"{code} {name}: {shorten(when, 70)}.", [core(shorten(when, 70))])
        yield fact("status-number", name, f"{name} is error {code}.", [code])
        yield fact("status-name", code, f"Error {code} is {name}.", [name.lower()])


def key_facts():
    for name, default, meaning in table("docs/OPERATIONS.md", "key", "default", "meaning"):
        yield fact("key", name, f"{name}: {shorten(meaning)}.", [core(shorten(meaning))])
        default = "none, it must be set" if "; needed" in meaning else default
        yield fact(
            "default", name, f"The default of {name} is {default}.", [f"is {default.split(',')[0].lower()}"]
        )
        yield fact("which-key", core(meaning), f"The key {name}.", [name])


def shorten(text, most=80):
    """Whole clauses up to about `most` characters: a small model learns short answers.  What is behind a colon is
    taken whole or not at all, and only a first clause that is too long by itself is cut at a comma."""

    def fill(parts):
        out = ""
        for part in parts:
            if out and len(out) + len(part) > most:
                break
            out = f"{out} {part}".strip()
        return out.strip(" ;,:.")

    out = fill(re.split(r"(?<=;) |(?<=[.:]) (?=[A-Z])", text))
    if len(out) > most:
        out = out.split(": ")[0]
    return out if len(out) <= most else fill(re.split(r"(?<=,) ", out))


def file_facts():
    for name, what in table("docs/OPERATIONS.md", "file", "what"):
        if "," not in name:
            yield fact("file", name, f"{name}: {shorten(what)}.", [core(shorten(what))])


def limit_facts():
    for name, limit, _ in table("docs/OPERATIONS.md", "", "limit", "what happens"):
        if not name.startswith("from "):
            limit = shorten(limit, 60)
            yield fact("limit", name, f"{name}: at most {limit}.", [core(limit)])


def trouble_facts():
    for seen, means, do in table("docs/OPERATIONS.md", "you see", "it means", "do"):
        if len(seen) < 60:
            yield fact(
                "trouble",
                shorten(seen, 60),
                f"It means: {shorten(means)}. Try: {shorten(do, 60)}.",
                [core(shorten(means))],
            )


def chat_facts():
    """/help of a conversation, from cmd_chat.c."""
    text = read("client/qwenctl/cmd_chat.c")
    found = re.search(r"help\[\] = ((?:\"(?:[^\"\\]|\\.)*\"\s*)+);", text)
    for line in unquote(found.group(1)).split("\n") if found else ():
        m = re.match(r"(/\w+|//)\S*(?: \S+)*?\s{2,}(.*)", line)
        if m:
            yield fact("chat", m.group(1), f"{m.group(1)}: {m.group(2)}.", [core(m.group(2))])


def folder_facts():
    for name, what, _ in table("docs/ARCHITECTURE.md", "folder", "what", "may include"):
        if what.startswith("this"):
            continue
        what = what.replace("-> ", "the source of ")
        yield fact("folder", name, f"{name}: {shorten(what)}.", [core(shorten(what))])


# Facts in prose: what is asked, the answer, and the text of the document that says so.  A document that no
# longer has its text makes this script fail, so that the answer is looked at again.
PROSE = [
    ("qwend", "what", "qwend is Qwen 3.5 as a service of the operating system.",
     "service of the operating system", "README.md", "Qwen 3.5 as a service of the operating system"),
    ("qwend", "how",
     "One resident daemon holds one copy of the model; programs use it through a Unix socket.", "one copy",
     "README.md", "One resident daemon holds one copy of the model"),
    ("qwend", "language", "qwend is written in C (gnu17).", "gnu17", "README.md", "C (gnu17)"),
    ("qwend", "licence", "Apache-2.0.", "apache-2.0", "README.md", "Apache-2.0"),
    ("qwend", "model", "GGUF files of Qwen 3.5, of any size.", "gguf", "README.md",
    "GGUF `qwen35` files of any size"), ("qwend", "socket", "/run/qwend/qwend.sock", "/run/qwend/qwend.sock",
    "docs/OPERATIONS.md", "`/run/qwend/qwend.sock`"), ("qwend", "config", "/etc/qwend/qwend.conf",
    "/etc/qwend/qwend.conf", "docs/OPERATIONS.md", "`/etc/qwend/qwend.conf`"), ("qwend", "log",
     "To stderr, so to the journal under systemd.", "stderr", "docs/OPERATIONS.md",
     "stderr, so the journal under systemd"),
    ("qwend", "start", "sudo systemctl enable --now qwend.socket", "enable --now qwend.socket",
     "docs/OPERATIONS.md", "sudo systemctl enable --now qwend.socket"),
    ("qwend", "start-by-hand", "qwend --socket PATH --model FILE.gguf",
     "qwend --socket path --model file.gguf", "README.md", "`qwend --socket PATH --model FILE.gguf`"),
    ("qwend", "privacy", "Never: no word of a prompt or an answer is logged.", "never", "docs/OPERATIONS.md",
     "Never a word\n  of a prompt or an answer"),
    ("qwend", "crash", "The answers under way pause and go on, token for token the same.", "go on",
     "README.md", "the answers under way pause and go on, token for token the same"),
    ("qwend", "drain", "It drains: running requests may finish, new ones are refused.", "drain",
     "docs/OPERATIONS.md", "drains"),
    ("qwend", "identity", "From the kernel, with SO_PEERCRED.", "so_peercred", "docs/ARCHITECTURE.md",
    "(`SO_PEERCRED`)"), ("qwend", "broker",
     "The broker accepts clients, queues fairly and keeps what is needed to run a request again.",
     "accepts clients", "docs/ARCHITECTURE.md", "the broker, accepts clients"),
    ("qwend", "engine",
     "qwend-engine renders, tokenises, schedules, computes and samples. It may die at any moment.",
     "schedules, computes", "docs/ARCHITECTURE.md", "renders, tokenises, schedules, computes, samples"),
    ("qwend", "qwenctl", "qwenctl is the way in from the shell.", "shell", "docs/OPERATIONS.md",
    "the shell's way in"), ("qwend", "library", "libqwend, the C library; its header is qwend.h.", "libqwend",
    "docs/OPERATIONS.md", "`qwend.h`"), ("qwend", "probe",
     "qwend-probe has the model library from the shell: inspect, tokenize, logits, bench.", "inspect",
     "docs/OPERATIONS.md", "inspect, tokenize, logits, bench"),
    ("qwend", "protocol", "QWP/1, described in docs/PROTOCOL.md.", "qwp/1", "docs/PROTOCOL.md", "QWP/1"),
    ("qwend", "pipe", "git diff --staged | qwenctl ask 'Write a commit message'", "| qwenctl ask",
     "README.md", "git diff --staged | qwenctl ask 'Write a commit message'"),
    ("qwend", "demo", "./dev demo", "./dev demo", "README.md", "./dev demo"),
    ("qwend", "test", "./dev test", "./dev test", "README.md", "./dev test"),
    ("qwend", "build", "meson setup build && meson test -C build", "meson setup build", "README.md",
     "meson setup build && meson test -C build"),
    ("qwend", "prompt-max", "8 MiB.", "8 mib", "docs/PROTOCOL.md", "A prompt has at most 8 MiB"),
    ("qwend", "frame-max", "1 MiB.", "1 mib", "docs/PROTOCOL.md", "A body has at most 1 MiB"),
    ("qwend", "root", "Only with --allow-root; it needs no privilege.", "--allow-root", "docs/OPERATIONS.md",
    "`--allow-root`"), ("qwend", "env", "QWEND_SOCKET names the socket.", "qwend_socket",
                        "docs/OPERATIONS.md", "`$QWEND_SOCKET`"),
]  # fmt: skip


def prose_facts():
    for _, name, answer, need, path, anchor in PROSE:
        if anchor in read(path):
            yield fact("prose", name, answer, [need])
        else:
            yield SourceError(f'{path}: no longer says "{anchor}": look at the fact "{name}" in facts.py')


SOURCES = [option_facts, verb_facts, exit_facts, status_facts, key_facts, file_facts, limit_facts,
           trouble_facts,
           chat_facts, folder_facts, prose_facts]  # fmt: skip


def collect():
    """(facts, faults): all facts, where two sources that give the same question are one, and what could not be
    read."""
    facts, faults = {}, []
    for source in SOURCES:
        try:
            found = list(source())
        except (SourceError, ValueError, OSError) as e:
            faults.append(f"{source.__name__}: {e}")
            continue
        if not found:
            faults.append(f"{source.__name__}: nothing found, its source has another form now")
        for f in found:
            if isinstance(f, SourceError):
                faults.append(str(f))
            else:
                facts.setdefault((f["kind"], f["name"]), f)
    return list(facts.values()), faults


def main():
    facts, faults = collect()
    if faults:
        sys.exit("\n".join(f"facts.py: {fault}" for fault in faults))
    lines = ",\n".join(json.dumps(f, ensure_ascii=False) for f in facts)
    FILE.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(f"{FILE.name}: {len(facts)} facts")


if __name__ == "__main__":
    main()
