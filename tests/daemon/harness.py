"""harness.py - a private qwend for the end-to-end stories and the service benchmarks.

A story starts its own daemon on its own socket in its own folder, so that stories run in parallel and leave nothing.
Nothing here waits by sleeping: the broker's stderr is read line by line, and whoever waits, waits for a line.
"""
import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

SKIP = 77           # what meson takes as "skipped"
WAIT_S = 60.0       # longer than anything here takes, sanitizers included


class Failure(Exception):
    """A story that did not come out; the text says what was expected."""


def expect(ok, text):
    if not ok:
        raise Failure(text)


def expect_equal(got, want, what):
    expect(got == want, f"{what}: got {got!r}, expected {want!r}")


class Qwend:
    """One running broker with its engine.  Use as a context manager; leaving it kills what is still there."""

    def __init__(self, build, model, *options, config=None):
        self.folder = tempfile.mkdtemp(prefix="qwend-story-")
        os.chmod(self.folder, 0o755)                    # a second uid must reach the socket
        self.socket = os.path.join(self.folder, "qwend.sock")
        self.qwenctl = os.path.join(build, "client/qwenctl/qwenctl")
        self.lines, self.condition = [], threading.Condition()
        command = [os.path.join(build, "daemon/broker/qwend"), "--socket", self.socket, "--model", model, *options]
        if os.geteuid() == 0:
            command.append("--allow-root")
        if config is not None:
            path = os.path.join(self.folder, "qwend.conf")
            with open(path, "w", encoding="utf-8") as f:
                f.write(config)
            command += ["--config", path]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.reader = threading.Thread(target=self._read_stderr, daemon=True)
        self.reader.start()

    def __enter__(self):
        try:
            self.wait_line(r"^ready ")
        except Failure:
            self.__exit__()
            raise
        return self

    def __exit__(self, *unused):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.reader.join(WAIT_S)
        self.process.stderr.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read_stderr(self):
        for line in self.process.stderr:
            with self.condition:
                self.lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                self.condition.notify_all()
        with self.condition:
            self.lines.append(None)                     # end of file: wake whoever waits
            self.condition.notify_all()

    def wait_line(self, pattern, start=0):
        """The first line from number `start` on that matches; Failure if the daemon ends or takes too long."""
        found = []

        def look():
            found[:] = [line for line in self.lines[start:] if line is None or re.search(pattern, line)]
            return bool(found)

        with self.condition:
            self.condition.wait_for(look, WAIT_S)
        expect(found and found[0] is not None, f"the daemon never said {pattern!r}; it said:\n{self.log()}")
        return found[0]

    def log(self):
        with self.condition:
            return "\n".join(line for line in self.lines if line is not None)

    def engine_pid(self):
        """The broker's child, 0 while there is none."""
        pid = self.process.pid
        try:
            with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
                children = f.read().split()
        except FileNotFoundError:
            return 0
        return int(children[0]) if children else 0

    def terminate(self):
        """SIGTERM, then the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_S)

    def ctl(self, *arguments, stdin=subprocess.DEVNULL, data=None, env=None):
        """qwenctl on this socket: CompletedProcess with text."""
        source = {"input": data} if data is not None else {"stdin": stdin}
        return subprocess.run([self.qwenctl, "--socket", self.socket, *arguments], capture_output=True, text=True,
                              timeout=WAIT_S, env=env, check=False, **source)


def status_field(pid, field):
    """A number of /proc/PID/status: VmHWM in kB, voluntary_ctxt_switches."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(field + ":"))


def story_arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--build", required=True, help="the build folder")
    parser.add_argument("--model", required=True, help="a GGUF file")
    return parser


def story_main(story, description):
    """Runs story(args); meson's exit codes."""
    args = story_arguments(description).parse_args()
    try:
        story(args)
    except Failure as failure:
        sys.exit(f"FAILED: {failure}")


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(SKIP)
