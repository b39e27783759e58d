"""qwend - Qwen 3.5 as a service of the operating system, from Python.

    import qwend

    with qwend.connect() as q:
        print(q.ask("Why is the sky blue?"))
        for piece in q.stream("Write a haiku.").text():
            print(piece, end="", flush=True)

With asyncio:

    async with await qwend.aio.connect() as q:
        async for event in await q.stream("Why is the sky blue?"):
            ...

Errors are in qwend.errors; a refusal by the daemon is a RefusedError with its stable code."""

from . import aio, errors
from .errors import ConnectionLostError, NoDaemonError, ProtocolError, QwendError, RefusedError, TooLargeError, WaitError
from .sync import Chat, Client, Stream, connect
from .values import Answer, Event, Record

__version__ = "0.1.0"
__all__ = ["Answer", "Chat", "Client", "ConnectionLostError", "Event", "NoDaemonError", "ProtocolError", "QwendError", "Record",
           "RefusedError", "Stream", "TooLargeError", "WaitError", "aio", "ask", "connect", "errors"]


def ask(prompt, **options):
    """One question on a connection of its own."""
    with connect() as q:
        return q.ask(prompt, **options)
