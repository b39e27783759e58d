#!/usr/bin/env python3
"""story_docs.py - every code block of README.md and docs/*.md runs, on the demo model, as a reader would run it, and so do the examples
of the manual pages, of which qwenctl's are those of its help.

Shell line by line, each in a shell of its own; C compiled and linked as the page says; Python, TOML and JSON too.  What cannot run on a
machine that tests is told by NOT_RUN and NO_PROGRAM below, and counted: each rule has to fit something, whatever fits none is run.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib

import blocks
import qwp
from gateway import Gateway
from harness import WAIT_S, Qwend, golden

BUILD = os.environ["QWEND_BUILD"]
SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
CONTEXT = 2048

NOT_RUN = {  # lines of a shell, by why
    "needs root or systemd": r"^(sudo|sudoedit) ",
    "an installed service": r" /run/qwend-http/",
    "builds or tests qwend itself": r"^(meson|ninja|\./dev|sh tests/(gpu|cross)/|python3 tests/gpu/|EMU_ORDER=|cd tests/golden/train)",
    "a daemon, which is there already": r"^(build/daemon/broker/)?qwend(-http)? --",
    "a process id of the day": r"^kill -9 \d+$",
    "needs PyPI, story-llm does it": r"^llm ",
    "needs files that are not ours": r"gpqa_diamond|HumanEval|--probe ",
    "needs the network": r"^qwenctl pull ",
}
NO_PROGRAM = {  # indented blocks, by what they are and how they begin
    "a configuration file": r"^(\[\w+ ?\w*\]|# systemctl edit|# umask|    # systemctl edit)",
    "a formula": r"^(rms\(|per head:|u = attn_qkv|\(\?i:)",
    "Python for an SDK, which story-http-sdk tries": r"^import httpx, openai",
}
SHOWN = ("text", "")  # languages of fences for what is only looked at

STANDINS = {  # for what a machine that runs tests need not have
    "dmesg": "#!/bin/sh\necho '[0.0] all is well'\n",
    "journalctl": "#!/bin/sh\ni=0; while [ $i -lt 2000 ]; do echo \"line $i of the log\"; i=$((i + 1)); done\n",
    "jq": f"#!{sys.executable}\nimport json, sys\nprint(json.load(sys.stdin)[sys.argv[2][1:]])\n",
    "curl": f"""#!{sys.executable}
