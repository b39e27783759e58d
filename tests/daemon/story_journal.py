"""story_journal.py - what the journal is told: events with their fields, and never a word of a prompt or an answer."""

import os
import socket
import sys

import openmetrics
import qwend_pb2 as pb
import qwp
from fake import Fake, check, sampling
from qwp import Refused, prompt

SERVING = "f71e587aceaf40c8a359b9788d6cec81"
STOPPING = "09461abb1e7148b497bd4d710b4c5b44"
DENIED = "b14305a89c03465e88f8d3638feed057"
QUOTA = "401688611aae4c61aa659d939759878f"
CRASHED = "3c7b8954fbe14e1697fcc173dfbb6fff"
FAILED = "b205a46c1585408d80b19381fcd7cee5"
ENDED = "b73cd97ee2ee41d8b431e1caa1b01821"
CANARY = "canary-7e57ab1e"


class Journalled(Fake):
    """A fake daemon whose journal is a socket of ours, in its folder."""

    def _program(self, build):
        path = os.path.join(self.folder, "journal")
        self.journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.journal.bind(path)
        self.journal.settimeout(qwp.TIMEOUT_S)
        self.events = []
        return [os.path.join(build, "tests/fixture/qwend_journal"), path]

    def _write_config(self, text):
        self.metrics = os.path.join(self.folder, "metrics.sock")
        return super()._write_config(f"{text}metrics = {self.metrics}\n")

    def __exit__(self, *unused):
        self.journal.close()
        super().__exit__(*unused)

    def event(self, kind):
        """The fields of the next event of a kind; all that come are kept."""
        while True:
            data = self.journal.recv(1 << 16).decode()
            assert data.endswith("\n")
            fields = [line.split("=", 1) for line in data[:-1].split("\n")]
            assert len({name for name, _ in fields}) == len(fields), data
            self.events.append(dict(fields))
            if self.events[-1]["MESSAGE_ID"] == kind:
                return self.events[-1]


def an_engines_life_is_told():
    with Journalled(die_after=10) as d, d.serving() as p:
        first = d.event(SERVING)
        assert first["QWEND_RESTARTS"] == "0" and first["SYSLOG_IDENTIFIER"] == "qwend" and first["PRIORITY"] == "6"
        check(p.ask(prompt("x"), sampling=sampling(1), max_tokens=15), 1, prompt("x"), 15)
        crash, second = d.event(CRASHED), d.event(SERVING)
        assert crash["QWEND_REQUESTS"] == "1" and crash["PRIORITY"] == "3" and crash["QWEND_RESTART_MS"] == "10", crash
        assert crash["QWEND_ENGINE_PID"] == first["QWEND_ENGINE_PID"] != second["QWEND_ENGINE_PID"]
        assert second["QWEND_RESTARTS"] == "1" and "killed by signal 9" in crash["MESSAGE"]
        assert d.terminate() == 0
        assert d.event(STOPPING)["QWEND_RUNNING"] == "0"
        assert "killed by signal" not in d.log(), "told twice"


def a_model_that_cannot_be_served_is_told_with_its_code():
    with Journalled(fail="no such model", fail_code=201) as d:
        failed = d.event(FAILED)
        assert failed["QWEND_CODE"] == "201" and "no such model" in failed["MESSAGE"], failed


def a_full_quota_is_told_with_its_numbers():
    with Journalled("--max-requests", "4", slots=1, delay_ms=5) as d, d.serving() as p:
        for _ in range(3):
            last = p.generate(prompt("x"), max_tokens=100000)
        try:
            p.collect(last)
            raise AssertionError("not refused")
        except Refused as refused:
            assert refused.code == 302
        event = d.event(QUOTA)
        assert (event["QWEND_UID"], event["QWEND_CODE"]) == (str(os.getuid()), "302"), event
        assert (event["QWEND_USED"], event["QWEND_LIMIT"]) == ("2", "2"), event


def a_broken_rule_is_told():
    with Journalled() as d, d.serving() as p:
        with d.peer() as q:
            q.send(pb.Generate(body=prompt("x")), 2)
            assert q.is_closed()
        event = d.event(DENIED)
        assert (event["QWEND_UID"], event["QWEND_CODE"]) == (str(os.getuid()), "104"), event
        p.status()


def a_request_that_is_given_up_is_told_with_its_id():
    with Journalled("--slow-s", "1", delay_ms=1) as d, d.serving() as p:
        stream = p.generate(prompt("x"), max_tokens=1000, credit_bytes=20, request_id=bytes(range(16)))
        try:
            p.collect(stream)
            raise AssertionError("not ended")
        except Refused as refused:
            assert refused.code == 601
        event = d.event(ENDED)
        assert event["QWEND_REQUEST"] == bytes(range(16)).hex() and event["QWEND_CODE"] == "601", event
        assert int(event["QWEND_TOKENS"]) > 0 and int(event["QWEND_MS"]) >= 1000, event


def no_word_of_a_prompt_is_told_anywhere():
    with Journalled("--slow-s", "1", "--max-requests", "4", "--verbose", die_after=40, slots=1, delay_ms=1) as d:
        with d.serving(client=CANARY) as p, d.peer(client=CANARY) as q:
            body = prompt(CANARY)
            p.ask(body, max_tokens=3, stop=[CANARY])
            for fields in ({"body": body * 50, "stop": [""]}, {"body": body, "credit_bytes": 4, "max_tokens": 100}):
                try:
                    p.ask(**fields)
                    raise AssertionError("not refused")
                except Refused as refused:
                    assert CANARY not in str(refused.error)
            p.call(pb.Tokenize(text=CANARY), pb.Tokens)
            check(p.ask(body, sampling=sampling(1), max_tokens=60), 1, body, 60)  # through a crash
            for _ in range(5):
                last = p.generate(body, max_tokens=100000)
            try:
                p.collect(last)
            except Refused:
                pass
            q.send(pb.Generate(body=body), 2)
            assert q.is_closed()
            d.event(CRASHED)
            d.event(QUOTA)
            d.event(DENIED)
            metrics = openmetrics.read(d.metrics)
        d.terminate()
        d.event(STOPPING)
        told = "\n".join(f"{k}={v}" for event in d.events for k, v in event.items())
        assert len(d.events) >= 6 and CANARY not in told, told
        assert CANARY not in d.log() and CANARY not in metrics, d.log()


if __name__ == "__main__":
    sys.exit(qwp.run([
        an_engines_life_is_told, a_model_that_cannot_be_served_is_told_with_its_code,
        a_full_quota_is_told_with_its_numbers, a_broken_rule_is_told, a_request_that_is_given_up_is_told_with_its_id,
        no_word_of_a_prompt_is_told_anywhere]))
