#!/usr/bin/env python3
"""test_evil.py - the package qwend (client/python) against servers that say what QWP/1 does not allow: each is named, ends its
connection and nothing else."""

import asyncio
import os
import socket
import sys
import tempfile
import threading

import qwend
import qwp
from qwend import aio, errors, sync
from qwp import END_STREAM, PREFACE, pb

WAIT_S = 30
WELCOME = qwp.Peer.pack(pb.Welcome(version=1, server="evil"))


def frame(message, stream=1, flags=0, number=None):
    return qwp.Peer.pack(message, stream, flags, number)


class Server:
    """Each connection gets the bytes of the next script once its Hello is there, and, if they are not the last, more of them with
    each of the client's next frames; then it is closed when the client closes, or at once with CLOSE."""

    def __init__(self, *scripts):
        self.folder = tempfile.TemporaryDirectory(prefix="qwend-evil-")
        self.path = os.path.join(self.folder.name, "s")
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen()
        self.scripts, self.seen = scripts, []
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        for script in self.scripts:
            peer = self.listener.accept()[0]
            data, script = b"", list(script)
            while True:
                got = peer.recv(1 << 20)
                data += got
                if not got or (not script and b"CLOSE" in data):
                    break
                data = data[len(PREFACE):] if data.startswith(PREFACE) else data
                while len(data) >= 12 and len(data) >= 12 + int.from_bytes(data[:4], "little"):
                    number = int.from_bytes(data[8:10], "little")
                    self.seen.append(qwp.TYPES[number].FromString(data[12:12 + int.from_bytes(data[:4], "little")]))
                    data = data[12 + int.from_bytes(data[:4], "little"):]
                    if script:
                        peer.sendall(script.pop(0))
                    if script == [None]:
                        peer.shutdown(socket.SHUT_RDWR)
            peer.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()
        self.listener.close()
        self.folder.cleanup()


HELLO = PREFACE + WELCOME
DELTA = pb.Delta(seq=0, channel=pb.CHANNEL_ANSWER, text=b"Hi")
USAGE = frame(pb.Usage(finish=pb.FINISH_STOP), flags=END_STREAM)
GOOD = [HELLO, frame(DELTA) + USAGE]
# what a server may answer a Generate with that it must not: (bytes, what the error says)
BAD = [
    (frame(b"", number=999), "type 999"),
    (frame(pb.Delta(), flags=2), "flags 0x2"),
    (b"\xff\xff\xff\x00" + b"\0" * 8, "announces 16777215"),
    (frame(b"\xff", number=103), "Delta: a number is cut off"),
    (frame(pb.Delta(seq=1, channel=2, text=b"x")), "piece 1 of stream 1 came where 0"),
    (frame(pb.Delta(seq=0, text=b"x")), "without a channel"),
    (frame(pb.Delta(seq=0, channel=2, text=b"\xff")), "not UTF-8"),
    (frame(pb.Usage()), "without END_STREAM"),
    (frame(DELTA, flags=END_STREAM), "where it does not belong"),
    (frame(pb.Tokens(), flags=END_STREAM), "where it does not belong"),
    (frame(DELTA, stream=3), "stream 3, which is not open"),
    (frame(DELTA, stream=2), "stream 2, which is not open"),
    (WELCOME, "does not belong on stream 0"),
]


def both(script, sync_work, async_work):
    """The same script for the blocking client and for asyncio's."""
    with Server(script, GOOD, script, GOOD) as server:
        with qwend.connect(server.path, timeout=WAIT_S) as q:
            sync_work(q)
            assert q.ask("again") == "Hi"       # a connection of its own

        async def main():
            async with await aio.connect(server.path, timeout=WAIT_S) as q:
                await async_work(q)
                assert await q.ask("again") == "Hi"
        asyncio.run(main())


def raises(cls, said, work):
    try:
        work()
    except cls as error:
        assert said in str(error), (said, str(error))
        return error
    raise AssertionError(f"no {cls.__name__}: {said}")


async def araises(cls, said, work):
    try:
        await work
    except cls as error:
        assert said in str(error), (said, str(error))
        return
    raise AssertionError(f"no {cls.__name__}: {said}")


def what_does_not_belong_ends_the_connection():
    for data, said in BAD:
        both([HELLO, data], lambda q, said=said: raises(qwend.ProtocolError, said, lambda: q.ask("x", credit_bytes=4)),
             lambda q, said=said: araises(qwend.ProtocolError, said, q.ask("x", credit_bytes=4)))


def what_was_not_granted_ends_the_connection():
    """Two streams of a daemon that minds no credit, of which one is not read."""
    flood = b"".join(frame(pb.Delta(seq=k, channel=2, text=b"x" * 500000)) for k in range(3))
    script = [HELLO, b"", flood]
    said = "more came on stream 1 than it was granted"

    def work(q):
        left = q.stream("x", credit_bytes=4)
        raises(qwend.ProtocolError, said, q.status)
        assert next(left).text == "x" * 500000      # what came before is still there
        raises(qwend.ProtocolError, said, lambda: list(left))

    async def awork(q):
        left = await q.stream("x", credit_bytes=4)
        await araises(qwend.ProtocolError, said, q.status())
        await araises(qwend.ProtocolError, said, left.answer())
    both(script, work, awork)


