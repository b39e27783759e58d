"""QWP/1 from the outside: an independent peer for the tests, on Python's own socket and Debian's python3-protobuf.

It shares no code with the C side: framing is written from docs/PROTOCOL.md, messages come from protoc --python_out.
Every read has a deadline, so a test that waits for what never comes fails with what it had seen until then.
PYTHONPATH must hold the folder of the generated qwend_pb2.py (the Meson tests see to that).
"""

import array
import collections
import fcntl
import os
import select
import socket
import struct
import sys
import time
import traceback

import qwend_pb2 as pb

PREFACE = b"QWP1\r\n\0\0"
HEADER = struct.Struct("<IIHH")
END_STREAM, HAS_FD, MORE = 1, 2, 4
TYPES = {
    1: pb.Hello, 2: pb.Welcome, 3: pb.Error, 4: pb.Ping, 5: pb.Pong, 6: pb.Event,
    100: pb.Generate, 101: pb.Body, 102: pb.Accepted, 103: pb.Delta, 104: pb.Usage, 105: pb.Credit,
    106: pb.Cancel, 107: pb.Cancelled, 108: pb.Attach,
    200: pb.Tokenize, 201: pb.Tokens, 202: pb.Detokenize, 203: pb.Text, 204: pb.Render,
    300: pb.Status, 301: pb.StatusReply, 302: pb.ListRequests, 303: pb.Requests,
    307: pb.Score, 308: pb.ScoreReply,
    309: pb.Subscribe, 310: pb.Sample,
    400: pb.Admin, 401: pb.Done, 402: pb.Use, 403: pb.UseProgress, 404: pb.Used, 33173: pb.Served,
}
NUMBERS = {cls: number for number, cls in TYPES.items()}
TIMEOUT_S = 60.0  # for anything that must happen; generous, as the build machine may be busy

Frame = collections.namedtuple("Frame", "stream type flags msg")


class Closed(Exception):
    """The daemon closed the connection."""


class Refused(Exception):
    """The daemon answered with an Error."""

    def __init__(self, error):
        super().__init__(f"{error.code} {error.text}")
        self.error, self.code = error, error.code
        self.details = {d.key: d.value for d in error.details}


