"""The blocking client: connect(), Client, Stream, Chat.

A Client may be used by one thread at a time.  What breaks with the connection goes on by itself where the daemon lets it: a request
that is `detachable`, and any request if the daemon was started again with its journal (Event "resumed" tells).  A Client whose
connection broke connects again at its next call."""

import select
import socket
import time

from . import errors, questions, request
from .common import CONNECT_S, PATIENCE_S, RETRY_S, RETRY_S_MAX, Conversation, program_name, socket_paths
from .core import Core
from .values import Gathering, Record
from .wire import CLASSES

_READ_BYTES = 64 << 10


def connect(socket_path=None, client=None, timeout=None):
    """A Client.  socket_path: None looks at $QWEND_SOCKET, the system's daemon, then the user's own; client: the name that
    `qwenctl ps` shows; timeout: seconds that each call may wait for its answer (WaitError), None: for ever."""
    return Client(socket_path, client, timeout)


def _connect_once(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(path)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _find(socket_path):
    paths = socket_paths(socket_path)
    for path in paths:
        try:
            return path, _connect_once(path)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            last = error
        except OSError as error:    # there is one, and it is not for this user: an answer, no reason to look further
            raise errors.NoDaemonError(f"no daemon on {path}: {error.strerror or error}") from None
    raise errors.NoDaemonError(f"no daemon on {' or '.join(paths)}: {last.strerror}") from None


class Client:
    """One connection.  Use it as a context manager, or close() it."""

    def __init__(self, socket_path=None, client=None, timeout=None):
        self.timeout = timeout
        self._sock, self._closed = None, False
        self.socket_path, sock = _find(socket_path)
        self._core = Core(client or program_name())
        self._hello(sock)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        """Cancels what runs, unless it is detachable, and closes the connection."""
        self._closed = True
        if self._sock:
            self._flush()
            self._sock.close()
            self._sock = None
        self._core.lost(errors.ConnectionLostError("this client was closed"))

    # ---- bytes

    def _hello(self, sock):
        """Takes the socket."""
        self._sock = sock
        deadline = time.monotonic() + CONNECT_S
        while self._core.welcome is None:
            self._step(deadline)

    def _drop(self, error, all_streams=True):
        self._sock.close()
        self._sock = None
        self._core.lost(error, all_streams)

    def _flush(self):
        out = self._core.out
        try:
            while out:
                del out[:self._sock.send(out)]
        except BlockingIOError:
            pass
        except OSError:     # the daemon may have said why before it closed: reading finds that, then the end
            out.clear()

    def _step(self, deadline):
        """Sends, waits, reads once.  Raises what ended the connection, which is dropped then, or WaitError."""
        self._flush()
        poller = select.poll()
        poller.register(self._sock, select.POLLIN | (select.POLLOUT if self._core.out else 0))
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not poller.poll(None if left is None else left * 1000 + 1):
            if self._core.welcome is not None:
                raise errors.WaitError(f"no answer from {self.socket_path} in time")
            error = errors.WaitError(f"the daemon at {self.socket_path} does not answer")
            self._drop(error)
            raise error
        try:
            data = self._sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        try:
            if not data:
                raise errors.ConnectionLostError(f"the daemon at {self.socket_path} closed the connection")
            self._core.feed(data)
        except errors.QwendError as error:
            self._drop(error, not isinstance(error, errors.ConnectionLostError))
            raise
        self._flush()

    def _deadline(self):
        return None if self.timeout is None else time.monotonic() + self.timeout

    def _read_pending(self):
        """What came while nobody waited: perhaps the connection's end, which is no news to anybody then."""
        poller = select.poll()
        poller.register(self._sock, select.POLLIN)
        try:
            while self._sock and poller.poll(0):
                self._step(time.monotonic())
        except errors.QwendError:
            pass

    def _ready(self):
        """A connection for a new question."""
        if self._closed:
            raise ValueError("this client was closed")
        if self._sock:
            self._read_pending()
        if self._sock is None and self._core.may_go_on():
            self._again(errors.ConnectionLostError("the connection to the daemon was lost"), self._deadline())
        elif self._sock is None:
            self._core.begin()
            self._hello(_find(self.socket_path)[1])

    def _again(self, lost, deadline):
        """Another connection for the streams that can go on on one.  Raises lost if nobody answers in time."""
        until, pause = time.monotonic() + PATIENCE_S, RETRY_S
        if deadline is not None:
            until = min(until, deadline)
        while True:
            try:
                self._core.begin()
                self._hello(_connect_once(self.socket_path))
                return self._flush()
            except (FileNotFoundError, ConnectionRefusedError):
                may_wait = self._core.may_wait()
            except errors.ConnectionLostError:
                may_wait = True     # somebody listens, and did not answer to the end
            except OSError as error:
                lost = errors.NoDaemonError(f"no daemon on {self.socket_path}: {error.strerror or error}")
                may_wait = False
            if not may_wait or time.monotonic() >= until:
                self._core.lost(lost)
                raise lost
            time.sleep(min(pause, max(0.0, until - time.monotonic())))
            pause = min(2 * pause, RETRY_S_MAX)

    def _wait(self, stream, take, deadline):
        """What take(stream) has at last; None: the stream is over."""
        while True:
            try:
                got = take(stream)
            except errors.ProtocolError as error:
                if self._sock and error is not stream.failure:  # it may have ended another connection before this one
                    self._drop(error)
                raise
            if got is not None or stream.over:
                return got
            try:
                if self._sock is None:
                    raise errors.ConnectionLostError("the connection to the daemon was lost")
                self._step(deadline)
            except errors.ConnectionLostError as lost:
                if not stream.over and not stream.queue:
                    self._again(lost, deadline)
            except errors.QwendError:
                if not stream.queue and not stream.failure:
                    raise

    def _call(self, message):
        self._ready()
        deadline = self._deadline()
        stream = self._core.call(message)
        try:
            return self._wait(stream, self._core.answer, deadline)
        finally:
            self._core.forget(stream)

    # ---- requests

    def stream(self, prompt=None, **options):
        """Asks, and returns a Stream of Events.  Arguments: `pydoc qwend.request`."""
        head, body = request.split(prompt, options)
        self._ready()
        stream = Stream(self, self._core.generate(head, body))
        self._flush()
        return stream

    def ask(self, prompt=None, **options):
        """Asks and waits: an Answer, which is a str."""
        with self.stream(prompt, **options) as stream:
            return stream.answer()

    def chat(self, system=None, **options):
        """A Chat, whose options hold for each of its questions."""
        return Chat(self, system, **options)

    def attach(self, request_id):
        """Goes on with a detachable request of this user, from its beginning: a Stream."""
        wanted = request.request_id(request_id)
        self._ready()
        stream = Stream(self, self._core.attach(wanted))
        self._flush()
        return stream

    def subscribe(self, interval=0.5):
        """How the service does, each interval seconds: a Stream of Events "sample"."""
        self._ready()
        stream = Stream(self, self._core.subscribe(round(interval * 1000)))
        self._flush()
        return stream

    def cancel(self, request_id=None):
        """Cancels a request of this user, or all: how many there were."""
        return self._call(questions.cancel(request_id)).n_cancelled or 0

    # ---- text

    def tokenize(self, text, special="none"):
        """Token ids of a text.  special: which added tokens it may contain: "all", "user", "none"."""
        return self._call(questions.tokenize(text, special)).ids

    def count(self, text):
        """How many tokens a text has by itself."""
        return len(self.tokenize(text))

    def detokenize(self, ids):
        """The text of token ids; bytes that are no UTF-8 become U+FFFD."""
        return str(self._call(questions.detokenize(ids)).text or b"", "utf-8", "replace")

    def render(self, prompt=None, thinking=None, **prompt_arguments):
        """The text that the model would read."""
        return str(self._call(questions.render(prompt, thinking, prompt_arguments)).text or b"", "utf-8", "replace")

    def score(self, prompt, continuation, **options):
        """How likely a continuation (str or ids) of a prompt is: a Record of ids, logprobs, sum, prompt_tokens, cached_tokens."""
        return Record(self._call(questions.score(prompt, continuation, options)))

    # ---- service

    def status(self):
        """A Record of the daemon, its engine and its model: .state "serving", .model.name ..."""
        return Record(self._call(CLASSES["Status"]()))

    def requests(self):
        """Records of this user's requests, of all for an administrator."""
        return Record(self._call(CLASSES["ListRequests"]())).requests

    def admin(self, verb):
        """"reload", "drain", "resume" or "upgrade": what came of it.  An upgrade that succeeds ends the connection."""
        return self._call(questions.admin(verb)).text or ""

    @property
    def model_name(self):
        """As the daemon said on connecting; "" while it is loading."""
        welcome = self._core.welcome
        return welcome.model.name or "" if welcome and welcome.model else ""


class Stream:
    """Events of one request, in order; iterate over it.  Leaving it (`with`) or dropping it cancels what still runs.

    .request_id is what attach() takes; .usage is there after the end."""

    def __init__(self, client, state):
        self._client, self._state = client, state
        self.request_id = state.request_id.hex() if state.request_id else ""
        self.usage = None

    def __iter__(self):
        return self

    def __next__(self):
        client = self._client
        event = client._wait(self._state, client._core.take, client._deadline())
        if event is None:
            raise StopIteration
        if event.type == "end":
            self.usage = event.usage
        return event

    def text(self):
        """Only the pieces of the answer."""
        for event in self:
            if event.type == "answer":
                yield event.text

    def answer(self):
        """Reads to the end: the whole Answer."""
        gathering = Gathering()
        for event in self:
            gathering.add(event)
        return gathering.answer(self.request_id)

    def cancel(self):
        """Asks for its end; Event "end" with usage.finish "cancel" follows, unless it was over already."""
        self._client._core.cancel(self._state)
        if self._client._sock:
            self._client._flush()

    def close(self):
        """Cancels if it still runs, and takes nothing more."""
        if not self._state.over:
            self.cancel()
            self._client._core.forget(self._state)

    def detach(self):
        """Takes nothing more and leaves a detachable request running once the connection is closed: its request_id."""
        self._client._core.forget(self._state)
        return self.request_id

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def __del__(self):
        if getattr(self, "_state", None) and not self._state.over:
            self.close()


class Chat(Conversation):
    """A conversation: ask(), stream(), undo(), messages."""

    def ask(self, text, **options):
        answer = self._client.ask(self._turn(text), **{**self._options, **options})
        self._keep(text, answer)
        return answer

    def stream(self, text, **options):
        """Events of the answer, as they come; read to the end, it becomes part of the conversation."""
        gathering = Gathering()
        with self._client.stream(self._turn(text), **{**self._options, **options}) as stream:
            for event in stream:
                gathering.add(event)
                yield event
        self._keep(text, gathering.answer(stream.request_id))