def what_is_new_and_may_be_lost_is_skipped():
    with Server([HELLO, frame(b"\xff", number=0x8001) + frame(pb.Event(kind=3), stream=0) + frame(DELTA) + USAGE]) as server:
        with qwend.connect(server.path, timeout=WAIT_S) as q:
            assert q.ask("x") == "Hi"


def a_ping_is_answered():
    with Server([HELLO, frame(pb.Ping(opaque=77), stream=0), frame(DELTA) + USAGE]) as server:
        with qwend.connect(server.path, timeout=WAIT_S) as q:
            assert q.ask("x") == "Hi"
        assert any(type(m) is pb.Pong and m.opaque == 77 for m in server.seen)


def an_error_of_the_connection_ends_each_stream_with_it():
    script = [HELLO, frame(pb.Error(code=302, text="full", details=[pb.Detail(key="limit", value="3")]), stream=0)]

    def work(q):
        error = raises(errors.ConcurrencyError, "full", lambda: q.ask("x"))
        assert error.details == {"limit": "3"}
    both(script, work, lambda q: araises(errors.ConcurrencyError, "full", q.ask("x")))


def a_connection_that_breaks_is_named():
    both([HELLO, frame(DELTA), None], lambda q: raises(qwend.ConnectionLostError, "closed the connection", lambda: q.ask("x")),
         lambda q: araises(qwend.ConnectionLostError, "closed the connection", q.ask("x")))


def what_answers_hello_wrongly_is_no_daemon():
    for data, cls, said in ((b"HTTP/1.1 400 Bad Request\r\n", qwend.ProtocolError, "does not speak QWP/1"),
                            (PREFACE + frame(pb.Welcome(version=2), stream=0), qwend.ProtocolError, "minor version 2"),
                            (PREFACE + frame(DELTA), qwend.ProtocolError, "Delta came where Welcome was due"),
                            (PREFACE + frame(pb.Error(code=105, text="no"), stream=0), errors.VersionError, "105 VERSION")):
        with Server([data], [data]) as server:
            raises(cls, said, lambda path=server.path: qwend.connect(path))
            asyncio.run(araises(cls, said, aio.connect(server.path)))


def a_server_that_says_nothing_is_given_up():
    sync.CONNECT_S = aio.CONNECT_S = 0.2
    try:
        with Server([b""], [b""]) as server:
            raises(qwend.WaitError, "does not answer", lambda: qwend.connect(server.path))
            asyncio.run(araises(qwend.WaitError, "does not answer", aio.connect(server.path)))
    finally:
        sync.CONNECT_S = aio.CONNECT_S = 10.0


def a_timeout_leaves_the_connection_usable():
    answer = frame(pb.StatusReply(state=3), stream=3, flags=END_STREAM)
    late = frame(pb.StatusReply(state=2), stream=1, flags=END_STREAM)
    with Server([HELLO, b"", late + answer], [HELLO, b"", late + answer]) as server:
        with qwend.connect(server.path, timeout=0.1) as q:
            raises(qwend.WaitError, "in time", q.status)
            q.timeout = WAIT_S
            assert q.status().state == "serving"

        async def main():
            async with await aio.connect(server.path, timeout=0.1) as q:
                await araises(qwend.WaitError, "in time", q.status())
                q.timeout = WAIT_S
                assert (await q.status()).state == "serving"
        asyncio.run(main())


def more_streams_than_the_daemon_allows_are_refused_here():
    welcome = PREFACE + qwp.Peer.pack(pb.Welcome(version=1, limits=pb.Limits(streams=2, frame_bytes=4096)))
    with Server([welcome]) as server:
        with qwend.connect(server.path, timeout=WAIT_S) as q:
            streams = [q.stream("x"), q.stream("y")]
            raises(errors.ConcurrencyError, "the daemon allows 2", lambda: q.stream("z"))
            raises(qwend.TooLargeError, "at most 4096", lambda: streams[0].close() or q.tokenize("x" * 5000))


if __name__ == "__main__":
    sys.exit(qwp.run([what_does_not_belong_ends_the_connection, what_was_not_granted_ends_the_connection,
                      what_is_new_and_may_be_lost_is_skipped, a_ping_is_answered,
                      an_error_of_the_connection_ends_each_stream_with_it, a_connection_that_breaks_is_named,
                      what_answers_hello_wrongly_is_no_daemon, a_server_that_says_nothing_is_given_up,
                      a_timeout_leaves_the_connection_usable, more_streams_than_the_daemon_allows_are_refused_here]))
