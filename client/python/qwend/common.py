"""What the blocking and the asyncio side share: where the daemon is, and what a conversation remembers."""

import os
import sys

SYSTEM_SOCKET = "/run/qwend/qwend.sock"
CONNECT_S = 10.0        # the daemon answers Hello in its first loop turn; later than this it hangs
RETRY_S, RETRY_S_MAX = 0.02, 1.0
PATIENCE_S = 30.0       # for a daemon that is being started again; a request waits no longer there


def socket_paths(given):
    """Where to look, in this order: what was given, $QWEND_SOCKET, the system's daemon, the user's own."""
    given = given or os.environ.get("QWEND_SOCKET")
    if given:
        return [os.fspath(given)]
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    return [SYSTEM_SOCKET] + ([os.path.join(own, "qwend/qwend.sock")] if own.startswith("/") else [])


def program_name():
    """What `qwenctl ps` shows unless the caller has a better name."""
    return os.path.basename(sys.argv[0] if sys.argv and sys.argv[0] else "") or "python"


class Conversation:
    """Messages so far, and options for all of its requests.  A failed or cancelled turn leaves no trace."""

    def __init__(self, client, system=None, **options):
        self._client, self._options = client, options
        self.messages = [] if system is None else [{"role": "system", "content": system}]

    def _turn(self, text):
        return [*self.messages, {"role": "user", "content": text}]

    def _keep(self, text, answer):
        self.messages += [{"role": "user", "content": text},
                          {"role": "assistant", "content": str(answer), "reasoning": answer.reasoning}]

    def undo(self):
        """Forgets the last question and its answer; IndexError if there is none."""
        if not self.messages or self.messages[-1]["role"] != "assistant":
            raise IndexError("there is no turn to undo")
        del self.messages[-2:]
