"""One connection without its socket: bytes in, bytes out, streams in between; sync.py and aio.py move the bytes.

Frames stay packed in the queue of their stream until the caller takes them, so what a slow caller leaves unread is bounded by the
credit that it granted.  Streams outlive connections: lost() says what cannot go on, begin() starts anew, and once Welcome is there
what can goes on with Attach (docs/PROTOCOL.md §4)."""

import collections
import os
import struct

from . import errors
from .values import Event, Record, enum_number
from .wire import BY_NUMBER, CLASSES

PREFACE = b"QWP1\r\n\0\0"
HEADER = struct.Struct("<IIHH")
END_STREAM, HAS_FD, MORE = 1, 2, 4
FRAME_BYTES = 1 << 20
PIECE_BYTES = 256 << 10         # of a long prompt: other streams get their turn in between
BODY_BYTES = 8 << 20            # of one prompt, unless Welcome says otherwise; likewise the next two
CREDIT_BYTES_MAX = 2 << 20
STREAMS = 64
CREDIT_BYTES = 64 << 10         # what a stream may have unread unless its caller says otherwise
OUT_BYTES = 18 << 20            # one prompt twice over, and small change
NUMBER_MAX = (1 << 31) - 1
ANSWERS = {"Tokenize": "Tokens", "Detokenize": "Text", "Render": "Text", "Status": "StatusReply", "ListRequests": "Requests",
           "Score": "ScoreReply", "Cancel": "Cancelled", "Admin": "Done"}
_CHANNELS = {number: name for name in ("reasoning", "answer", "tool_call") for number in (enum_number("Channel", name),)}
# What may come on a stream; the last two end it.
_ON_STREAM = ("Accepted", "Delta", "Event", "Usage", "Error")
_ON_WATCH = ("Sample", "Cancelled", "Error")


class Stream:
    """What is known of one stream; the callers' objects hold one of these."""

    def __init__(self, number, expects):
        self.number, self.expects = number, expects     # names of the messages that may come
        self.queue, self.queue_bytes, self.queue_max = collections.deque(), 0, FRAME_BYTES + HEADER.size
        self.request_id, self.window, self.consumed = None, 0, 0
        self.next_seq = self.arrived_seq = 0            # of the next Delta to be taken; to arrive
        self.detachable = self.started = self.over = self.cancelled = False
        self.ask = None     # (Generate, prompt) until the daemon has said a word: it may never have heard of it
        self.failure = None  # what its reader is told behind what has arrived
        self.channel = "answer"

    def unread_bytes(self):
        return sum(len(body) for name, body in self.queue if name == "Delta")


