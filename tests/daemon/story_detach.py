"""story_detach.py - libqwend goes on by itself when its connection breaks; qwenctl ask --detach and qwenctl attach."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys

import fake
import qwend_pb2 as pb
import qwp
from fake import Fake

LIBRARY = os.path.join(os.environ["QWEND_BUILD"], "client/lib/libqwend.so.0")
ANSWER, ERROR, END = 4, 9, 8
OPT_MAX_TOKENS, OPT_SEED, OPT_DETACHABLE, NONBLOCK = 1, 11, 24, 1


class Event(ctypes.Structure):
    """The head of qwend_event."""
    _fields_ = [("type", ctypes.c_int), ("text", ctypes.c_char_p), ("n", ctypes.c_size_t), ("ids", ctypes.c_void_p),
                ("n_ids", ctypes.c_size_t), ("logprobs", ctypes.c_void_p), ("n_logprobs", ctypes.c_size_t),
                ("numbers", ctypes.c_uint32 * 5), ("loading", ctypes.c_int), ("code", ctypes.c_int),
                ("rest", ctypes.c_char * 64)]


class Client:
    """One connection through libqwend, and one request on it."""

    def __init__(self, d, flags=0):
        self.lib = ctypes.CDLL(LIBRARY)
        self.q, self.stream = ctypes.c_void_p(), ctypes.c_void_p()
        self.lib.qwend_req_new.restype = ctypes.c_void_p
        self.lib.qwend_error.restype = self.lib.qwend_stream_id.restype = ctypes.c_char_p
        assert self.lib.qwend_open(ctypes.byref(self.q), d.socket.encode(), flags) == 0

    def generate(self, text, n, detachable=1):
        req = ctypes.c_void_p(self.lib.qwend_req_new())
        assert self.lib.qwend_req_message(req, 2, text.encode(), ctypes.c_size_t(-1)) == 0
        for opt, value in ((OPT_MAX_TOKENS, n), (OPT_SEED, 1), (OPT_DETACHABLE, detachable)):
            assert self.lib.qwend_req_set_i(req, opt, ctypes.c_int64(value)) == 0
        assert self.lib.qwend_generate(self.q, req, None, None, ctypes.byref(self.stream)) == 0
        self.lib.qwend_req_free(req)

    def attach(self, request_id):
        return self.lib.qwend_attach(self.q, request_id, None, None, ctypes.byref(self.stream))

    def id(self):
        return self.lib.qwend_stream_id(self.stream)

    def next(self):
        event = Event()
        r = self.lib.qwend_next(self.stream, ctypes.byref(event))
        return r, event

    def read(self, n_deltas=None):
        """Text until n_deltas came, or to the end: (text, what ended it)."""
        text = ""
        while n_deltas is None or n_deltas > 0:
            r, event = self.next()
            if r != 1:
                return text, r
            if event.type in (ERROR, END):
                return text, event.code or END
            if event.type == ANSWER:
                text += event.text.decode()
                n_deltas = n_deltas and n_deltas - 1
        return text, None

    def cut(self):
        """The connection breaks, as both sides see it."""
        fd = socket.socket(fileno=os.dup(self.lib.qwend_fd(self.q)))
        fd.shutdown(socket.SHUT_RDWR)
        fd.close()

    def close(self):
        self.lib.qwend_close(self.q)


def body(text):
    p = pb.Prompt()
    p.messages.add(role="user", content=text)
    return p.SerializeToString()


def libqwend_goes_on_where_its_connection_broke():
    with Fake(delay_ms=1) as d, d.serving() as p:
        client = Client(d)
        client.generate("x", 300)
        text = ""
        for _ in range(5):
            more, ended = client.read(20)
            assert ended is None, client.lib.qwend_error(client.q)
            text += more
            client.cut()
        more, ended = client.read()
        assert ended == END, (ended, client.lib.qwend_error(client.q))
        assert text + more == fake.expected(1, body("x"), 300), text[:100]
        client.close()
        p.wait_status(lambda s: not s.running)


def libqwend_gives_up_what_is_not_detachable():
    with Fake(delay_ms=2) as d, d.serving():
        client = Client(d)
        client.generate("x", 1000, detachable=0)
        client.read(3)
        client.cut()
        assert client.read()[1] == -32, "EPIPE"
        client.close()


def libqwend_in_an_event_loop_leaves_it_to_its_caller():
    with Fake(delay_ms=2) as d, d.serving():
        client = Client(d, NONBLOCK)
        client.generate("x", 1000)
        client.cut()
        while (r := client.next()[0]) == 1 or r == -11:
            pass
        assert r == -32, r
        client.close()


def libqwend_says_when_a_request_is_gone():
    with Fake(delay_ms=2) as d, d.serving() as p:
        client = Client(d)
        client.generate("x", 1000)
        client.read(3)
        client.cut()
        assert p.call(pb.Cancel(mine=True), pb.Cancelled).n_cancelled == 1
        assert client.read()[1] in (206, END)       # its Usage, if that was on its way already
        client.close()


def libqwend_attaches_to_a_request_of_another_process():
    with Fake(delay_ms=1) as d, d.serving() as p:
        other = Client(d)
        other.generate("x", 200)
        other.read(3)
        client = Client(d)
        assert client.attach(b"12") == -22 and b"no request id" in client.lib.qwend_error(client.q)
        assert client.attach(other.id()) == 0
        text, ended = client.read()
        assert ended == END and text == fake.expected(1, body("x"), 200), (ended, text[:100])
        assert other.read()[1] == 603
        client.close()
        other.close()
        p.status()


def ask_detach_prints_an_id_that_attach_takes():
    with Fake(delay_ms=1) as d, d.serving() as p:
        done = d.ctl("ask", "--detach", "--seed", "1", "-n", "200", "x")
        assert done.returncode == 0 and len(done.stdout) == 33, done
        request_id = done.stdout.strip()
        shown = d.ctl("attach", request_id)
        assert shown.returncode == 0 and shown.stdout.rstrip("\n") == fake.expected(1, body("x"), 200), shown
        one = json.loads(d.ctl("attach", "--json", request_id[:8]).stdout)
        assert one["text"] == shown.stdout and one["id"] == request_id, one
        assert p.call(pb.ListRequests(), pb.Requests).requests[0].request_id.hex() == request_id


def attach_ends_without_ending_the_request():
    with Fake(delay_ms=5) as d, d.serving() as p:
        request_id = d.ctl("ask", "--detach", "--seed", "1", "-n", "1000", "x").stdout.strip()
        viewer = subprocess.Popen([d.qwenctl, "--socket", d.socket, "attach", request_id], stdout=subprocess.PIPE)
        assert viewer.stdout.read(4) == fake.expected(1, body("x"), 1)[:4].encode()
        viewer.send_signal(signal.SIGINT)
        viewer.stdout.close()
        assert viewer.wait(qwp.TIMEOUT_S) in (130, 141)
        done = d.ctl("attach", "--timeout", "100ms", request_id)
        assert done.returncode == 9 and "left running" in done.stderr, done
        assert p.status().running == 1
        assert d.ctl("cancel", request_id).returncode == 0


def wrong_use_is_said():
    with Fake() as d, d.serving():
        assert d.ctl("attach").returncode == 2
        assert d.ctl("attach", "xyz").returncode == 2
        assert d.ctl("attach", "abcd").returncode == 1          # none starts so
        done = d.ctl("attach", "0" * 32)
        assert done.returncode != 0 and "UNKNOWN_REQUEST 206" in done.stderr, done
        assert d.ctl("ask", "--detach", "--json", "x").returncode == 2
        assert d.ctl("attach", "--json", "--ndjson", "0" * 32).returncode == 2
        assert d.ctl("cancel", "--detach", "0" * 32).returncode == 2


if __name__ == "__main__":
    sys.exit(qwp.run([
        libqwend_goes_on_where_its_connection_broke, libqwend_gives_up_what_is_not_detachable,
        libqwend_in_an_event_loop_leaves_it_to_its_caller, libqwend_says_when_a_request_is_gone,
        libqwend_attaches_to_a_request_of_another_process, ask_detach_prints_an_id_that_attach_takes,
        attach_ends_without_ending_the_request, wrong_use_is_said]))
