#!/usr/bin/env python3
"""story_evil.py - clients that do it wrong, and what breaks behind the gateway: it stays up, small, and says what is wrong."""
import itertools
import json
import random
import socket
import sys

import qwp
from fake import Fake, expected
from gateway import Connection, Gateway, chat
from harness import Qwend, golden, sanitized

CHAT = "/v1/chat/completions"
GET = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
USER = [{"role": "user", "content": "x"}]
POSTS = [(CHAT, {"messages": USER, "max_tokens": 2}), ("/v1/completions", {"prompt": "x", "max_tokens": 2}),
         ("/v1/responses", {"input": "x", "max_output_tokens": 2}), ("/v1/messages", {"messages": USER, "max_tokens": 2}),
         ("/api/chat", {"messages": USER, "options": {"num_predict": 2}}), ("/api/generate", {"prompt": "x", "options": {"num_predict": 2}}),
         ("/completion", {"prompt": "x", "n_predict": 2}), ("/infill", {"input_prefix": "x", "input_suffix": "y", "n_predict": 2}),
         ("/tokenize", {"content": "x"}), ("/detokenize", {"tokens": [1]}), ("/apply-template", {"messages": USER}),
         ("/v1/messages/count_tokens", {"messages": USER}), ("/v1/responses/input_tokens", {"input": "x"}),
         ("/v1/chat/completions/input_tokens", {"messages": USER})]
FIELDS = set("""model messages input instructions system prompt suffix input_prefix input_suffix input_extra content tokens tools functions
    tool_choice function_call reasoning text include top_logprobs logprobs logit_bias previous_response_id thinking output_config stop
    stop_sequences stream_options temperature top_p top_k min_p seed n n_cmpl n_probs return_tokens response_fields lora json_schema grammar
    response_format chat_template_kwargs reasoning_effort enable_thinking cache_prompt repeat_last_n options think format raw images
    parse_special with_pieces local_only best_of echo conversation background post_sampling_probs""".split())
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"


def status(data):
    """What these bytes are answered with, and the connection is closed after it."""
    with HTTP.connect() as connection:
        connection.sock.sendall(data)
        got = connection.response()
        assert connection.is_closed(), data[:100]
        return got.status


def bytes_may_come_one_by_one():
    request = Connection.pack("POST", CHAT, chat("x", max_tokens=3, seed=4))
    with HTTP.connect() as connection:
        for i in range(len(request)):
            connection.sock.send(request[i:i + 1])
        assert connection.response().status == 200
    body = json.dumps(chat("x", max_tokens=3)).encode()
    chunks = b"".join(b"1\r\n" + body[i:i + 1] + b"\r\n" for i in range(len(body))) + b"0\r\nTrailer: x\r\n\r\n"
    with HTTP.connect() as connection:
        request = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks
        for i in range(len(request)):
            connection.sock.send(request[i:i + 1])
        assert connection.response().status == 200


def requests_may_come_all_at_once():
    with HTTP.connect() as connection:
        one = Connection.pack("POST", CHAT, chat("x", max_tokens=2, seed=4))
        connection.sock.sendall((GET + one) * 50)
        for _ in range(50):
            assert connection.response().json == {"status": "ok"}
            assert connection.response().json["choices"][0]["finish_reason"] == "length"


