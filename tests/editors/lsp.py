"""lsp.py - an editor as `qwenctl lsp` sees it, on Python's own json: messages out, messages in, nothing waits by sleeping.

A thread reads what the server says; whoever waits, waits for a message, at most WAIT_S.
"""
import json
import subprocess
import threading

WAIT_S = 30.0
CAPABLE = {"general": {"positionEncodings": ["utf-8", "utf-16"]}, "window": {"workDoneProgress": True},
           "textDocument": {"inlineCompletion": {}},
           "workspace": {"applyEdit": True, "workspaceEdit": {"documentChanges": True}}}


def frame(message):
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


class Editor:
    """One running language server.  Use as a context manager; leaving it ends the server."""

    def __init__(self, qwenctl, socket):
        self.process = subprocess.Popen([qwenctl, "lsp", "--socket", socket], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.messages, self.condition, self.last_id, self.taken = [], threading.Condition(), 0, set()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.versions, self.texts = {}, {}

    def __enter__(self):
        return self

    def __exit__(self, failed, *_):
        """The editor is gone: the server ends by itself, in order."""
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            status = self.process.wait(WAIT_S)
        finally:
            self.process.kill()
        self.reader.join(WAIT_S)
        said = self.process.stderr.read().decode()
        self.process.stdout.close()
        self.process.stderr.close()
        assert failed or (status in (0, 1, 2) and "Sanitizer" not in said), (status, said)

    def _read_one(self):
        length = None
        while line := self.process.stdout.readline():
            if line == b"\r\n":
                return json.loads(self.process.stdout.read(length))
            name, value = line.split(b":")
            if name == b"Content-Length":
                length = int(value)
        return None

    def _read(self):
        while True:
            message = self._read_one()
            with self.condition:
                self.messages.append(message)               # None: the end
                self.condition.notify_all()
            if message is None:
                return

    def send(self, message):
        self.process.stdin.write(frame(message))
        self.process.stdin.flush()

    def notify(self, method, **params):
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def request(self, method, **params):
        self.last_id += 1
        self.send({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params})
        return self.last_id

    def wait(self, match, what):
        """The first message not yet taken that matches."""
        def look():
            for i, message in enumerate(self.messages):
                if i not in self.taken and message is not None and match(message):
                    self.taken.add(i)
                    return message
            return self.messages and self.messages[-1] is None and {"over": True}

        with self.condition:
            found = self.condition.wait_for(look, WAIT_S)
        assert found and "over" not in found, f"{what} never came; there was {self.messages}"
        return found

    def answer(self, request):
        return self.wait(lambda m: m.get("id") == request and "method" not in m, f"the answer to {request}")

    def result(self, request):
        message = self.answer(request)
        assert "result" in message, message
        return message["result"]

    def error(self, request):
        message = self.answer(request)
        assert "error" in message, message
        return message["error"]

    def note(self, method, match=lambda params: True):
        return self.wait(lambda m: m.get("method") == method and match(m["params"]), method)

    def seen(self, method):
        with self.condition:
            return [m for m in self.messages if m and m.get("method") == method]

    # what an editor does

    def start(self, capabilities=None, **options):
        """Initialises and returns the server's capabilities."""
        result = self.result(self.request("initialize", processId=None, rootUri="file:///work%20shop",
                                          capabilities=CAPABLE if capabilities is None else capabilities,
                                          initializationOptions=options))
        self.notify("initialized")
        return result["capabilities"]

    def open(self, uri, text, language="python"):
        self.versions[uri], self.texts[uri] = 1, text
        self.notify("textDocument/didOpen", textDocument={"uri": uri, "languageId": language, "version": 1,
                                                          "text": text})

    def type(self, uri, text):
        """At the end of the document, which must be in its last line; positions here are ASCII."""
        lines = self.texts[uri].split("\n")
        at = {"line": len(lines) - 1, "character": len(lines[-1])}
        self.versions[uri] += 1
        self.texts[uri] += text
        self.notify("textDocument/didChange", textDocument={"uri": uri, "version": self.versions[uri]},
                    contentChanges=[{"range": {"start": at, "end": at}, "text": text}])

    def end_of(self, uri):
        lines = self.texts[uri].split("\n")
        return {"line": len(lines) - 1, "character": len(lines[-1])}

    def complete(self, uri, invoked=False, method="textDocument/inlineCompletion"):
        return self.request(method, textDocument={"uri": uri}, position=self.end_of(uri),
                            context={"triggerKind": 1 if invoked else 2})

    def ghost(self, uri, invoked=False):
        """The text that is proposed at the end of the document, or None."""
        items = self.result(self.complete(uri, invoked))["items"]
        return items[0]["insertText"] if items else None

    def command(self, name, uri, start, end, **more):
        return self.request("workspace/executeCommand", command=name, arguments=[
            {"uri": uri, "range": {"start": {"line": start[0], "character": start[1]},
                                   "end": {"line": end[0], "character": end[1]}}, **more}])
