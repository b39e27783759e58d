"""story_metrics.py - the metrics socket: who may read, what it says, and that no reader can hold anything."""

import os
import re
import select
import socket
import sys
import time

import harness
import openmetrics
import qwend_pb2 as pb
import qwp
from fake import Fake, check, sampling
from other_user import OTHER_UID, fork_as
from qwp import Refused, prompt

CANARY = "canary-0ddba11"


class Seen(Fake):
    """A fake daemon with a metrics socket in its folder."""

    def _write_config(self, text):
        self.metrics = os.path.join(self.folder, "metrics.sock")
        return super()._write_config(f"{text}metrics = {self.metrics}\n")

    def scrape(self):
        return openmetrics.parse(openmetrics.read(self.metrics))


def wait_scrape(d, match):
    """Scrapes until it matches: what a client was told may be a turn older than what is counted."""
    end = time.monotonic() + qwp.TIMEOUT_S
    while not match(seen := d.scrape()):
        assert time.monotonic() < end, {k: f.samples for k, f in seen.items()}
    return seen


def of(seen, name, klass="normal", **labels):
    return openmetrics.value(seen, "qwend_" + name, **{"class": klass}, **labels)


def every_answer_is_counted_in_its_class():
    with Seen(delay_ms=2, slots=1) as d, d.serving() as p:
        before = d.scrape()
        assert openmetrics.value(before, "qwend_connections") == 1
        assert openmetrics.value(before, "qwend_state", qwend_state="serving") == 1
        body = prompt("hello")
        for i in range(3):
            check(p.ask(body, sampling=sampling(i), max_tokens=20), i, body, 20)
        p.ask(body, max_tokens=5, priority=pb.PRIORITY_BATCH)
        after = d.scrape()
        openmetrics.check_rise(before, after)
        assert of(after, "requests_total", outcome="length") == 3
        assert of(after, "requests_total", "batch", outcome="length") == 1
        assert of(after, "prompt_tokens_total") == 3 * len(body) and of(after, "output_tokens_total") == 60
        assert of(after, "output_tokens_total", "batch") == 5 and of(after, "output_tokens_total", "interactive") == 0
        assert of(after, "time_to_first_token_seconds_count") == of(after, "queue_seconds_count") == 3
        assert of(after, "token_interval_seconds_count") == 57
        gap = of(after, "token_interval_seconds_sum") / 57
        assert 0.001 < gap < 1, gap
        assert openmetrics.value(after, "qwend_info", version=p.welcome.server.split()[1], backend="fake") == 1


def refusals_leavers_stalls_and_waiters_are_counted():
    with Seen(delay_ms=5, slots=1, context=1000) as d, d.serving() as p:
        for fields in ({"body": prompt("x"), "max_tokens": (1 << 20) + 1}, {"body": prompt("x" * 2000)}):
            try:
                p.ask(**fields)
                raise AssertionError("not refused")
            except Refused:
                pass
        with d.peer() as q:
            stream = q.generate(prompt("x"), max_tokens=900, credit_bytes=20)
            q.wait_for(pb.Delta, stream)
            running = q.generate(prompt("x"), max_tokens=900)
            q.wait_for(pb.Delta, running)  # it has the slot that the unread one gave up
            waiting = q.generate(prompt("x"), max_tokens=900, priority=pb.PRIORITY_INTERACTIVE)
            seen = wait_scrape(d, lambda s: of(s, "flow_stalls_total") == 1 and of(s, "queued_requests", "interactive") == 1)
            assert of(seen, "running_requests") == 1
            assert openmetrics.value(seen, "qwend_held_bytes") > 0 and openmetrics.value(seen, "qwend_journal_bytes") > 0
            q.send(pb.Cancel(), waiting)
            q.wait_for(pb.Usage, waiting)
            q.send(pb.Credit(bytes=20), stream)
        seen = wait_scrape(d, lambda s: openmetrics.value(s, "qwend_connections") == 1)
        assert of(seen, "requests_total", outcome="INVALID") == of(seen, "requests_total", outcome="TOO_LONG") == 1
        assert of(seen, "requests_total", outcome="left") == 2
        assert of(seen, "requests_total", "interactive", outcome="cancel") == 1
        assert of(seen, "running_requests") == of(seen, "queued_requests", "interactive") == 0
        assert openmetrics.value(seen, "qwend_held_bytes") == openmetrics.value(seen, "qwend_journal_bytes") == 0
        assert openmetrics.value(seen, "qwend_accepted_connections_total") == 2


