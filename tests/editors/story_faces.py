#!/usr/bin/env python3
"""story_faces.py EDITOR PROGRAM... - the face of one editor: its own tests, in that editor, headless, on the demo model.

The editor finds the server by QWENCTL and the daemon by QWEND_SOCKET.  Where a story needs the daemon to go and come back, the
editor runs the command in SAY with "kill" or "start": that is this program, which then asks the one that has the daemon.
"""
import os
import socket
import subprocess
import sys
import tempfile
import threading

from harness import WAIT_S, Qwend, golden

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SKIPPED = 77        # as Meson has it
COMMANDS = {
    "vscode": ["{program}", "--test", "--test-reporter=tap", "{here}/vscode/extension.test.js"],
    "nvim": ["{program}", "--headless", "-u", "NONE", "-i", "NONE", "-n", "-c", "luafile {here}/nvim/test_nvim.lua"],
    "vim": ["{program}", "-es", "-u", "NONE", "-i", "NONE", "-n", "-N", "-S", "{here}/vim/test_vim.vim"],
    "emacs": ["{program}", "--batch", "-Q", "-l", "{root}/client/emacs/qwend.el", "-l", "{here}/emacs/test-qwend.el",
              "-f", "ert-run-tests-batch-and-exit"],
}


def control(daemon, listener):
    """Serves the editor's wishes one by one, until it is gone."""
    while True:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        with peer:
            word = peer.recv(16).decode().strip()
            {"kill": daemon.kill, "start": daemon.start_again}[word]()
            peer.sendall(b"done\n")


def say(word):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(WAIT_S)
        peer.connect(os.environ["CONTROL"])
        peer.sendall(word.encode())
        print(peer.recv(16).decode(), end="")
    return 0


def unable(editor, program):
    """Why this face cannot be tested here, or None."""
    if not program:
        return f"{editor} is not installed"
    if editor == "vim":         # a small Vim cannot run commands in the background
        probe = [program, "-es", "-u", "NONE", "-N", "-c", "execute has('channel') && has('textprop') ? 'qall!' : 'cquit'"]
        done = subprocess.run(probe, stdin=subprocess.DEVNULL, capture_output=True, timeout=WAIT_S, check=False)
        return "this vim has neither channels nor text properties" if done.returncode else None
    return None


def main(editor, program):
    if editor == "--say":
        return say(program)
    why = unable(editor, program)
    if why:
        print(f"skipped: {why}")
        return SKIPPED
    with Qwend(golden("demo.gguf")) as d, tempfile.TemporaryDirectory() as home:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(os.path.join(home, "control"))
        listener.listen()
        threading.Thread(target=control, args=(d, listener), daemon=True).start()
        env = dict(os.environ, HOME=home, XDG_CONFIG_HOME=home, XDG_DATA_HOME=home, XDG_STATE_HOME=home, XDG_CACHE_HOME=home,
                   QWENCTL=d.qwenctl, QWEND_SOCKET=d.socket, CONTROL=os.path.join(home, "control"),
                   SAY=f"{sys.executable} {os.path.abspath(__file__)} --say", ROOT=ROOT)
        words = [word.format(program=program, here=HERE, root=ROOT) for word in COMMANDS[editor]]
        done = subprocess.run(words, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=2 * WAIT_S,
                              check=False, cwd=home)
        listener.close()
    print(done.stdout, done.stderr, sep="\n")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