def what_is_no_http_is_refused_and_closed():
    for data, wanted in [
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505), (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400), (b"GET /health\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\n\r\n", 400), (b"GET /health HTTP/1.2\r\nHost: x\r\n\r\n", 505),
        (b"GET health HTTP/1.1\r\nHost: x\r\n\r\n", 400), (b"GET http://x/health HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /he alth HTTP/1.1\r\nHost: x\r\n\r\n", 400), (b"G\x00T /health HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nHost: x\r\nA\x00: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: \x01\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: x\n\n" + GET, 400), (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\nC: d\r\n\r\n", 400),
        (HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\n{} ", 400), (HEAD + b"Content-Length: +3\r\n\r\n", 400),
        (HEAD + b"Content-Length: -1\r\n\r\n", 400), (HEAD + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
        (HEAD + b"Content-Length:\r\n\r\n", 400), (HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 501),
        (HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (HEAD + b"Expect: 200-ok\r\nContent-Length: 1\r\n\r\n", 417),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400), (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;x=y\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\nx", 400), (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"T: x\r\n" * 300, 431),
    ]:
        got = status(data)
        assert got == wanted, (data, got)


def a_body_that_is_asked_for_comes_after_the_go_ahead():
    body = json.dumps(chat("x", max_tokens=2)).encode()
    with HTTP.connect() as connection:
        connection.sock.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert connection.head()[0] == 100
        connection.sock.sendall(body)
        assert connection.response().status == 200
        connection.sock.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n")
        assert connection.head()[0] == 413, "instead of a go-ahead"


def older_http_and_heads_are_served():
    with HTTP.connect() as connection:
        connection.sock.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        assert connection.response().json == {"status": "ok"} and connection.is_closed()
    with HTTP.connect() as connection:
        body = json.dumps(chat("x", max_tokens=2, stream=True)).encode()
        connection.sock.sendall(b"POST /v1/chat/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        got = connection.response()
        assert "transfer-encoding" not in got.headers and got.body.endswith(b"data: [DONE]\n\n"), got
    with HTTP.connect() as connection:
        connection.sock.sendall(GET.replace(b"GET", b"HEAD") + GET)
        assert connection.response(is_head=True).headers["content-length"] == "15"
        assert connection.response().json == {"status": "ok"}


def a_client_may_leave_at_each_event():
    for n_chunks in range(12):
        for path, body in [(CHAT, chat("x", stream=True, max_tokens=10)),
                           ("/v1/messages", {"max_tokens": 10, "stream": True, "messages": [{"role": "user", "content": "x"}]}),
                           ("/v1/responses", {"input": "x", "stream": True, "max_output_tokens": 10}),
                           ("/completion", {"prompt": "x", "stream": True, "n_predict": 10, "n_probs": 1}),
                           ("/infill", {"input_prefix": "x", "input_suffix": "y", "stream": True, "n_predict": 10}),
                           ("/api/chat", {"messages": [{"role": "user", "content": "x"}], "options": {"num_predict": 10}})]:
            with HTTP.connect() as connection:
                connection.request("POST", path, body)
                if n_chunks:
                    connection.head()
                for _ in range(n_chunks - 1):
                    connection.chunk()
    with HTTP.connect() as connection:                      # and say that it sends no more
        connection.request("POST", CHAT, chat("x", stream=True, max_tokens=100000))
        assert connection.head()[0] == 200
        connection.sock.shutdown(socket.SHUT_WR)
        assert connection.is_closed()
    FAKE_PEER.wait_status(lambda s: s.running == 0 and s.queued == 0)


def a_client_may_leave_before_a_short_answer():
    for path, body in [*POSTS, ("/health", None), ("/metrics", None), ("/upstream", None), ("/v1/models", None), ("/props", None)]:
        with HTTP.connect() as connection:
            connection.request("POST" if body else "GET", path, body)
    FAKE_PEER.wait_status(lambda s: s.running == 0 and s.queued == 0)


def each_field_may_be_anything():
    """Of each endpoint, beside what it needs: it is answered, or refused by name, and the connection goes on."""
    values = [None, True, False, -1, 0, 1 << 62, 1e300, "", "x" * 300, "\ud7ff", [], {}, [[]], [{}], ["x"], {"type": "x"}, {"x": [1]}, [[1, 2], "x"]]
    n_refused, turns = 0, itertools.cycle(range(len(values)))           # each value for each field, over all endpoints
    with Fake(delay_ms=0) as d, d.serving(), Gateway(d, "--connection-requests", "100000") as http, http.connect() as connection:
        for path, body in POSTS:
            for field in sorted(FIELDS | set(body)):
                for value in (values[next(turns)] for _ in range(5)):
                    connection.request("POST", path, {**body, field: value})
                    got = connection.response()
                    assert got.status in (200, 400, 413, 501), (path, field, value, got)
                    assert got.status == 200 or "error" in got.json, (path, field, value, got)
                    n_refused += got.status != 200
    assert n_refused > len(POSTS) * 50


def answers_that_nobody_reads_have_a_cap():
    """As long as the questions, several of which would fill the gateway: what is answered and not read counts as well."""
    asked = {"messages": [{"role": "user", "content": "\x01" * 400000}]}
    with Qwend(golden("demo.gguf"), "--context", "4096") as d, Gateway(d) as http:
        d.wait_line("serves")
        held, answered = [], set()
        for _ in range(40):
            held.append(http.connect(rcvbuf=4096))
            try:
                held[-1].request("POST", "/apply-template", asked)
                held[-1].sock.recv(1, socket.MSG_PEEK)      # the answer is there
            except (BrokenPipeError, ConnectionResetError):
                pass                                        # there was no room for the question
        for connection in held:
            if connection.more():
                got = connection.response()
                assert got.status in (200, 503), got
                answered.add(got.status)
            connection.close()
        assert answered == {200, 503}, answered
        print(f"# at most {http.rss_kib() >> 10} MiB", flush=True)
        assert http.rss_kib() <= 64 << 10 or sanitized()


def noise_is_answered_or_closed():
    rng = random.Random(5)
    seeds = [GET, *(Connection.pack("POST", path, body) for path, body in POSTS), Connection.pack("POST", CHAT, chat("x", max_tokens=2)),
             HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"]
    for _ in range(300):
        data = bytearray(rng.choice(seeds) * rng.randint(1, 3))
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(data))
            data[at:at + rng.randint(0, 3)] = bytes(rng.randrange(256) for _ in range(rng.randint(0, 3)))
        with HTTP.connect() as connection:
            connection.sock.sendall(data)
            connection.sock.shutdown(socket.SHUT_WR)
            assert connection.is_closed()
    assert HTTP.ask("GET", "/health").status == 200


def large_prompts_pass_and_leave_nothing():
    for _ in range(3):
        got = HTTP.post(CHAT, chat("x" * (7 << 20), max_tokens=2))
        assert got.status == 200, got
        text = json.dumps(chat("\u00e9" * (3 << 20), max_tokens=2), ensure_ascii=False).encode()
        assert HTTP.post(CHAT, text).status == 200
    for path, body in POSTS:
        field = next(f for f in ("input", "prompt", "input_prefix", "content", "messages", "tokens") if f in body)
        value = [{"role": "user", "content": "x" * (7 << 20)}] if field == "messages" else [1] * 130000 if field == "tokens" else "x" * (7 << 20)
        got = HTTP.post(path, {**body, field: value})
        assert got.status in (200, 400, 413), (path, got)
    held = [HTTP.connect() for _ in range(40)]
    for connection in held:
        connection.sock.sendall(HEAD + b"Content-Length: 1000000\r\n\r\n" + b"x" * 100000)
    for connection in held:
        connection.close()
    assert HTTP.ask("GET", "/health").status == 200


def an_engine_that_dies_under_a_stream_is_not_noticed():
    with HTTP.connect() as connection:
        connection.request("POST", CHAT, chat("x", stream=True, max_tokens=30, seed=9))
        assert connection.head()[0] == 200
        connection.chunk()
        FAKE.kill_engine()
        rest = connection.response_body()
        said = "".join(json.loads(line[6:])["choices"][0]["delta"].get("content", "") for line in rest.decode().split("\n")
                       if line.startswith("data: {"))
        body = qwp.prompt("x")
        assert said == expected(9, body, 30) or said.endswith(expected(9, body, 30)[-40:]), said


def a_broker_that_dies_under_a_stream_is_told_and_found_again():
    with Fake(delay_ms=20) as d, d.serving(), Gateway(d) as http:
        ended = []
        with http.connect() as chats, http.connect() as messages, http.connect() as lines, http.connect() as whole:
            asked = {"messages": [{"role": "user", "content": "x"}], "stream": True}
            chats.request("POST", CHAT, {**asked, "max_tokens": 100000})
            messages.request("POST", "/v1/messages", {**asked, "max_tokens": 100000})
            lines.request("POST", "/api/chat", asked)
            for connection in (chats, messages, lines):
                assert connection.head()[0] == 200
            whole.request("POST", CHAT, chat("x", max_tokens=100000))
            with d.peer() as p:
                p.wait_status(lambda s: s.running == 4)
            d.process.kill()
            d.process.wait()
            for connection in (chats, messages, lines):
                ended.append(connection.response_body().decode())
                assert connection.is_closed()
            assert whole.response().status == 503
        assert 'data: {"error":{"message":"the connection to the daemon was lost"' in ended[0], ended[0][-300:]
        assert "event: error\ndata: " in ended[1] and '"overloaded_error"' in ended[1]
        assert json.loads(ended[2].splitlines()[-1]) == {"error": "the connection to the daemon was lost"}
        assert http.ask("GET", "/health").status == 503


def a_broker_that_is_upgraded_under_streams_is_not_noticed():
    with Fake(delay_ms=5) as d, d.serving(), Gateway(d) as http, http.connect() as connection, http.connect() as whole:
        connection.request("POST", CHAT, chat("x", stream=True, max_tokens=200, seed=9))
        whole.request("POST", CHAT, chat("x", max_tokens=200, seed=9))
        assert connection.head()[0] == 200 and connection.chunk() and connection.chunk()
        assert d.ctl("upgrade").returncode == 0
        data = [line for line in connection.response_body().decode().split("\n") if line.startswith("data: {")]
        assert '"finish_reason":"length"' in data[-1], data[-1]
        got = whole.response().json["choices"][0]["message"]["content"]
        assert got == expected(9, qwp.prompt("x"), 200), got
        assert http.ask("GET", "/health").status == 200


def all_of_that_took_little_memory():
    kib = HTTP.rss_kib()
    print(f"# at most {kib >> 10} MiB", flush=True)
    assert kib <= 64 << 10 or sanitized(), kib


STORIES = [
    bytes_may_come_one_by_one, requests_may_come_all_at_once, what_is_no_http_is_refused_and_closed,
    a_body_that_is_asked_for_comes_after_the_go_ahead, older_http_and_heads_are_served, a_client_may_leave_at_each_event,
    a_client_may_leave_before_a_short_answer, each_field_may_be_anything, answers_that_nobody_reads_have_a_cap,
    noise_is_answered_or_closed, large_prompts_pass_and_leave_nothing, an_engine_that_dies_under_a_stream_is_not_noticed,
    a_broker_that_dies_under_a_stream_is_told_and_found_again, a_broker_that_is_upgraded_under_streams_is_not_noticed,
    all_of_that_took_little_memory,
]

if __name__ == "__main__":
    with Fake(delay_ms=2) as FAKE, FAKE.serving() as FAKE_PEER, Gateway(FAKE) as HTTP:
        sys.exit(qwp.run(STORIES))
