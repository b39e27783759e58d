"""harness.py - a private qwend with its real engine, for the end-to-end stories and the service benchmarks.

A story starts its own daemon on its own socket in its own folder, so that stories run in parallel and leave nothing.
Nothing here waits by sleeping: the broker's stderr is read line by line, and whoever waits, waits for a line.
Meson sets QWEND_BUILD (the build folder) and QWEND_GOLDEN (tests/golden) for the stories.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading

LAST_LINES = 12     # of the daemon's own, in the output of a story that failed
WAIT_S = 120.0      # longer than anything here takes, sanitizers included


def golden(path):
    return os.path.join(os.environ["QWEND_GOLDEN"], path)


def tiny_model():
    return golden("models/d1-k256/d1-k256-Q4_K_M.gguf")


def sanitized():
    """Whether the build is one for sanitizers: several times as slow, with more memory."""
    with open(os.path.join(os.environ["QWEND_BUILD"], "meson-info/intro-buildoptions.json"), encoding="utf-8") as f:
        return any(o["name"] == "b_sanitize" and o["value"] not in ("none", []) for o in json.load(f))


class Qwend:
    """One running broker with its engine.  Use as a context manager; leaving it kills what is still there."""

    def __init__(self, model, *options, build=None, config=None):
        build = build or os.environ["QWEND_BUILD"]
        self.folder = tempfile.mkdtemp(prefix="qwend-story-")
        os.chmod(self.folder, 0o755)                    # a second uid must reach the socket
        self.socket = os.path.join(self.folder, "qwend.sock")
        self.qwenctl = os.path.join(build, "client/qwenctl/qwenctl")
        self.lines, self.condition = [], threading.Condition()
        command = [*self._program(build), "--socket", self.socket, "--model", model, *options]
        if os.geteuid() == 0:
            command.append("--allow-root")
        command += ["--config", self._write_config(config or "[daemon]\n")]
        self.words = command
        self.process = self._start(command)
        self.reader = threading.Thread(target=self._read_stderr, daemon=True)
        self.reader.start()

    def kill(self):
        """It is gone, and its socket refuses."""
        self.process.kill()
        self.process.wait()
        self.reader.join(WAIT_S)
        self.process.stderr.close()

    def start_again(self):
        """After kill(): another one on the same socket; returns when it serves."""
        self.lines = []
        self.process = self._start(self.words)
        self.reader = threading.Thread(target=self._read_stderr, daemon=True)
        self.reader.start()
        self.wait_line(r"^ready ")

    def _start(self, command):
        return subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)

    def _program(self, build):
        return [os.path.join(build, "daemon/broker/qwend")]

    def _write_config(self, text):
        """Always a file of our own, so that the machine's /etc/qwend/qwend.conf is never read."""
        path = os.path.join(self.folder, "qwend.conf")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def __enter__(self):
        try:
            self.wait_line(r"^ready ")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, failed=None, *unused):
        if failed:      # what the story says of it is half of the truth
            print("".join(f"# {line}\n" for line in self.log().splitlines()[-LAST_LINES:]), end="", flush=True)
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
        """The first line from number `start` on that matches; fails if the daemon ends or takes too long."""
        found = []

        def look():
            found[:] = [line for line in self.lines[start:] if line is None or re.search(pattern, line)]
            return bool(found)

        with self.condition:
            self.condition.wait_for(look, WAIT_S)
        assert found and found[0] is not None, f"the daemon never said {pattern!r}; it said:\n{self.log()}"
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

    def ctl(self, *arguments, data=None, env=None):
        """qwenctl on this socket, data on its stdin: CompletedProcess with text."""
        source = {"input": data} if data is not None else {"stdin": subprocess.DEVNULL}
        return subprocess.run([self.qwenctl, "--socket", self.socket, *arguments], capture_output=True, text=True,
                              timeout=WAIT_S, env=env, check=False, **source)


def status_field(pid, field):
    """A number of /proc/PID/status: VmHWM in kB, voluntary_ctxt_switches."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(field + ":"))
