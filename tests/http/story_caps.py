#!/usr/bin/env python3
"""story_caps.py - what one client can make the gateway keep: every cap reached, and what it is told; who may come at all."""
import json
import os
import signal
import stat
import subprocess
import sys
import time

import qwp
from fake import Fake
from gateway import Gateway, chat
from harness import WAIT_S, sanitized
from other_user import OTHER_UID, fork_as
from qwp import pb

CHAT = "/v1/chat/completions"
ALL = "[class all]\nmatch = any\n"
KEYS = "alice 0123456789abcdef-a\n# a comment\n\nbob   0123456789abcdef-b\n"
ALICE, BOB = {"Authorization": "Bearer 0123456789abcdef-a"}, {"x-api-key": "0123456789abcdef-b"}


def code(got):
    return got.status, got.json["error"]["code"]


def connections_have_a_cap():
    with Fake() as d, d.serving(), Gateway(d, "--max-connections", "8") as http:
        held = [http.connect() for _ in range(4)]       # half of what others left, which is all
        for connection in held:
            connection.request("GET", "/health")
            assert connection.response().status == 200
        with http.connect() as fifth:
            assert fifth.head()[0] == 503 and fifth.is_closed()
        http.wait_line("a connection is refused")
        held.pop().close()
        end = time.monotonic() + WAIT_S
        while http.ask("GET", "/health").status != 200:    # until it has heard of that one's end
            assert time.monotonic() < end


def bodies_have_a_cap():
    with Fake() as d, d.serving(), Gateway(d, "--body-kib", "4") as http:
        fits = chat("x" * 3900)
        assert http.post(CHAT, fits).status == 200
        with http.connect() as connection:              # said by the length alone, before any of it comes
            connection.sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 4097\r\n\r\n")
            assert code(connection.response()) == (413, "request_too_large")
        body = json.dumps(chat("x" * 5000)).encode()
        chunked = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (body[i:i + 700] for i in range(0, len(body), 700)))
        assert code(http.ask("POST", CHAT, chunked + b"0\r\n\r\n", {"Transfer-Encoding": "chunked"})) == (413, "request_too_large")


def heads_have_caps():
    with Fake() as d, d.serving(), Gateway(d) as http:
        assert http.ask("GET", "/health", headers={"X": "y" * 15000}).status == 200
        assert code(http.ask("GET", "/health", headers={"X": "y" * 17000})) == (431, "request_too_large")
        assert http.ask("GET", "/health", headers={f"X{i}": "" for i in range(63)}).status == 200
        assert http.ask("GET", "/health", headers={f"X{i}": "" for i in range(64)}).status == 431
        assert http.ask("GET", "/health?" + "q" * 1000).status == 200
        assert http.ask("GET", "/health?" + "q" * 1020).status == 414


def json_has_caps():
    with Fake() as d, d.serving(), Gateway(d) as http:
        def nested(n):
            return b'{"messages":[{"role":"user","content":"x"}],"x":' + b"[" * n + b"]" * n + b"}"

        assert http.post(CHAT, nested(63)).status == 200
        assert code(http.post(CHAT, nested(64))) == (400, "invalid_json")
        assert code(http.post(CHAT, b'{"x":' + b"[" * 100000)) == (400, "invalid_json")
        many = b'{"messages":[{"role":"user","content":"x"}],"x":[' + b"[]," * 200000 + b"0]}"
        assert "values" in http.post(CHAT, many).json["error"]["message"]
        assert http.rss_kib() < 64 << 10 or sanitized()
        assert code(http.post(CHAT, {"messages": [{"role": "user", "content": ""}] * 4097})) == (400, "invalid_value")
        assert code(http.post(CHAT, chat("x", logit_bias={str(i): 1 for i in range(513)}))) == (400, "invalid_value")
        assert code(http.post(CHAT, chat("x", stop=["a" * 257]))) == (400, "invalid_value")


def requests_of_a_connection_have_a_cap():
    with Fake() as d, d.serving(), Gateway(d, "--connection-requests", "3") as http, http.connect() as connection:
        for _ in range(2):
            connection.request("GET", "/health")
            assert "connection" not in connection.response().headers
        connection.request("GET", "/health")
        assert connection.response().headers["connection"] == "close" and connection.is_closed()