class Core:
    def __init__(self, client):
        self.client = "".join(c if " " <= c < "\x7f" else "?" for c in client[:64])
        self.streams, self.restarts, self.next_number = {}, False, 1
        self.welcome = self.data = self.out = None
        self.begin()

    # ---- connections

    def begin(self):
        """A new connection: what is to be sent first.  Streams that wait for it are attached by Welcome."""
        self.data, self.out, self.preface_seen, self.welcome = bytearray(), bytearray(PREFACE), False, None
        self.frame_bytes, self.n_streams_max, self.credit_bytes_max, self.body_bytes = (FRAME_BYTES, STREAMS,
                                                                                      CREDIT_BYTES_MAX, BODY_BYTES)
        self.next_number = 1
        self.put(0, CLASSES["Hello"](version_min=1, version_max=1, client=self.client, capabilities=["preempt", "progress"]))

    def _may_go_on(self, stream):
        return stream.request_id is not None and not stream.over and not stream.cancelled and (stream.detachable or self.restarts)

    def may_go_on(self):
        """Whether a stream would be worth a new connection."""
        return any(self._may_go_on(stream) for stream in self.streams.values())

    def may_wait(self):
        """Where nobody listens any more, nobody has kept what is not detachable."""
        return any(self._may_go_on(stream) and stream.detachable for stream in self.streams.values())

    def lost(self, error, all_streams=True):
        """The connection is gone: its streams, or those that cannot go on on another one, end with the error."""
        self.welcome = None
        for number, stream in list(self.streams.items()):
            if all_streams or not self._may_go_on(stream):
                stream.over, stream.failure = True, error
                del self.streams[number]

    # ---- out

    def put(self, number, message, flags=0):
        body = message.encode()
        if len(body) > self.frame_bytes:
            raise errors.TooLargeError(f"{message.NAME} of {len(body)} bytes: the daemon takes at most {self.frame_bytes} in one message")
        if len(self.out) + len(body) > OUT_BYTES:
            raise errors.TooLargeError(f"{len(self.out)} bytes wait to be sent already, {len(body)} more are too many")
        self.out += HEADER.pack(len(body), number, message.NUMBER, flags) + body

    def _open(self, expects):
        if len(self.streams) >= self.n_streams_max:
            raise errors.BY_CODE[302](f"{len(self.streams)} streams are open on this connection, the daemon allows "
                                      f"{self.n_streams_max}", details={"limit": str(self.n_streams_max)})
        stream = Stream(self._number(), expects)
        self.streams[stream.number] = stream
        return stream

    def _number(self):
        if self.next_number > NUMBER_MAX:
            raise errors.ProtocolError("this connection has used up its stream numbers, open another")
        number, self.next_number = self.next_number, self.next_number + 2
        return number

    def _give_up(self, stream):
        self.streams.pop(stream.number, None)

    def call(self, message):
        """A question with one answer."""
        stream = self._open((ANSWERS[message.NAME], "Error"))
        stream.queue_max += FRAME_BYTES
        try:
            self.put(stream.number, message, END_STREAM)
        except Exception:
            self._give_up(stream)
            raise
        return stream

    def _set_window(self, stream, window, logprobs):
        """A Delta of one byte has under 48 bytes with its header, with log-probabilities 32 more a token and alternative; and
        what was not taken when a connection broke stays while as much is granted anew."""
        stream.window = window
        per_byte = 48 + (0 if logprobs is None else 32 * (1 + logprobs))
        again = window if stream.detachable else CREDIT_BYTES if self.restarts else 0
        stream.queue_max = (window + again) * per_byte + FRAME_BYTES + HEADER.size

    def generate(self, head, body):
        """head: Generate without prompt, id and credit."""
        if len(body) > self.body_bytes:
            raise errors.TooLargeError(f"the prompt has {len(body)} bytes, the daemon takes at most {self.body_bytes}")
        stream = self._open(_ON_STREAM)
        try:
            stream.request_id, stream.detachable = os.urandom(16), bool(head.detachable)
            most = self.credit_bytes_max // (2 if stream.detachable else 1)   # an Attach may have to grant 64 KiB beside it
            self._set_window(stream, min(head.credit_bytes or CREDIT_BYTES, most), head.logprobs)
            head.request_id, head.credit_bytes = stream.request_id, stream.window
            self._send_request(stream, head, body)
        except Exception:
            self._give_up(stream)
            raise
        if self.restarts or stream.detachable:
            stream.ask = (head, body)
        return stream

    def _send_request(self, stream, head, body):
        if len(body) + 4096 <= self.frame_bytes:
            head.body = body
            self.put(stream.number, head)
            head.body = None
            return
        if len(self.out) + len(body) + len(body) // 64 + 65536 > OUT_BYTES:     # all of it or nothing
            raise errors.TooLargeError(f"{len(self.out)} bytes wait to be sent already, a prompt of {len(body)} more is too much")
        self.put(stream.number, head, MORE)
        for at in range(0, len(body), PIECE_BYTES):
            piece = body[at:at + PIECE_BYTES]
            self.put(stream.number, CLASSES["Body"](data=piece), MORE if at + PIECE_BYTES < len(body) else 0)

    def attach(self, request_id):
        if "attach" not in self.welcome.capabilities:
            raise errors.BY_CODE[205]("the daemon knows no Attach")
        stream = self._open(_ON_STREAM)
        stream.request_id, stream.detachable = request_id, True
        self._set_window(stream, CREDIT_BYTES, 20)
        self._send_attach(stream)
        return stream

    def _send_attach(self, stream):
        unread = stream.unread_bytes()
        stream.consumed = 0
        self.put(stream.number, CLASSES["Attach"](request_id=stream.request_id, next_seq=stream.arrived_seq,
                                                  credit_bytes=max(stream.window - unread, CREDIT_BYTES)))

    def subscribe(self, interval_ms):
        stream = self._open(_ON_WATCH)
        self.put(stream.number, CLASSES["Subscribe"](interval_ms=interval_ms))
        return stream

    def cancel(self, stream):
        if stream.over or stream.cancelled or stream.number not in self.streams:
            return
        if self.welcome is not None:
            self.put(stream.number, CLASSES["Cancel"]())
        stream.cancelled = True

    def forget(self, stream):
        """Nobody will take anything from it any more; what still comes is dropped."""
        self._give_up(stream)
        stream.queue.clear()
        stream.over = True

    # ---- in

    def feed(self, data):
        """Bytes that have arrived.  Raises what ends the connection."""
        self.data += data
        if not self.preface_seen:
            if self.data[:8] != PREFACE[:len(self.data)]:
                raise errors.ProtocolError("what listens there is not qwend: it does not speak QWP/1")
            if len(self.data) < 8:
                return
            del self.data[:8]
            self.preface_seen = True
        at = 0
        while len(self.data) - at >= HEADER.size:
            length, number, kind, flags = HEADER.unpack_from(self.data, at)
            if length > FRAME_BYTES:
                raise errors.ProtocolError(f"a frame announces {length} bytes")
            if len(self.data) - at < HEADER.size + length:
                break
            at += HEADER.size + length
            self._on_frame(number, kind, flags, bytes(self.data[at - length:at]))
        del self.data[:at]

    def _on_frame(self, number, kind, flags, body):
        if flags & ~END_STREAM:
            raise errors.ProtocolError(f"a frame has flags {flags:#x}")
        if kind & 0x8000:
            self._on_optional(number, BY_NUMBER.get(kind), body)
            return
        cls = BY_NUMBER.get(kind)
        if cls is None:
            raise errors.ProtocolError(f"a frame has type {kind}, which is not known")
        if number == 0 and cls.NAME == "Error":
            raise errors.from_message(cls.decode(body))
        if self.welcome is None and (number or cls.NAME != "Welcome"):
            raise errors.ProtocolError(f"{cls.NAME} came where Welcome was due")
        if number:
            self._on_stream(number, cls, flags, body)
        elif cls.NAME == "Welcome" and self.welcome is None:
            self._on_welcome(cls.decode(body))
        elif cls.NAME == "Ping":
            self.put(0, CLASSES["Pong"](opaque=cls.decode(body).opaque))
        elif cls.NAME not in ("Pong", "Event"):     # an Event of the service: what it means for a stream is said there
            raise errors.ProtocolError(f"{cls.NAME} does not belong on stream 0")

    def _on_optional(self, number, cls, body):
        """Of what may be lost: another model is served than Welcome said."""
        if cls is not None and cls.NAME == "Served" and number == 0 and self.welcome is not None:
            self.welcome.model = cls.decode(body).model or self.welcome.model

    def _on_welcome(self, welcome):
        if welcome.version != 1:
            raise errors.ProtocolError(f"the daemon speaks minor version {welcome.version or 0} of QWP/1, this client only 1")
        self.welcome = welcome
        self.restarts = self.restarts or "restart" in welcome.capabilities
        limits = welcome.limits
        if limits:
            self.frame_bytes = min(limits.frame_bytes or FRAME_BYTES, FRAME_BYTES)
            self.n_streams_max = min(limits.streams or STREAMS, STREAMS)
            self.body_bytes = limits.body_bytes or BODY_BYTES
            self.credit_bytes_max = min(limits.credit_bytes or CREDIT_BYTES_MAX, CREDIT_BYTES_MAX)
        waiting, self.streams = list(self.streams.values()), {}
        for stream in waiting:      # of the connection before
            stream.number = self._number()
            self.streams[stream.number] = stream
            self._send_attach(stream)

    def _on_stream(self, number, cls, flags, body):
        stream = self.streams.get(number)
        if stream is None:
            if number % 2 and number < self.next_number:
                return      # given up while the daemon was still answering
            raise errors.ProtocolError(f"{cls.NAME} came on stream {number}, which is not open")
        last = cls.NAME in stream.expects[-2:]
        if cls.NAME not in stream.expects or last != bool(flags & END_STREAM):
            raise errors.ProtocolError(f"{cls.NAME} came on stream {number} "
                                       f"{'without END_STREAM' if last else 'where it does not belong'}")
        if stream.ask and self._ask_again(stream, cls, body):
            return
        if cls.NAME == "Sample":    # one that is late sees how things are, not how they were
            stream.queue.clear()
            stream.queue_bytes = 0
        stream.queue_bytes += HEADER.size + len(body)
        if stream.queue_bytes > stream.queue_max:
            raise errors.ProtocolError(f"more came on stream {number} than it was granted")
        stream.queue.append((cls.NAME, body))
        stream.arrived_seq += cls.NAME == "Delta"
        if last:
            stream.over = True
            del self.streams[number]

    def _ask_again(self, stream, cls, body):
        """The daemon's first word about a request: True: it never heard of it, and it is sent once more."""
        (head, prompt), stream.ask = stream.ask, None
        if cls.NAME != "Error" or cls.decode(body).code != errors.STATUS["UNKNOWN_REQUEST"]:
            return False
        del self.streams[stream.number]
        stream.number = self._number()
        self.streams[stream.number] = stream
        self._send_request(stream, head, prompt)
        return True

    # ---- what the caller takes

    def take(self, stream):
        """The next Event of a stream, None while there is none.  Raises what ended it."""
        while stream.queue:
            name, body = stream.queue.popleft()
            stream.queue_bytes -= HEADER.size + len(body)
            message = CLASSES[name].decode(body)
            event = self._event(stream, name, message)
            if event is None:
                continue
            self._grant(stream, len(message.text or b"") if name == "Delta" else 0)
            return event
        if stream.failure:
            raise stream.failure
        return None

    def answer(self, stream):
        """The answer to a question, None while it is not there."""
        if not stream.queue:
            if stream.failure:
                raise stream.failure
            return None
        name, body = stream.queue.popleft()
        message = CLASSES[name].decode(body)
        if name == "Error":
            raise errors.from_message(message)
        return message

    def _grant(self, stream, n):
        """What was taken is granted again, in halves of the window: one Credit for many Deltas, never a stalled stream."""
        stream.consumed += n
        if stream.over or stream.cancelled or self.welcome is None or stream.consumed < max(stream.window // 2, 1):
            return
        self.put(stream.number, CLASSES["Credit"](bytes=stream.consumed))
        stream.consumed = 0

    def _event(self, stream, name, message):
        if name == "Delta":
            return self._delta(stream, message)
        if name == "Error":
            raise errors.from_message(message)
        if name == "Usage":
            return Event("end", usage=Record(message))
        if name == "Sample":
            return Event("sample", sample=Record(message))
        if name == "Cancelled":
            return Event("end", usage=None)
        if name == "Accepted":
            return self._accepted(stream, message)
        kind = Record(message).kind
        if kind == "engine_restart":
            return Event("restart")
        if kind == "resumed":
            return Event("resumed", from_token=message.from_token or 0)
        if kind == "read":
            return Event("read", read_tokens=message.read_tokens or 0, prompt_tokens=message.prompt_tokens or 0)
        return Event("preempted") if kind == "preempted" else None      # draining: this stream is served to its end

    @staticmethod
    def _accepted(stream, message):
        if message.position or message.loading:
            return Event("queued", position=message.position or 0, loading=bool(message.loading),
                         load_permille=message.load_permille or 0)
        if message.prompt_tokens is None or stream.started:
            return None
        stream.started = True
        return Event("started", prompt_tokens=message.prompt_tokens, cached_tokens=message.cached_tokens or 0)

    @staticmethod
    def _delta(stream, message):
        if message.seq != stream.next_seq:
            raise errors.ProtocolError(f"piece {message.seq} of stream {stream.number} came where {stream.next_seq} was due")
        stream.next_seq += 1
        if message.channel:     # ids and log-probabilities without text belong to the last one
            stream.channel = _CHANNELS[message.channel]
        elif message.text:
            raise errors.ProtocolError(f"text of stream {stream.number} came without a channel")
        if not message.text and not message.ids and not message.logprobs:
            return None
        try:
            text = str(message.text or b"", "utf-8")
        except UnicodeDecodeError:
            raise errors.ProtocolError(f"text of stream {stream.number} is not UTF-8") from None
        return Event(stream.channel, text=text, ids=message.ids, logprobs=[Record(one) for one in message.logprobs])
