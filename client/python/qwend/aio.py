"""The same client for asyncio: `async with await qwend.aio.connect() as q`.  Every call of sync.Client is here as a coroutine.

All of one Client belongs to one event loop.  The connection is made again in the background when it breaks under a request that
can go on; a slow reader holds up its own stream only, as what it has not taken is bounded by its credit."""

import asyncio
import time

from . import errors, questions, request
from .common import CONNECT_S, PATIENCE_S, RETRY_S, RETRY_S_MAX, Conversation, program_name, socket_paths
from .core import Core
from .values import Gathering, Record
from .wire import CLASSES

_WRITE_BYTES = 1 << 20      # what the transport may hold; the rest waits in the core, which has a limit
_LOST = "the connection to the daemon was lost"


async def connect(socket_path=None, client=None, timeout=None):
    """A Client; arguments as in qwend.connect()."""
    q = Client(client or program_name(), timeout)
    try:
        await q._open(socket_paths(socket_path))
    except BaseException:
        await q.close()
        raise
    return q


class _Protocol(asyncio.Protocol):
    """One connection's end in the event loop; says everything to its client, as long as it is the client's."""

    def __init__(self, client):
        self._client, self.transport, self.paused = client, None, False

    def connection_made(self, transport):
        self.transport = transport
        transport.set_write_buffer_limits(high=_WRITE_BYTES)

    def pause_writing(self):
        self.paused = True

    def resume_writing(self):
        self.paused = False
        self._client._send()

    def data_received(self, data):
        if self._client._link is self:
            self._client._on_data(data)

    def connection_lost(self, reason):
        if self._client._link is self:
            self._client._on_lost(errors.ConnectionLostError(f"the daemon at {self._client.socket_path} closed the connection"))