import http.client, socket, sys, urllib.parse
_, _, _, path, url, *data = sys.argv
connection = http.client.HTTPConnection("localhost")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect(path)
connection.request("POST" if data else "GET", urllib.parse.urlparse(url).path, data[1] if data else None)
sys.stdout.buffer.write(connection.getresponse().read())
""",
}
counts = {}     # why, or "run": how many
fits = set()    # rules that were needed


def count(what):
    counts[what] = counts.get(what, 0) + 1


def rule_of(rules, text):
    for why, pattern in rules.items():
        if re.search(pattern, text):
            fits.add(why)
            count(why)
            return why
    return None


class Place:
    """A folder with what a page names: a home, files, model files of elsewhere."""

    def __init__(self, name, text):
        self.folder = os.path.join(QWEND.folder, name)
        for script, body in STANDINS.items():
            if script != "curl" or not shutil.which("curl"):
                self.put("bin/" + script, body, 0o755)
        self.put("notes.txt", "Buy bread.\n")
        self.put("more.txt", "Sell milk.\n")
        for name in ("book.txt", "paper.txt", "words.txt", "head.c", "tail.c", "x.py", "util.py", ".config/fish/completions/old.fish"):
            self.put(name, "one\ntwo\n")
        self.put("tickets.ndjson", '{"id": 1, "title": "It fails", "text": "Always."}\n')
        self.put(".gitconfig", "[user]\n\tname = Somebody\n\temail = somebody@example.org\n")
        template = re.search(r"```text\n(---\n.*?)```", text, re.S)
        if template:
            self.put(".config/qwend/templates/review.txt", template[1])
        for link in ("demo.gguf", "model.gguf", "MODEL.gguf", "demo-BF16.gguf", "tests/golden/demo.gguf",
                     ".cache/huggingface/hub/models--some--model/snapshots/0/some.gguf"):
            self.link(golden("demo.gguf"), link)
        self.link(golden("demo-Q4_K_M.gguf"), "demo-Q4_K_M.gguf")
        self.link(golden("models"), "tests/golden/models")
        self.link(golden("eval"), "tests/golden/eval")
        self.link(BUILD, "build")
        self.an_ollama_store()
        self.suites()
        self.shell("git init -q && git add notes.txt && git commit -qm first && git add more.txt")

    def put(self, path, text, mode=0o644):
        path = os.path.join(self.folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, mode)

    def link(self, target, path):
        path = os.path.join(self.folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.symlink(target, path)

    def an_ollama_store(self):
        layers = [{"mediaType": f"application/vnd.ollama.image.{kind}", "digest": "sha256:" + digit * 64, "size": 1}
                  for kind, digit in (("projector", "1"), ("model", "2"), ("license", "3"))]
        manifest = json.dumps({"schemaVersion": 2, "layers": layers}, separators=(",", ":"))
        self.put(".ollama/models/manifests/registry.ollama.ai/library/qwen3.5/9b", manifest)
        self.link(golden("demo.gguf"), ".ollama/models/blobs/sha256-" + "2" * 64)

    def suites(self):
        """One question where a reader has hundreds."""
        record = {"id": "1", "family": "metal", "messages": [{"role": "user", "content": "Which is a metal? A) wood B) iron"}],
                  "score": "choice", "answer": "B"}
        for path in ("SUITE.jsonl", "tests/golden/train/suites/choice.jsonl"):
            self.put(path, json.dumps(record) + "\n")

    def env(self):
        path = [os.path.join(self.folder, "bin"), os.path.join(BUILD, "client/qwenctl"), os.path.join(BUILD, "daemon/probe"), os.environ["PATH"]]
        return dict(os.environ, HOME=self.folder, EDITOR="true", PATH=":".join(path), QWEND_SOCKET=QWEND.socket, XDG_RUNTIME_DIR=QWEND.folder,
                    PKG_CONFIG_PATH=os.path.join(BUILD, "meson-uninstalled"), LD_LIBRARY_PATH=os.path.join(BUILD, "client/lib"),
                    PYTHONPATH=os.path.join(SOURCE, "client/python"))

    def run(self, argv, where, codes=(0,)):
        done = subprocess.run(argv, capture_output=True, text=True, env=self.env(), timeout=WAIT_S, stdin=subprocess.DEVNULL,
                              cwd=self.folder, check=False)
        assert done.returncode in codes, f"{where}: {done}"
        return done.stdout

    def shell(self, line, where="a place is made"):
        """A command that fails in a pipeline fails it, but for one whose reader has enough."""
        line = line.replace("/tmp/q.sock", QWEND.socket)
        return self.run(["bash", "-o", "pipefail", "-c", line], where, (0, 141) if "head -1" in line else (0,))


def run_commands(place, block):
    for line in blocks.commands(block):
        if not rule_of(NOT_RUN, line):
            said = place.shell(line, block)
            assert "curl" not in line or (said and '"error"' not in said), f"{block}: {line}: {said}"
            count("run")


def run_c(place, block):
    place.put("ask.c", "\n".join(block.lines) + "\n")
    place.shell("cc -Wall -Werror -c ask.c $(pkg-config --cflags qwend)", block)
    with open(os.path.join(BUILD, "client/lib/libqwend.so"), "rb") as f:
        if b"__asan_init" in f.read():  # which a program that is not cannot load
            count("compiled only, as the library is sanitized")
            return
    place.shell("cc ask.o $(pkg-config --libs qwend) -o ask", block)
    assert place.run(["./ask"], block).strip(), block
    count("run")


def run_block(place, block):
    text = "\n".join(block.lines)
    if block.language in SHOWN:
        count("only shown")
    elif block.language == "toml":
        tomllib.loads(text)
        count("read as TOML")
    elif block.language == "c":
        run_c(place, block)
    elif block.language == "python":
        assert place.run([sys.executable, "-c", text], block).strip(), block
        count("run")
    elif block.language == "indented" and text.startswith("{"):
        json.loads(text)
        count("read as JSON")
    elif block.language == "sh" or not rule_of(NO_PROGRAM, text):
        assert block.language in ("sh", "indented"), f"{block}: no one knows how to run {block.language!r}"
        run_commands(place, block)


def of_page(path):
    name = os.path.relpath(path, SOURCE)

    def story():
        with open(path, encoding="utf-8") as f:
            place = Place(os.path.basename(path), f.read())
        for block in blocks.of(path, name):
            run_block(place, block)

    story.__name__ = "every_block_runs_of_" + os.path.basename(path)
    return story


def of_manual(path):
    """Its examples; the rest of a manual page shows, and runs nothing."""
    name = os.path.relpath(path, SOURCE)

    def story():
        with open(path, encoding="utf-8") as f:
            first = f.read().split("# EXAMPLES")[0].count("\n")
        place = Place(os.path.basename(path), "")
        for block in blocks.of(path, name):
            if block.line > first and not rule_of(NO_PROGRAM, "\n".join(block.lines)):
                run_commands(place, block)

    story.__name__ = "every_example_runs_of_" + os.path.basename(path)
    return story


def of_verb(name, examples):
    def story():
        lines = examples.replace("\\\n", "").splitlines()
        run_block(Place("help-" + name, ""), blocks.Block("qwenctl help " + name, 1, "sh", lines))

    story.__name__ = "every_example_runs_of_qwenctl_" + name
    return story


def verbs():
    """Each has an example, but for the one that only an editor can talk to."""
    table = subprocess.run([os.path.join(BUILD, "client/qwenctl/qwenctl"), "help", "--json"], capture_output=True, check=True)
    listed = json.loads(table.stdout)["verbs"]
    assert [verb["name"] for verb in listed if "examples" not in verb] == ["lsp"]
    return [of_verb(verb["name"], verb["examples"]) for verb in listed if "examples" in verb]


def a_page_that_is_wrong_is_seen():
    place, planted = Place("planted", ""), os.path.join(QWEND.folder, "planted.md")
    for text, why in (("```sh\nfalse | cat\n```\n", "planted:2"), ("```perl\n1\n```\n", "perl"), ("# x\n    qwenctl asl\n", "planted:2"),
                      ("x\n\n    $ true\n    said\n    $ false\n", "planted:3"), ("```toml\n=\n```\n", "Invalid"),
                      ("```c\nint main(void) { return x; }\n```\n", "planted:2"), ("```sh\ntrue\n", "not closed")):
        place.put("../planted.md", text)
        try:
            for block in blocks.of(planted, "planted"):
                run_block(place, block)
        except (AssertionError, tomllib.TOMLDecodeError) as error:
            assert why in str(error), (text, error)
        else:
            raise AssertionError(f"it passed: {text}")


def nothing_is_left_out_by_accident():
    for what, n in sorted(counts.items()):
        print(f"# {n:3} {what}")
    assert fits == {*NOT_RUN, *NO_PROGRAM}, f"rules that fit nothing: {({*NOT_RUN, *NO_PROGRAM}) - fits}"
    assert counts["run"] > 140, counts


def pages():
    return [os.path.join(SOURCE, "README.md"), *files_of("docs", ".md")]


def files_of(folder, ending):
    folder = os.path.join(SOURCE, folder)
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(ending)]


if __name__ == "__main__":
    with Qwend(golden("demo.gguf"), "--context", str(CONTEXT)) as QWEND, \
            Gateway(QWEND, "--listen", "unix:" + os.path.join(QWEND.folder, "openai.sock")):
        QWEND.wait_line("serves")
        sys.exit(qwp.run([*map(of_page, pages()), *map(of_manual, files_of("docs/man", ".scd")), *verbs(), nothing_is_left_out_by_accident, a_page_that_is_wrong_is_seen]))