def an_engines_death_is_counted():
    with Seen(die_after=10) as d, d.serving() as p:
        before = d.scrape()
        check(p.ask(prompt("x"), sampling=sampling(1), max_tokens=25), 1, prompt("x"), 25)
        after = d.scrape()
        openmetrics.check_rise(before, after)
        deaths = openmetrics.value(after, "qwend_engine_restarts_total")
        assert deaths == of(after, "replays_total") == 2, deaths
        assert of(after, "output_tokens_total") == 25


def whoever_is_not_allowed_gets_no_byte():
    if os.getuid():
        return "needs root, to be another user"
    with Seen() as d:
        def other():
            assert openmetrics.read(d.metrics) == ""

        fork_as(OTHER_UID, other)()
        assert "# EOF" in openmetrics.read(d.metrics)
    with Seen("--metrics-allow", f"daemon,{OTHER_UID}") as d:
        def allowed():
            assert openmetrics.read(d.metrics).endswith("# EOF\n")

        fork_as(OTHER_UID, allowed)()


def a_reader_that_never_reads_holds_nothing():
    with Seen(delay_ms=1) as d, d.serving() as p:
        fds = len(os.listdir(f"/proc/{d.process.pid}/fd"))
        rss = harness.status_field(d.process.pid, "VmRSS")
        idle = []
        for _ in range(200):
            s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            s.connect(d.metrics)  # waits while the backlog is full
            idle.append(s)
        for s in idle:  # closed by the daemon, so all is there that will ever be
            poll = select.poll()
            poll.register(s, select.POLLHUP)
            assert poll.poll(qwp.TIMEOUT_S * 1e3)
        assert len(os.listdir(f"/proc/{d.process.pid}/fd")) == fds
        grown = harness.status_field(d.process.pid, "VmRSS") - rss
        assert grown < 1024, f"{grown} kB"
        check(p.ask(prompt("x"), sampling=sampling(1), max_tokens=9), 1, prompt("x"), 9)
        texts = {}
        for s in idle:  # late, but whole
            data = b""
            while chunk := s.recv(1 << 16):
                data += chunk
            texts[len(data)] = openmetrics.parse(data.decode())
            s.close()
        assert texts


def no_word_of_a_prompt_is_in_the_metrics():
    with Seen() as d, d.serving(client=CANARY) as p:
        p.ask(prompt(CANARY), max_tokens=3, stop=[CANARY])
        try:
            p.ask(prompt(CANARY), stop=[""])
            raise AssertionError("not refused")
        except Refused:
            pass
        text = openmetrics.read(d.metrics)
        assert CANARY not in text and str(os.getpid()) not in re.findall(r"[0-9]+", text), text


def there_is_no_socket_unless_it_is_asked_for():
    with Fake("--metrics", "none") as d:
        assert os.listdir(d.folder) == ["qwend.conf", "qwend.sock"] or len(os.listdir(d.folder)) == 2
    with Fake() as d, d.serving():
        assert len(os.listdir(d.folder)) == 2, os.listdir(d.folder)
    with Seen() as d, d.serving():
        path = d.metrics
        assert os.stat(path).st_mode & 0o777 == 0o666
        assert d.terminate() == 0
        assert not os.path.exists(path)


def a_bad_path_or_user_is_refused_at_the_start():
    for options, word in ((("--metrics", "/nowhere/at/all.sock"), "/nowhere/at/all.sock"),
                          (("--metrics-allow", "no-such-user-here"), "no-such-user-here")):
        d = Fake(*options)
        try:
            assert d.wait_exit() == 1
            d.reader.join()
            assert word in d.log(), d.log()
        finally:
            d.__exit__()


if __name__ == "__main__":
    sys.exit(qwp.run([
        every_answer_is_counted_in_its_class, refusals_leavers_stalls_and_waiters_are_counted,
        an_engines_death_is_counted, whoever_is_not_allowed_gets_no_byte, a_reader_that_never_reads_holds_nothing,
        no_word_of_a_prompt_is_in_the_metrics, there_is_no_socket_unless_it_is_asked_for,
        a_bad_path_or_user_is_refused_at_the_start]))