class Client:
    """One connection.  Use it as an asynchronous context manager, or close() it."""

    def __init__(self, client, timeout):
        self.timeout, self.socket_path = timeout, ""
        self._core, self._link, self._closed, self._failure = Core(client), None, False, None
        self._waiting, self._repair = set(), None       # futures of whoever waits for news; the task that connects again

    async def __aenter__(self):
        return self

    async def __aexit__(self, *unused):
        await self.close()

    async def close(self):
        """Cancels what runs, unless it is detachable, and closes the connection."""
        self._closed = True
        if self._repair:
            self._repair.cancel()
        self._core.lost(errors.ConnectionLostError("this client was closed"))
        if self._link:
            link, self._link = self._link, None
            link.transport.close()
        self._wake()

    # ---- bytes

    async def _open(self, paths):
        """The first of the paths where somebody listens, with Hello answered."""
        for path in paths:
            self.socket_path = path
            try:
                return await self._hello()
            except (FileNotFoundError, ConnectionRefusedError) as error:
                last = error
            except errors.QwendError:
                raise
            except OSError as error:
                raise errors.NoDaemonError(f"no daemon on {path}: {error.strerror or error}") from None
        raise errors.NoDaemonError(f"no daemon on {' or '.join(paths)}: {last.strerror}")

    async def _hello(self):
        self._core.begin()
        _, link = await asyncio.get_running_loop().create_unix_connection(lambda: _Protocol(self), self.socket_path)
        self._link, self._failure = link, None
        self._send()
        deadline = time.monotonic() + CONNECT_S
        while self._core.welcome is None:
            if self._failure:
                raise self._failure
            try:
                await self._news(deadline)
            except errors.WaitError:
                error = errors.WaitError(f"the daemon at {self.socket_path} does not answer")
                self._drop(error)
                raise error from None

    def _send(self):
        link, out = self._link, self._core.out
        if link and out and not link.paused and not link.transport.is_closing():
            link.transport.write(bytes(out))
            out.clear()

    def _drop(self, error, all_streams=True):
        link, self._link = self._link, None
        if link:
            link.transport.abort()
        self._failure = error
        self._core.lost(error, all_streams)
        self._wake()

    def _on_data(self, data):
        try:
            self._core.feed(data)
        except errors.QwendError as error:
            return self._drop(error)
        self._send()
        self._wake()

    def _on_lost(self, error):
        self._drop(error, all_streams=False)
        if self._core.may_go_on() and not self._repair and not self._closed:
            self._repair = asyncio.get_running_loop().create_task(self._again(error))

    async def _again(self, lost):
        """Another connection for the streams that can go on on one, if somebody answers in time."""
        until, pause = time.monotonic() + PATIENCE_S, RETRY_S
        try:
            while self._core.may_go_on():
                try:
                    return await self._hello()
                except (errors.ConnectionLostError, FileNotFoundError, ConnectionRefusedError) as error:
                    may_wait = isinstance(error, errors.ConnectionLostError) or self._core.may_wait()
                except OSError as error:
                    lost = errors.NoDaemonError(f"no daemon on {self.socket_path}: {error.strerror or error}")
                    may_wait = False
                except errors.QwendError as error:
                    lost, may_wait = error, False
                if not may_wait or time.monotonic() >= until:
                    return self._drop(lost)
                await asyncio.sleep(pause)
                pause = min(2 * pause, RETRY_S_MAX)
        finally:
            self._repair = None
            self._wake()

    # ---- waiting

    def _wake(self):
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    async def _news(self, deadline):
        """Until something has changed, or WaitError."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await asyncio.wait_for(future, None if deadline is None else max(0.0, deadline - time.monotonic()))
        except asyncio.TimeoutError:
            raise errors.WaitError(f"no answer from {self.socket_path} in time") from None
        finally:
            self._waiting.discard(future)

    def _deadline(self):
        return None if self.timeout is None else time.monotonic() + self.timeout

    async def _ready(self):
        """A connection for a new question."""
        if self._closed:
            raise ValueError("this client was closed")
        while self._repair:
            await self._news(self._deadline())
        if self._link is None:
            await self._open([self.socket_path])

    async def _wait(self, stream, take, deadline):
        """What take(stream) has at last; None: the stream is over."""
        while True:
            try:
                got = take(stream)
            except errors.ProtocolError as error:
                if error is not stream.failure:     # it may have ended another connection before this one
                    self._drop(error)
                raise
            self._send()        # the credit of what was taken
            if got is not None or stream.over:
                return got
            if self._link is None and not self._repair:
                raise errors.ConnectionLostError(_LOST)
            await self._news(deadline)

    async def _call(self, message):
        await self._ready()
        deadline = self._deadline()
        stream = self._core.call(message)
        try:
            return await self._wait(stream, self._core.answer, deadline)
        finally:
            self._core.forget(stream)

    def _start(self, state):
        self._send()
        return Stream(self, state)

    # ---- requests

    async def stream(self, prompt=None, **options):
        """Asks, and returns a Stream of Events.  Arguments: `pydoc qwend.request`."""
        head, body = request.split(prompt, options)
        await self._ready()
        return self._start(self._core.generate(head, body))

    async def ask(self, prompt=None, **options):
        """Asks and waits: an Answer, which is a str."""
        async with await self.stream(prompt, **options) as stream:
            return await stream.answer()

    def chat(self, system=None, **options):
        """A Chat, whose options hold for each of its questions."""
        return Chat(self, system, **options)

    async def attach(self, request_id):
        """Goes on with a detachable request of this user, from its beginning: a Stream."""
        wanted = request.request_id(request_id)
        await self._ready()
        return self._start(self._core.attach(wanted))

    async def subscribe(self, interval=0.5):
        """How the service does, each interval seconds: a Stream of Events "sample"."""
        await self._ready()
        return self._start(self._core.subscribe(round(interval * 1000)))

    async def cancel(self, request_id=None):
        """Cancels a request of this user, or all: how many there were."""
        return (await self._call(questions.cancel(request_id))).n_cancelled or 0

    # ---- text

    async def tokenize(self, text, special="none"):
        """Token ids of a text.  special: which added tokens it may contain: "all", "user", "none"."""
        return (await self._call(questions.tokenize(text, special))).ids

    async def count(self, text):
        """How many tokens a text has by itself."""
        return len(await self.tokenize(text))

    async def detokenize(self, ids):
        """The text of token ids; bytes that are no UTF-8 become U+FFFD."""
        return str((await self._call(questions.detokenize(ids))).text or b"", "utf-8", "replace")

    async def render(self, prompt=None, thinking=None, **prompt_arguments):
        """The text that the model would read."""
        return str((await self._call(questions.render(prompt, thinking, prompt_arguments))).text or b"", "utf-8", "replace")

    async def score(self, prompt, continuation, **options):
        """How likely a continuation (str or ids) of a prompt is: a Record of ids, logprobs, sum, prompt_tokens, cached_tokens."""
        return Record(await self._call(questions.score(prompt, continuation, options)))

    # ---- service

    async def status(self):
        """A Record of the daemon, its engine and its model: .state "serving", .model.name ..."""
        return Record(await self._call(CLASSES["Status"]()))

    async def requests(self):
        """Records of this user's requests, of all for an administrator."""
        return Record(await self._call(CLASSES["ListRequests"]())).requests

    async def admin(self, verb):
        """"reload", "drain", "resume" or "upgrade": what came of it.  An upgrade that succeeds ends the connection."""
        return (await self._call(questions.admin(verb))).text or ""

    @property
    def model_name(self):
        """As the daemon said on connecting; "" while it is loading."""
        welcome = self._core.welcome
        return welcome.model.name or "" if welcome and welcome.model else ""


