"""fakesd.py - what systemd is to qwend.service, for one private qwend: the socket, the notify socket, the FD store, the restart.

A broker that ends unasked is started again at once, with the listening socket and all stored fds, as LISTEN_FDS and
LISTEN_FDNAMES have it (systemd's service.c: sockets first, then the store).  Notifications sent before a death are read
before the next start, as PID 1's event priorities have it."""

import array
import os
import random
import signal
import socket
import subprocess
import threading
import time

import fake
import harness
import qwp

FDS_MAX = 64


class FakeSd:
    """Mixed into a Qwend (harness.py): Service and FakeService below."""

    store_max = FDS_MAX     # FileDescriptorStoreMax=

    def _start(self, command):
        self.command, self.stopping, self.n_starts, self.store, self.notes = command, False, 0, [], []
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.socket)
        os.chmod(self.socket, 0o666)
        self.listener.listen(4096)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(os.path.join(self.folder, "notify"))
        self.lock = threading.RLock()
        read_end, self.stderr = os.pipe()
        self.log_pipe = os.fdopen(read_end, "rb")
        process = self._spawn()
        self.notify_reader = threading.Thread(target=self._read_notify, daemon=True)
        self.notify_reader.start()
        self.monitor = threading.Thread(target=self._restart, daemon=True)
        return process

    def _spawn(self):
        passed = [("qwend.socket", self.listener.fileno())] + [(name, fd) for name, fd in self.store]
        first = 3 + len(passed)         # copies go above the numbers that they end on

        def place():
            copies = [os.dup2(fd, first + 200 + i) for i, (_, fd) in enumerate(passed)]
            for i, fd in enumerate(copies):
                os.dup2(fd, 3 + i)
                os.close(fd)
            os.closerange(first, first + 400)

        # LISTEN_PID must be the daemon's own: a shell knows it, and exec keeps it
        argv = ["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", *self.command]
        self.n_starts += 1
        return subprocess.Popen(argv, preexec_fn=place, close_fds=False, stderr=self.stderr, stdin=subprocess.DEVNULL,
                                env={**os.environ, "LISTEN_FDS": str(len(passed)),
                                     "LISTEN_FDNAMES": ":".join(name for name, _ in passed),
                                     "NOTIFY_SOCKET": os.path.join(self.folder, "notify")})

    def _read_stderr(self):
        self.process.stderr = self.log_pipe     # what __exit__() closes
        self.monitor.start()
        super()._read_stderr()

    def _restart(self):
        while True:
            status = self.process.wait()
            with self.lock:
                self._take_notes()
                if self.stopping or status == 0:
                    os.close(self.stderr)
                    return
                self.before_start()
                process = self._spawn()
                process.stderr = self.log_pipe
                self.process = process

    def before_start(self):
        """A story's own: between a death and the next start."""

    # the notify socket
    def _read_notify(self):
        while qwp.readable(self.notify, harness.WAIT_S) or not self.stopping:
            with self.lock:         # taken and understood in one, or a restart in between would miss it
                self._take_notes()
            if self.stopping:
                return

    def _take_notes(self):
        while True:
            try:
                data, control, _, _ = self.notify.recvmsg(65536, socket.CMSG_SPACE(FDS_MAX * 4), socket.MSG_DONTWAIT)
            except OSError:
                return
            if not data:
                return
            fds = array.array("i")
            for level, kind, body in control:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    fds.frombytes(body[:len(body) - len(body) % fds.itemsize])
            note = dict(line.partition("=")[::2] for line in data.decode().splitlines())
            self._on_note(note, list(fds))
            with self.condition:
                self.notes.append(note)
                self.condition.notify_all()

    def _on_note(self, note, fds):
        name = note.get("FDNAME", "stored")
        assert len(name) <= 255 and ":" not in name, name
        if "FDSTOREREMOVE" in note:
            for _, fd in (gone := [entry for entry in self.store if entry[0] == name]):
                os.close(fd)
            self.store = [entry for entry in self.store if entry not in gone]
        elif "FDSTORE" in note:
            assert note.get("FDPOLL") == "0", note      # a memfd cannot be polled
            for fd in fds:
                if len(self.store) < self.store_max:
                    self.store.append((name, fd))
                else:
                    os.close(fd)
        else:
            assert not fds, note

    # for stories
    def stored(self):
        """Without the lock: who waits for it holds the condition, which whoever has the lock takes."""
        return sorted(name for name, _ in list(self.store))

    def wait_stored(self, names):
        with self.condition:
            assert self.condition.wait_for(lambda: self.stored() == names, harness.WAIT_S), self.stored()

    def wait_note(self, match):
        with self.condition:
            assert self.condition.wait_for(lambda: any(match(note) for note in self.notes), harness.WAIT_S), self.notes

    def kill_broker(self, sig=signal.SIGKILL):
        """And waits until the next one is ready."""
        with self.lock:
            n, process, line = self.n_starts, self.process, len(self.lines)
            process.send_signal(sig)
        self.wait_line(r"^ready ", line)
        assert self.n_starts == n + 1

    def terminate(self):
        self.stopping = True
        return super().terminate()

    def __exit__(self, *unused):
        with self.lock:
            self.stopping = True
        super().__exit__(*unused)
        self.monitor.join(harness.WAIT_S)
        self.notify.shutdown(socket.SHUT_RDWR)
        self.notify_reader.join(harness.WAIT_S)
        self.notify.close()
        self.listener.close()
        for _, fd in self.store:
            os.close(fd)


class Service(FakeSd, harness.Qwend):
    """With its real engine."""

    def peer(self, **kw):
        return qwp.Peer(self.socket, **kw)


class FakeService(FakeSd, fake.Fake):
    """With the engine that only pretends."""


class Kills:
    """Kills at random moments, each when every stream that runs has moved on since the last."""

    def __init__(self, d, n, with_engine=lambda i: False):
        self.d, self.n, self.with_engine = d, n, with_engine
        self.moved, self.condition, self.over, self.done = {}, threading.Condition(), False, 0

    def on_text(self, who):
        with self.condition:
            self.moved[who] = True
            self.condition.notify_all()

    def leave(self, who):
        with self.condition:
            self.moved.pop(who, None)
            self.condition.notify_all()

    def run(self, moment_s):
        for i in range(self.n):
            with self.condition:
                assert self.condition.wait_for(lambda: self.moved and all(self.moved.values()), 60), self.moved
                self.moved = dict.fromkeys(self.moved, False)
            time.sleep(random.uniform(0, moment_s))     # the moment of a kill is what varies here
            if self.with_engine(i) and (pid := self.d.engine_pid()):
                os.kill(pid, signal.SIGKILL)
            self.d.kill_broker()
            self.done += 1
        self.over = True
