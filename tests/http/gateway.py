"""gateway.py - a private qwend-http in front of a private daemon, and an HTTP client that can also misbehave.

The client is written on bare sockets: what the gateway sends is looked at byte by byte, and what it is sent may be wrong."""
import json
import os
import re
import signal
import socket
import subprocess
import threading

import harness

TIMEOUT_S = 60.0


class Gateway:
    """Listens on a Unix socket, and on TCP if keys are given.  Leaving it ends it."""

    def __init__(self, daemon, *options, keys=None, tcp=False):
        """daemon: a Qwend, or the path of a socket."""
        build = os.environ["QWEND_BUILD"]
        self.folder = daemon.folder
        self.socket = os.path.join(self.folder, f"http-{id(self)}.sock")
        command = [os.path.join(build, "client/http/qwend-http"), "--config", os.devnull, "--socket", daemon.socket,
                   "--listen", "unix:" + self.socket, "--verbose", *options]
        if keys:
            path = os.path.join(self.folder, f"keys-{id(self)}")
            with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as f:
                f.write(keys)
            self.keys_path = path
            command += ["--keys", path]
        if tcp:
            command += ["--listen", "127.0.0.1:0"]
        if os.geteuid() == 0:
            command.append("--allow-root")
        self.lines, self.condition = [], threading.Condition()
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.reader = threading.Thread(target=self._read_stderr, daemon=True)
        self.reader.start()

    def __enter__(self):
        ready = self.wait_line("^ready ")
        port = re.search(r"127\.0\.0\.1:(\d+)", ready)
        self.port = int(port[1]) if port else 0
        return self

    def __exit__(self, kind, *_):
        """It ends by itself, so that a sanitizer has its say; a second signal cuts answers short."""
        for patience_s in (2, TIMEOUT_S):
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
                try:
                    self.process.wait(patience_s)
                except subprocess.TimeoutExpired:
                    pass
        if self.process.poll() is None:
            self.process.kill()
        status = self.process.wait()
        self.reader.join(TIMEOUT_S)
        self.process.stderr.close()
        assert kind or not status, f"the gateway ended with {status}:\n{self.log()}"

    def _read_stderr(self):
        for line in self.process.stderr:
            with self.condition:
                self.lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                self.condition.notify_all()
        with self.condition:
            self.lines.append(None)
            self.condition.notify_all()

    def log(self):
        return "\n".join(line for line in self.lines if line is not None)

    def wait_line(self, pattern, start=0):
        def look():
            return next((line for line in self.lines[start:] if line is None or re.search(pattern, line)), False)

        with self.condition:
            self.condition.wait_for(lambda: look() is not False, TIMEOUT_S)
            found = look()
        assert found, f"the gateway never said {pattern!r}; it said:\n{self.log()}"
        return found

    def connect(self, tcp=False, rcvbuf=None):
        return Connection(("127.0.0.1", self.port) if tcp else self.socket, rcvbuf)

    def ask(self, method, path, body=None, headers=(), tcp=False):
        """One request on a connection of its own."""
        with self.connect(tcp) as connection:
            try:
                connection.request(method, path, body, headers)
            except (BrokenPipeError, ConnectionResetError):
                pass                                    # it answered, and reads no more
            return connection.response()

    def post(self, path, body, headers=(), tcp=False):
        return self.ask("POST", path, body, headers, tcp)

    def rss_kib(self):
        return harness.status_field(self.process.pid, "VmHWM")


class Response:
    def __init__(self, status, headers, body, chunks):
        self.status, self.headers, self.body, self.chunks = status, headers, body, chunks

    @property
    def json(self):
        return json.loads(self.body)

    def events(self):
        """(event, data) of a text/event-stream; data is JSON, or [DONE] as it stands; comments are (None, None)."""
        found = []
        for block in self.body.decode().split("\n\n")[:-1]:
            lines = block.split("\n")
            if lines[0].startswith(":"):
                found.append((None, None))
                continue
            fields = dict(line.split(": ", 1) for line in lines)
            data = fields["data"]
            found.append((fields.get("event"), data if data == "[DONE]" else json.loads(data)))
        return found

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body[:600]!r}"


class Connection:
    def __init__(self, address, rcvbuf=None):
        self.sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET, socket.SOCK_STREAM)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(address)
        self.data = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    @staticmethod
    def pack(method, path, body=None, headers=()):
        fields = {"Host": "localhost", **dict(headers)}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None and "Content-Length" not in fields and "Transfer-Encoding" not in fields:
            fields["Content-Length"] = str(len(body))
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items() if v is not None)
        return head.encode("latin-1") + b"\r\n" + (body or b"")

    def request(self, method, path, body=None, headers=()):
        self.sock.sendall(self.pack(method, path, body, headers))

    def more(self):
        """What comes next, b"" at the end."""
        try:
            piece = self.sock.recv(65536)
        except ConnectionResetError:
            piece = b""
        self.data += piece
        return piece

    def until(self, mark):
        while mark not in self.data:
            assert self.more(), f"closed before {mark!r}: {self.data[:600]!r}"
        head, _, self.data = self.data.partition(mark)
        return head

    def exactly(self, n):
        while len(self.data) < n:
            assert self.more(), f"closed {n - len(self.data)} bytes too early"
        head, self.data = self.data[:n], self.data[n:]
        return head

    def head(self):
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        fields = (line.split(": ", 1) for line in lines[1:])
        return int(lines[0].split()[1]), {name.lower(): value for name, value in fields}

    def chunk(self):
        """The next chunk, b"" for the last."""
        n = int(self.until(b"\r\n"), 16)
        piece = self.exactly(n)
        assert self.exactly(2) == b"\r\n"
        return piece

    def response(self, is_head=False):
        status, headers = self.head()
        while status == 100:
            status, headers = self.head()
        chunks = []
        if headers.get("transfer-encoding") == "chunked":
            while piece := self.chunk():
                chunks.append(piece)
            body = b"".join(chunks)
        elif "content-length" in headers:
            body = b"" if is_head else self.exactly(int(headers["content-length"]))
        else:
            while self.more():
                pass
            body, self.data = self.data, b""
        return Response(status, headers, body, chunks)

    def response_body(self):
        """The rest of a chunked answer."""
        body = b""
        while piece := self.chunk():
            body += piece
        return body

    def is_closed(self):
        """Waits for the end."""
        while self.more():
            pass
        return True


def chat(text, **fields):
    return {"messages": [{"role": "user", "content": text}], "temperature": 0, **fields}
