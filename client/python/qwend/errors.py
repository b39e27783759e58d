"""What can go wrong.

    QwendError
      NoDaemonError            nothing listens there (also a ConnectionError)
      ConnectionLostError      it went away in the middle (also a ConnectionError)
      WaitError                no answer within the timeout (also a TimeoutError)
      TooLargeError            more than the daemon takes in one prompt (also a ValueError)
      ProtocolError            what answers does not speak QWP/1 as it should
      RefusedError             the daemon said no: .code .name .text .retry_after_ms .details
        BadMessageFamily 1xx, RequestFamily 2xx, PolicyFamily 3xx, BusyFamily 4xx, EngineFamily 5xx, FlowFamily 6xx
          one class a code: TooLongError is 202, QueueFullError 401 ...

The codes are stable; a code of a later version is an error of its family, or RefusedError itself."""

from .messages import STATUS


class QwendError(Exception):
    """Base of everything that this package raises of its own."""


class NoDaemonError(QwendError, ConnectionError):
    """Nothing listens on the socket, or this user may not connect to it."""


class ConnectionLostError(QwendError, ConnectionError):
    """The daemon closed the connection, and what ran on it could not be gone on with."""


class WaitError(QwendError, TimeoutError):
    """No answer within the timeout."""


class ProtocolError(QwendError):
    """The other side sent what QWP/1 does not allow."""


class TooLargeError(QwendError, ValueError):
    """A prompt, or what waits to be sent, is larger than the daemon takes."""


class RefusedError(QwendError):
    """The daemon answered with an Error.  Programs look at .code, .retry_after_ms and .details, people read the text."""

    code = 0
    name = "UNKNOWN"

    def __init__(self, text="the daemon gave no reason", code=None, retry_after_ms=0, details=None):
        super().__init__(text)
        self.text, self.retry_after_ms, self.details = text, retry_after_ms, details or {}
        if code is not None:
            self.code = code

    def __str__(self):
        return f"{self.text} ({self.code} {self.name})"


class BadMessageFamily(RefusedError):
    """1xx: the connection itself; it is closed."""


class RequestFamily(RefusedError):
    """2xx: the request cannot be served as it is."""


class PolicyFamily(RefusedError):
    """3xx: this user may not, or not now."""


class BusyFamily(RefusedError):
    """4xx: try again after .retry_after_ms."""


class EngineFamily(RefusedError):
    """5xx: the engine failed, also after it was tried again."""


class FlowFamily(RefusedError):
    """6xx: it ran, and something ended it."""


_FAMILIES = {1: BadMessageFamily, 2: RequestFamily, 3: PolicyFamily, 4: BusyFamily, 5: EngineFamily, 6: FlowFamily}


def _class_name(name):
    return "".join(part.capitalize() for part in name.split("_")) + "Error"


BY_CODE = {code: type(_class_name(name), (_FAMILIES[code // 100],), {"code": code, "name": name, "__module__": __name__,
                                                                    "__doc__": f"{code} {name}: docs/PROTOCOL.md §6."})
           for name, code in STATUS.items()}
globals().update({cls.__name__: cls for cls in BY_CODE.values()})
__all__ = [name for name, value in list(globals().items()) if isinstance(value, type) and issubclass(value, QwendError)]


def from_message(message):
    """The exception that an Error of the wire is."""
    code = message.code or 0
    cls = BY_CODE.get(code) or _FAMILIES.get(code // 100, RefusedError)
    details = {d.key or "": d.value or "" for d in message.details}
    return cls(message.text or "the daemon gave no reason", code, message.retry_after_ms or 0, details)