def answers_that_are_waited_for_have_a_cap():
    with Fake(delay_ms=20) as d, d.serving(), Gateway(d, "--max-requests", "4") as http:
        with http.connect() as first, http.connect() as second:
            for connection in (first, second):
                connection.request("POST", CHAT, chat("x", stream=True, max_tokens=100000))
                assert connection.head()[0] == 200
            got = http.post(CHAT, chat("x"))
            assert code(got) == (429, "too_many_requests") and got.headers["retry-after"] == "1"
        with d.peer() as p:
            p.wait_status(lambda s: s.running == 0)
        assert code(http.post(CHAT, chat("x", n=3))) == (429, "too_many_requests")
        assert http.post(CHAT, chat("x", n=2, max_tokens=2)).status == 200


def memory_has_a_cap():
    with Fake() as d, d.serving(), Gateway(d, "--max-mib", "1") as http:
        got = http.post(CHAT, chat("x" * 700000))       # more than half of it
        assert code(got) == (503, "out_of_memory") and got.headers["retry-after"] == "1", got
        got = http.post(CHAT, chat("x" * 1500000))      # more than all of it: said by the length alone
        assert code(got) == (503, "out_of_memory"), got
        assert http.post(CHAT, chat("x" * 100000)).status == 200
    with Fake(size=20000, delay_ms=0) as d, d.serving(), Gateway(d, "--max-mib", "1") as http:
        got = http.post(CHAT, chat("x", max_tokens=60))
        assert code(got) == (503, "out_of_memory"), got


def a_reader_who_does_not_read_stops_the_model_and_not_us():
    with Fake(size=10000, delay_ms=0) as d, d.serving() as p, Gateway(d, "--stall-s", "600") as http:
        whole = http.post(CHAT, chat("x", max_tokens=200, seed=1)).json["choices"][0]["message"]["content"]
        with http.connect() as slow:
            slow.request("POST", CHAT, chat("x", max_tokens=200, seed=1, stream=True))
            while not any(r.state == pb.RequestInfo.PAUSED for r in p.call(pb.ListRequests(), pb.Requests).requests):
                pass
            assert http.rss_kib() < 24 << 10 or sanitized()
            said = "".join(data["choices"][0]["delta"].get("content", "") for _, data in slow.response().events()[:-1])
        assert said == whole and len(whole) == 200 * 10000


def a_reader_who_stays_away_is_let_go():
    with Fake(size=10000, delay_ms=0) as d, d.serving() as p, Gateway(d, "--stall-s", "1") as http, http.connect() as gone:
        gone.request("POST", CHAT, chat("x", max_tokens=100000, stream=True))
        p.wait_status(lambda s: s.running == 1)
        p.wait_status(lambda s: s.running == 0)


def half_a_request_has_a_deadline():
    with Fake() as d, d.serving(), Gateway(d, "--head-s", "1", "--body-s", "1", "--idle-s", "1") as http:
        with http.connect() as half, http.connect() as body, http.connect() as idle:
            half.sock.sendall(b"GET /hea")
            body.sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
            idle.request("GET", "/health")
            assert idle.response().status == 200
            assert half.response().status == 408 and half.is_closed()
            assert body.response().status == 408 and body.is_closed()
            assert idle.is_closed()


def the_daemons_refusals_become_https():
    with Fake(load_ms=3600000) as d, Gateway(d) as http:
        for path, method, body in [("/health", "GET", None), (CHAT, "POST", chat("x")), ("/v1/messages", "POST",
                                   {"max_tokens": 1, "messages": [{"role": "user", "content": "x"}]})]:
            got = http.ask(method, path, body)
            assert got.status == 503 and got.headers["retry-after"] == "1" and "loaded" in got.json["error"]["message"], got
        assert http.ask("GET", "/v1/models").json["data"] == []
    with Fake(fail="broken file") as d, Gateway(d) as http:
        d.wait_line("broken file")
        assert http.ask("GET", "/health").status == 503
    with Fake(config=ALL + "max_output = 10\nmax_running = 1\nmax_queued = 1\n", delay_ms=20) as d, d.serving(), \
            Gateway(d) as http:
        assert code(http.post(CHAT, chat("x", max_tokens=11))) == (400, "context_length_exceeded")
        asked = {"max_tokens": 11, "messages": [{"role": "user", "content": "x"}]}      # a bound only, in this dialect
        got = http.post("/v1/messages", asked).json
        assert (got["stop_reason"], got["usage"]["output_tokens"]) == ("max_tokens", 10), got
    with Fake(config=ALL + "max_running = 1\nmax_queued = 1\n", delay_ms=20) as d, d.serving() as p, Gateway(d) as http, \
            http.connect() as runs, http.connect() as waits:
        runs.request("POST", CHAT, chat("x", stream=True, max_tokens=100000))
        assert runs.head()[0] == 200
        waits.request("POST", CHAT, chat("x", stream=True, max_tokens=100000))
        p.wait_status(lambda s: s.queued == 1)
        got = http.post(CHAT, chat("x"))
        assert code(got) == (429, "queue_full") and int(got.headers["retry-after"]) >= 1, got
    with Fake() as d, d.serving(), Gateway(d) as http:
        d.process.kill()
        d.process.wait()
        got = http.post(CHAT, chat("x"))
        assert code(got) == (503, "daemon_unreachable"), got


