"""mock_upstream.py - a server of OpenAI's dialect in a thread, for the stories of the upstream: it answers by a script, and may break
off after any byte."""
import json
import os
import socket
import threading

WORDS = ["Re", "mote ", "\u00e9", " answer"]


def chunk(delta, finish=None, **more):
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "big",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


def stream():
    """The bytes of a whole answer, head included."""
    events = [chunk({"role": "assistant", "content": ""}), chunk({"reasoning": "Hm."}), *(chunk({"content": w}) for w in WORDS),
              chunk({}, "stop"), {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5,
                                                          "completion_tokens_details": {"reasoning_tokens": 1}}}]
    body = "".join(f"data: {json.dumps(e)}\n\n" for e in events) + "data: [DONE]\n\n"
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + body.encode()


class Upstream:
    """Listens on a Unix socket.  `answer`: bytes, sent as they are before the connection is closed, and `may_close` is waited for
    before that; `requests`: what came.  hangs: it never closes a connection itself, and n_left() tells when others have."""

    def __init__(self, folder, answer=None, hangs=False):
        self.path = os.path.join(folder, f"up-{id(self)}.sock")
        self.answer, self.requests = stream() if answer is None else answer, []
        self.hangs, self.left = hangs, threading.Semaphore(0)
        self.may_close = threading.Event()
        self.may_close.set()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(64)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            if self.hangs:
                threading.Thread(target=self._hang, args=(connection,), daemon=True).start()
                continue
            with connection:
                self._answer(connection)

    def _hang(self, connection):
        with connection:
            self._answer(connection)
            while connection.recv(65536):
                pass
        self.left.release()

    def n_left(self, n):
        """Whether n connections have been closed by the other side; waited for."""
        return all(self.left.acquire(timeout=20) for _ in range(n))

    def _answer(self, connection):
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        n = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        while len(body) < n:
            body += connection.recv(65536)
        self.requests.append((head.decode(), json.loads(body)))
        try:
            connection.sendall(self.answer)
        except OSError:
            pass
        self.may_close.wait()

    def close(self):
        self.listener.close()
        os.unlink(self.path)
