#!/usr/bin/env python3
"""story_agent.py - two turns shaped as Claude Code's: its prompt's head changes with each request, and is read once all the same."""
import sys

import qwp
from gateway import Gateway
from harness import Qwend, golden

RULES = "You are an agent. Follow the rules of this project: keep functions short, name what is wrong, test what you claim. " * 40


def turn(http, cch, left, *messages):
    body = {"max_tokens": 16, "temperature": 0, "metadata": {"user_id": "u"}, "messages": list(messages), "system": [
        {"type": "text", "text": f"x-anthropic-billing-header: cc_version=2.1.0; cc_entrypoint=cli; cch={cch};"},
        {"type": "text", "text": RULES, "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": f"<total_tokens>{left} tokens left</total_tokens>"}]}
    got = http.post("/v1/messages", body)
    assert got.status == 200, got
    return got.json


def two_turns(*options):
    """How much of the second turn was in the cache."""
    with Gateway(QWEND, *options) as http:
        first = turn(http, "1a2b3", 200000, {"role": "user", "content": "What is 7 + 8?"})
        text = "".join(b["text"] for b in first["content"])
        second = turn(http, "9f8e7", 198713, {"role": "user", "content": "What is 7 + 8?"}, {"role": "assistant", "content": text},
                      {"role": "user", "content": "And plus 1?"})
        said = [line for line in http.lines if line and "prompts change their head" in line]
        usage = second["usage"]
        return usage["cache_read_input_tokens"] / (usage["cache_read_input_tokens"] + usage["input_tokens"]), said


def a_head_that_changes_is_read_once():
    share, said = two_turns()
    print(f"# {100 * share:.1f} % of the second turn were reused", flush=True)
    assert share > 0.95 and len(said) == 2, (share, said)


def without_that_nothing_is_reused():
    share, said = two_turns("--config", CONFIG)
    assert share < 0.1 and not said, (share, said)


if __name__ == "__main__":
    with Qwend(golden("demo.gguf"), "--context", "8192") as QWEND:
        QWEND.wait_line("serves")
        CONFIG = QWEND.folder + "/http.conf"
        with open(CONFIG, "w", encoding="ascii") as F:
            F.write("[http]\nnormalise = no\n")
        sys.exit(qwp.run([a_head_that_changes_is_read_once, without_that_nothing_is_reused]))