def who_waits_hears_a_sign_of_life():
    for path, body, mark in [(CHAT, chat("x", stream=True), b": ping\n\n"),
                             ("/v1/messages", {"max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "x"}]},
                              b'event: ping\ndata: {"type":"ping"}\n\n')]:
        with Fake(slots=1, delay_ms=50) as d, d.serving(), Gateway(d, "--ping-s", "1") as http, http.connect() as runs, \
                http.connect() as waits:
            runs.request("POST", CHAT, chat("x", stream=True, max_tokens=100000))
            assert runs.head()[0] == 200
            waits.request("POST", path, body)
            assert waits.head()[0] == 200
            waits.until(mark)
            runs.close()
            waits.until(b"event: message_stop" if b"event" in mark else b"data: [DONE]")


def each_key_is_a_user_of_its_own_to_the_daemon():
    config = ALL + "accounts = yes\nmax_running = 1\n"
    with Fake(config=config, delay_ms=20) as d, d.serving() as p, Gateway(d, "--accounts", keys=KEYS, tcp=True) as http, \
            http.connect(tcp=True) as first, http.connect(tcp=True) as second:
        first.request("POST", CHAT, chat("x", stream=True, max_tokens=100000), ALICE)
        assert first.head()[0] == 200
        second.request("POST", CHAT, chat("x", stream=True, max_tokens=100000), ALICE)
        p.wait_status(lambda s: s.running == 1 and s.queued == 1)
        assert http.post(CHAT, chat("x", max_tokens=2), BOB, tcp=True).status == 200
    with Fake() as d, d.serving(), Gateway(d, "--accounts") as http:
        got = http.post(CHAT, chat("x"))
        assert code(got) == (403, "denied") and "account" in got.json["error"]["message"], got


def over_tcp_a_key_is_needed():
    with Fake() as d, d.serving(), Gateway(d, keys=KEYS, tcp=True) as http:
        got = http.ask("GET", "/health", tcp=True)
        assert code(got) == (401, "invalid_api_key") and got.headers["www-authenticate"] == "Bearer", got
        for headers in ({"Authorization": "Bearer 0123456789abcdef-c"}, {"Authorization": "Basic x"}, {"x-api-key": ""},
                        {"x-api-key": "k" * 5000}):
            assert http.ask("GET", "/v1/models", headers=headers, tcp=True).status == 401, headers
        anthropic = http.post("/v1/messages", {}, {"x-api-key": "nope"}, tcp=True)
        assert anthropic.json["error"]["type"] == "authentication_error", anthropic
        for headers in (ALICE, BOB):
            assert http.ask("GET", "/health", headers=headers, tcp=True).status == 200
        with open(http.keys_path, "w", encoding="ascii") as f:
            f.write("carol 0123456789abcdef-c\n")
        http.process.send_signal(signal.SIGHUP)
        http.wait_line("1 keys are known")
        assert http.ask("GET", "/health", headers=ALICE, tcp=True).status == 401
        assert http.ask("GET", "/health", headers={"Authorization": "bearer  0123456789abcdef-c"}, tcp=True).status == 200
        os.chmod(http.keys_path, 0o644)
        http.process.send_signal(signal.SIGHUP)
        http.wait_line("the keys stay as they are: .*chmod 600")


def pages_of_a_browser_get_nothing():
    with Fake() as d, d.serving(), Gateway(d, "--hosts", "model.lan", "--origins", "app://good", keys=KEYS, tcp=True) as http:
        for host, status in [("evil.example", 403), ("127.0.0.1.evil.example:80", 403), ("localhost:11434", 200),
                             ("127.0.0.1", 200), ("[::1]:80", 200), ("model.lan:80", 200), ("", 403), ("[", 403)]:
            assert http.ask("GET", "/health", headers={"Host": host, **ALICE}, tcp=True).status == status, host
        for origin, status in [("http://localhost:3000", 403), ("null", 403), ("app://good", 200)]:
            got = http.ask("GET", "/health", headers={"Origin": origin, **ALICE}, tcp=True)
            assert got.status == status and not any("access-control" in h for h in got.headers), got
        assert http.ask("OPTIONS", CHAT, headers={"Origin": "http://x", **ALICE}, tcp=True).status == 403


def what_cannot_be_listened_on_is_refused_at_the_start():
    program = os.path.join(os.environ["QWEND_BUILD"], "client/http/qwend-http")
    with Fake() as d:
        def refused(*options):
            done = subprocess.run([program, "--config", os.devnull, "--allow-root", *options], capture_output=True, text=True,
                                  timeout=WAIT_S, check=False, cwd=d.folder)
            assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done
            return done.stderr

        keys = os.path.join(d.folder, "keys")
        with open(keys, "w", encoding="ascii") as f:
            f.write(KEYS)
        os.chmod(keys, 0o640)
        assert "--listen" in refused()
        assert "needs keys" in refused("--listen", "127.0.0.1:0")
        assert "chmod 600" in refused("--listen", "127.0.0.1:0", "--keys", keys)
        os.chmod(keys, 0o600)
        for place in ("0.0.0.0:80", "192.168.0.1:80", "[::]:80", "localhost:80", "127.0.0.1", "127.0.0.1:99999", "[::1:80"):
            assert "listen" in refused("--listen", place, "--keys", keys), place
        assert "socket" in refused("--sockt", "x")
        for text, word in [("x\n", ":1:"), ("a b c\n", ":1:"), ("a short\n", ":1:"), ("a/b 0123456789abcdef\n", ":1:"),
                           (KEYS + "carol 0123456789abcdef-a\n", ":5:"), ("", "no keys")]:
            with open(keys, "w", encoding="ascii") as f:
                f.write(text)
            assert word in refused("--listen", "127.0.0.1:0", "--keys", keys), text
        with open(os.path.join(d.folder, "conf"), "w", encoding="ascii") as f:
            f.write("[http]\nlisten = unix:x\nmax_mib = 0\n")
        assert "conf:3" in refused("--config", os.path.join(d.folder, "conf"))


def others_may_connect_where_each_is_a_user_of_his_own():
    if os.geteuid():
        return "needs root, to be two users"
    with Fake(config=ALL + "accounts = yes\n") as d, d.serving(), Gateway(d) as own, Gateway(d, "--accounts") as shared:
        assert stat.S_IMODE(os.stat(own.socket).st_mode) == 0o600

        def other():
            try:
                own.connect()
                return "let in"
            except PermissionError:
                return shared.post(CHAT, chat("x", max_tokens=2)).status

        assert fork_as(OTHER_UID, other)() == 200
        shared.wait_line(f"uid:{OTHER_UID} POST")
    return None


STORIES = [
    connections_have_a_cap, bodies_have_a_cap, heads_have_caps, json_has_caps, requests_of_a_connection_have_a_cap,
    answers_that_are_waited_for_have_a_cap, memory_has_a_cap, a_reader_who_does_not_read_stops_the_model_and_not_us,
    a_reader_who_stays_away_is_let_go, half_a_request_has_a_deadline, the_daemons_refusals_become_https,
    who_waits_hears_a_sign_of_life, each_key_is_a_user_of_its_own_to_the_daemon, over_tcp_a_key_is_needed,
    pages_of_a_browser_get_nothing, what_cannot_be_listened_on_is_refused_at_the_start,
    others_may_connect_where_each_is_a_user_of_his_own,
]

if __name__ == "__main__":
    sys.exit(qwp.run(STORIES))