class Stream:
    """Events of one request, in order; iterate over it with `async for`.  Leaving it (`async with`) cancels what still runs; a
    Stream that is neither read to its end nor left ends with 601 some time later.

    .request_id is what attach() takes; .usage is there after the end."""

    def __init__(self, client, state):
        self._client, self._state = client, state
        self.request_id = state.request_id.hex() if state.request_id else ""
        self.usage = None

    def __aiter__(self):
        return self

    async def __anext__(self):
        client = self._client
        event = await client._wait(self._state, client._core.take, client._deadline())
        if event is None:
            raise StopAsyncIteration
        if event.type == "end":
            self.usage = event.usage
        return event

    async def text(self):
        """Only the pieces of the answer."""
        async for event in self:
            if event.type == "answer":
                yield event.text

    async def answer(self):
        """Reads to the end: the whole Answer."""
        gathering = Gathering()
        async for event in self:
            gathering.add(event)
        return gathering.answer(self.request_id)

    def cancel(self):
        """Asks for its end; Event "end" with usage.finish "cancel" follows, unless it was over already."""
        self._client._core.cancel(self._state)
        self._client._send()

    def close(self):
        """Cancels if it still runs, and takes nothing more."""
        if not self._state.over:
            self.cancel()
            self._client._core.forget(self._state)

    def detach(self):
        """Takes nothing more and leaves a detachable request running once the connection is closed: its request_id."""
        self._client._core.forget(self._state)
        return self.request_id

    async def __aenter__(self):
        return self

    async def __aexit__(self, *unused):
        self.close()


class Chat(Conversation):
    """A conversation: ask(), stream(), undo(), messages."""

    async def ask(self, text, **options):
        answer = await self._client.ask(self._turn(text), **{**self._options, **options})
        self._keep(text, answer)
        return answer

    async def stream(self, text, **options):
        """Events of the answer, as they come; read to the end, it becomes part of the conversation."""
        gathering = Gathering()
        async with await self._client.stream(self._turn(text), **{**self._options, **options}) as stream:
            async for event in stream:
                gathering.add(event)
                yield event
        self._keep(text, gathering.answer(stream.request_id))
