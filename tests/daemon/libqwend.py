"""libqwend.py - the C library as a client of the stories: one connection and one request on it, through ctypes."""

import ctypes
import os
import socket

import qwend_pb2 as pb

LIBRARY = os.path.join(os.environ["QWEND_BUILD"], "client/lib/libqwend.so.0")
ANSWER, ERROR, END = 4, 9, 8
OPT_MAX_TOKENS, OPT_THINKING, OPT_TEMPERATURE, OPT_TOP_K, OPT_TOP_P, OPT_MIN_P, OPT_SEED, OPT_IGNORE_EOS, OPT_CREDIT_BYTES, OPT_DETACHABLE = 1, 2, 3, 4, 5, 6, 11, 18, 19, 24
NONBLOCK = 1


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
        for _ in range(5):      # a broker that dies before it has said Welcome has promised nothing
            r = self.lib.qwend_open(ctypes.byref(self.q), d.socket.encode(), flags)
            if r != -32:
                break
        assert r == 0, (r, self.lib.qwend_error(None))

    def generate(self, text, n, detachable=1, credit=None, seed=1, floats=None, more=None):
        req = ctypes.c_void_p(self.lib.qwend_req_new())
        assert self.lib.qwend_req_message(req, 2, text.encode(), ctypes.c_size_t(-1)) == 0
        options = {OPT_MAX_TOKENS: n, OPT_SEED: seed, OPT_DETACHABLE: detachable, **(more or {})}
        if credit:
            options[OPT_CREDIT_BYTES] = credit
        for opt, value in (floats or {}).items():
            assert self.lib.qwend_req_set_f(req, opt, ctypes.c_double(value)) == 0
        for opt, value in options.items():
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
