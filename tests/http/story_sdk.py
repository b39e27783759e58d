#!/usr/bin/env python3
"""story_sdk.py - the official SDKs of OpenAI, Anthropic and Ollama, unchanged, against qwend-http (sdk_client.py); and what coding
agents are answered, by the SDKs' types (sdk_agents.py).

Skipped where build/pypi (./dev test) is not there or lacks them."""
import os
import subprocess
import sys

import qwp
from gateway import Gateway
from harness import WAIT_S, Qwend, golden

PYTHON = os.path.join(os.environ["QWEND_BUILD"], "pypi/bin/python")
KEY = "sk-0123456789abcdef"


def sdks_work_over_unix_and_tcp():
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sdk_client.py")
    done = subprocess.run([PYTHON, script, HTTP.socket, str(HTTP.port), KEY], capture_output=True, text=True,
                          timeout=2 * WAIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": ok") == 11, done.stdout


def what_agents_read_is_what_the_sdks_know():
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sdk_agents.py")
    with Gateway(QWEND) as http:
        done = subprocess.run([PYTHON, script, http.socket], capture_output=True, text=True, timeout=WAIT_S, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count(": ok") == 3, done.stdout


def what_they_broke_off_is_cancelled():
    with qwp.Peer(QWEND.socket) as peer:
        peer.wait_status(lambda s: s.running == s.queued == 0)


if __name__ == "__main__":
    if not os.path.exists(PYTHON) or subprocess.run([PYTHON, "-c", "import anthropic, ollama, openai"], stderr=subprocess.DEVNULL,
                                                    check=False).returncode:
        print("1..0 # SKIP build/pypi does not have the SDKs: ./dev test gets them where PyPI can be reached")
        sys.exit(0)
    with Qwend(golden("demo.gguf"), "--context", "8192") as QWEND, Gateway(QWEND, keys=f"sdk {KEY}\n", tcp=True) as HTTP:
        QWEND.wait_line("serves")
        sys.exit(qwp.run([sdks_work_over_unix_and_tcp, what_agents_read_is_what_the_sdks_know, what_they_broke_off_is_cancelled]))