def sealed_memfd(data, seals=fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE):
    fd = os.memfd_create("prompt", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def prompt(text=None, **fields):
    """A serialised Prompt with one user message, or with the given fields."""
    p = pb.Prompt(**fields)
    if text is not None:
        p.messages.add(role="user", content=text)
    return p.SerializeToString()


def refused(work, code):
    """What work() was refused with, which must have that code."""
    try:
        work()
    except Refused as error:
        assert error.code == code, error
        return str(error)
    raise AssertionError(f"not refused with {code}")


def readable(sock, seconds):
    """Waits; select() would refuse a descriptor beyond 1023, which a client among thousands has."""
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    return bool(poller.poll(seconds * 1000))


class Peer:
    """One connection.  next_frame() hands out frames in order; frames of other streams are kept for their readers."""

    def __init__(self, path, hello=True, rcvbuf=None, client="qwp.py", capabilities=(), timeout=TIMEOUT_S):
        self.timeout = timeout  # of whatever is waited for, where the call says nothing else
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.connect(path)
        self.data, self.kept, self.preface_seen, self.last_stream = b"", collections.deque(), False, -1
        if hello:
            self.sock.sendall(PREFACE)
            self.send(pb.Hello(version_min=1, version_max=1, client=client, capabilities=capabilities))
            self.welcome = self.expect(pb.Welcome, stream=0).msg

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    @staticmethod
    def pack(msg, stream=0, flags=0, number=None):
        body = msg if isinstance(msg, bytes) else msg.SerializeToString()
        return HEADER.pack(len(body), stream, NUMBERS[type(msg)] if number is None else number, flags) + body

    def send(self, msg, stream=0, flags=0, fds=(), number=None):
        """msg: a message, or raw bytes with the type's number."""
        data, sent = self.pack(msg, stream, flags, number), 0
        if fds:
            sent = self.sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
        if sent < len(data):  # sending nothing to a peer that closed would still be EPIPE
            self.sock.sendall(data[sent:])

    def open(self, msg, flags=0, fds=()):
        """Sends msg on a new stream and returns its number."""
        self.last_stream += 2
        self.send(msg, self.last_stream, flags, fds)
        return self.last_stream

    def _take(self):
        """The next whole frame in the bytes read so far, or None."""
        if not self.preface_seen:
            if len(self.data) < len(PREFACE):
                return None
            assert self.data.startswith(PREFACE), self.data[:16]
            self.data, self.preface_seen = self.data[len(PREFACE):], True
        if len(self.data) < HEADER.size:
            return None
        length, stream, number, flags = HEADER.unpack_from(self.data)
        if len(self.data) < HEADER.size + length:
            return None
        msg = TYPES[number]()
        msg.ParseFromString(self.data[HEADER.size:HEADER.size + length])
        self.data = self.data[HEADER.size + length:]
        return Frame(stream, TYPES[number], flags, msg)

    def read_frame(self, timeout=None):
        """The next frame from the wire, whatever stream it is on."""
        timeout = self.timeout if timeout is None else timeout
        end = time.monotonic() + timeout
        while (frame := self._take()) is None:
            left = end - time.monotonic()
            if left <= 0 or not readable(self.sock, left):
                raise TimeoutError(f"no frame within {timeout} s")
            try:
                chunk = self.sock.recv(1 << 16)
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                raise Closed()
            self.data += chunk
        return frame

    def next_frame(self, stream=None, timeout=None):
        """The next frame of one stream, or of any."""
        for i, frame in enumerate(self.kept):
            if stream is None or frame.stream == stream:
                del self.kept[i]
                return frame
        while True:
            frame = self.read_frame(timeout)
            if stream is None or frame.stream == stream:
                return frame
            self.kept.append(frame)

    def expect(self, cls, stream=None, timeout=None):
        """The next frame, which must be a cls; an Error instead raises Refused."""
        frame = self.next_frame(stream, timeout)
        if frame.type is pb.Error and cls is not pb.Error:
            raise Refused(frame.msg)
        assert frame.type is cls, f"expected {cls.__name__}, got {frame}"
        return frame

    def wait_for(self, cls, stream=None, timeout=None, match=lambda msg: True):
        """Skips frames until one is a cls that matches."""
        while True:
            frame = self.next_frame(stream, timeout)
            if frame.type is cls and match(frame.msg):
                return frame
            if frame.type is pb.Error and cls is not pb.Error:
                raise Refused(frame.msg)

    def is_closed(self, timeout=None):
        """Reads until the daemon closes; frames on the way are kept."""
        try:
            while True:
                self.kept.append(self.read_frame(timeout))
        except Closed:
            return True

    def generate(self, body=None, flags=0, fds=(), **fields):
        if body is not None:
            fields["body"] = body
        return self.open(pb.Generate(**fields), flags, fds)

    def collect(self, stream, timeout=None, result=None):
        """Reads a stream to its end: a Result; Error raises Refused with what came before as .result."""
        result = result or Result()
        while not result.usage:
            frame = self.next_frame(stream, timeout)
            if frame.type is pb.Error:
                refused = Refused(frame.msg)
                refused.result = result
                raise refused
            result.add(frame)
        return result

    def ask(self, body, **fields):
        return self.collect(self.generate(body, **fields))

    def call(self, msg, cls):
        """A unary question."""
        stream = self.open(msg)
        frame = self.expect(cls, stream)
        assert frame.flags & END_STREAM
        return frame.msg

    def status(self):
        return self.call(pb.Status(), pb.StatusReply)

    def wait_status(self, match, timeout=None):
        """Asks until the status matches: there is no event for some of what it shows."""
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        while not match(status := self.status()):
            if time.monotonic() > end:
                raise TimeoutError(f"status stayed\n{status}")
        return status


class Result:
    """What came on one stream."""

    def __init__(self):
        self.text = {pb.CHANNEL_REASONING: b"", pb.CHANNEL_ANSWER: b"", pb.CHANNEL_TOOL_CALL: b""}
        self.ids, self.logprobs, self.events, self.accepted, self.usage, self.n_deltas = [], [], [], [], None, 0

    def add(self, frame):
        if frame.type is pb.Delta:
            assert frame.msg.seq == self.n_deltas, f"seq {frame.msg.seq}, expected {self.n_deltas}"
            self.n_deltas += 1
            self.text[frame.msg.channel] += frame.msg.text
            self.ids += frame.msg.ids
            self.logprobs += frame.msg.logprobs
        elif frame.type is pb.Usage:
            assert frame.flags & END_STREAM
            self.usage = frame.msg
        elif frame.type is pb.Event:
            self.events.append(frame.msg)
        elif frame.type is pb.Accepted:
            self.accepted.append(frame.msg)
        else:
            raise AssertionError(f"unexpected {frame}")

    @property
    def answer(self):
        return self.text[pb.CHANNEL_ANSWER].decode()

    @property
    def reasoning(self):
        return self.text[pb.CHANNEL_REASONING].decode()


def run(stories):
    """Runs the given functions in order, prints one line each in TAP, returns the exit status for sys.exit()."""
    chosen = [s for s in stories if len(sys.argv) < 2 or any(a in s.__name__ for a in sys.argv[1:])]
    failed = 0
    print(f"1..{len(chosen)}", flush=True)
    for i, story in enumerate(chosen, 1):
        name = story.__name__.replace("_", " ")
        try:
            skipped = story()
            print(f"ok {i} - {name}" + (f" # SKIP {skipped}" if skipped else ""), flush=True)
        except BaseException:  # a story that exits or is interrupted has failed as well
            failed += 1
            print("".join("# " + line + "\n" for line in traceback.format_exc().splitlines()), end="")
            print(f"not ok {i} - {name}", flush=True)
    return 1 if failed else 0
