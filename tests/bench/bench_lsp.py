#!/usr/bin/env python3
"""bench_lsp.py - what an editor waits for: a private qwend, asked through `qwenctl lsp`.

    tests/bench/bench_lsp.py --build build [--keys 400] [--json] [MODEL.gguf]

Types into the middle of a file of 300 lines, each key once the answer to the last was there.  Prints, in ms, medians and the
95th of a hundred: from a key to the proposal (`ghost`; the server waits 40 ms for another key, which counts); the same where
what was proposed is typed (`through`); and from $/cancelRequest until the daemon has no request running (`cancel`, on an engine that makes a token each 50 ms).
And tokens read a key, those that came from the prefix cache left out.
"""
import argparse
import json
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(ROOT, "tests", part) for part in ("daemon", "editors")]
URI = "file:///bench/a.py"


def spread(times):
    times = sorted(times)
    return {"median": round(times[len(times) // 2] * 1e3, 1), "p95": round(times[int(len(times) * 0.95)] * 1e3, 1),
            "n": len(times)}


def timed(work):
    began = time.monotonic()
    result = work()
    return time.monotonic() - began, result


def read_tokens(peer):
    status = peer.status()
    return status.prompt_tokens - status.cached_tokens


def bench_typing(editor, peer, n_keys):
    ghost, through, before, n_asked = [], [], read_tokens(peer), peer.status().requests
    proposed = None
    for k in range(n_keys):
        key = "value = other + third\n    "[k % 26]
        if proposed and k % 4 == 3:
            key = proposed[0]
        editor.type(URI, key)
        took, shown = timed(lambda: editor.ghost(URI))
        if shown:
            (through if proposed and key == proposed[0] and shown == proposed[1:] else ghost).append(took)
        proposed = shown
    n_asked = peer.status().requests - n_asked
    return spread(ghost), spread(through), round((read_tokens(peer) - before) / max(n_asked, 1), 1)


def bench_cancel(editor, peer, n):
    took = []
    for _ in range(n):
        asked = editor.request("qwend/chat", messages=[{"role": "user", "content": "What is qwend?"}], workDoneToken="t")
        peer.wait_status(lambda s: s.running)

        def cancel():
            editor.notify("$/cancelRequest", id=asked)
            peer.wait_status(lambda s: not s.running)
        took.append(timed(cancel)[0])
        editor.answer(asked)
    return spread(took)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--keys", type=int, default=400)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("model", nargs="?", default=os.path.join(ROOT, "tests/golden/demo.gguf"))
    options = parser.parse_args()
    os.environ["QWEND_BUILD"] = os.path.abspath(options.build)
    sys.path.append(os.path.join(options.build, "tests/daemon"))
    from fake import Fake
    from harness import Qwend
    from lsp import Editor
    import qwp
    text = "".join(f"def f{i}(x):\n    return x * {i}\n\n" for i in range(100)) + "def g(y):\n    "
    with Qwend(options.model) as d, qwp.Peer(d.socket) as p, Editor(d.qwenctl, d.socket) as e:
        e.start()
        e.open(URI, text)
        e.ghost(URI)
        ghost, through, tokens = bench_typing(e, p, options.keys)
        result = {"ghost_ms": ghost, "through_ms": through, "tokens_a_request": tokens}
    with Fake(slots=1, delay_ms=50, context=2048) as d, d.serving() as p, Editor(d.qwenctl, d.socket) as e:
        e.start()
        result["cancel_ms"] = bench_cancel(e, p, 40)
    print(json.dumps(result) if options.json else "\n".join(f"{k}: {v}" for k, v in result.items()))


if __name__ == "__main__":
    main()
