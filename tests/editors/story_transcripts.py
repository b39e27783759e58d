#!/usr/bin/env python3
"""story_transcripts.py - what passes between the server and each kind of editor, played against the demo model.

transcripts/*.jsonl, one step a line: {"send": message}; {"expect": pattern}, the first message not yet taken that has all the
pattern has ("$any": whatever; "$text": some text; a list: as many elements), whose id may be kept and replied to ({"reply"});
{"exit": status}.  The capabilities are those that the editor announces, cut to what the server looks at.
"""
import glob
import json
import os
import sys

import qwp
from harness import WAIT_S, Qwend, golden
from lsp import Editor

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "transcripts")


def has(message, pattern):
    if pattern == "$any":
        return True
    if pattern == "$text":
        return isinstance(message, str) and message != ""
    if isinstance(pattern, dict):
        return isinstance(message, dict) and all(k in message and has(message[k], v) for k, v in pattern.items())
    if isinstance(pattern, list):
        return isinstance(message, list) and len(message) == len(pattern) and all(map(has, message, pattern))
    return type(message) is type(pattern) and message == pattern


def play(path):
    with open(path, encoding="utf-8") as f:
        steps = [json.loads(line) for line in f]
    with Qwend(golden("demo.gguf")) as d, Editor(d.qwenctl, d.socket) as e:
        kept = {}
        for step in steps:
            if "send" in step:
                e.send(step["send"])
            elif "expect" in step:
                found = e.wait(lambda m, p=step["expect"]: has(m, p), json.dumps(step["expect"]))
                kept["id"] = found.get(step.get("keep"))
            elif "reply" in step:
                e.send({"jsonrpc": "2.0", "id": kept["id"], "result": step["result"]})
            elif "exit" in step:
                assert e.process.wait(WAIT_S) == step["exit"]


def story(path):
    def played():
        play(path)
    played.__name__ = os.path.basename(path).removesuffix(".jsonl")
    return played


if __name__ == "__main__":
    sys.exit(qwp.run([story(path) for path in sorted(glob.glob(FOLDER + "/*.jsonl"))]))
