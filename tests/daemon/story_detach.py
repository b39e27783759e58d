"""story_detach.py - libqwend goes on by itself when its connection breaks; qwenctl ask --detach and qwenctl attach."""

import json
import os
import signal
import subprocess
import sys

import fake
import qwend_pb2 as pb
import qwp
from fake import Fake
from libqwend import END, NONBLOCK, Client, body


def libqwend_goes_on_where_its_connection_broke():
    with Fake(delay_ms=1) as d, d.serving() as p:
        client = Client(d)
        client.generate("x", 300)
        text = ""
        for _ in range(5):
            more, ended = client.read(20)
            assert ended is None, client.lib.qwend_error(client.q)
            text += more
            client.cut()
        more, ended = client.read()
        assert ended == END, (ended, client.lib.qwend_error(client.q))
        assert text + more == fake.expected(1, body("x"), 300), text[:100]
        client.close()
        p.wait_status(lambda s: not s.running)


def libqwend_hears_that_what_is_not_detachable_is_gone():
    with Fake(delay_ms=2) as d, d.serving():
        client = Client(d)
        client.generate("x", 1000, detachable=0)
        client.read(3)
        client.cut()
        assert client.read()[1] == 206
        client.close()


def libqwend_does_not_wait_for_a_daemon_that_is_gone():
    with Fake(delay_ms=2) as d, d.serving():
        client = Client(d)
        client.generate("x", 1000, detachable=0)
        client.read(3)
        d.process.kill()
        assert client.read()[1] == -32, "EPIPE"
        client.close()


def libqwend_in_an_event_loop_leaves_it_to_its_caller():
    with Fake(delay_ms=2) as d, d.serving():
        client = Client(d, NONBLOCK)
        client.generate("x", 1000)
        client.cut()
        while (r := client.next()[0]) == 1 or r == -11:
            pass
        assert r == -32, r
        client.close()


def libqwend_says_when_a_request_is_gone():
    with Fake(delay_ms=2) as d, d.serving() as p:
        client = Client(d)
        client.generate("x", 1000)
        client.read(3)
        client.cut()
        assert p.call(pb.Cancel(mine=True), pb.Cancelled).n_cancelled == 1
        assert client.read()[1] in (206, END)       # its Usage, if that was on its way already
        client.close()


def libqwend_attaches_to_a_request_of_another_process():
    with Fake(delay_ms=1) as d, d.serving() as p:
        other = Client(d)
        other.generate("x", 200)
        other.read(3)
        client = Client(d)
        assert client.attach(b"12") == -22 and b"no request id" in client.lib.qwend_error(client.q)
        assert client.attach(other.id()) == 0
        text, ended = client.read()
        assert ended == END and text == fake.expected(1, body("x"), 200), (ended, text[:100])
        assert other.read()[1] == 603
        client.close()
        other.close()
        p.status()


def ask_detach_prints_an_id_that_attach_takes():
    with Fake(delay_ms=1) as d, d.serving() as p:
        done = d.ctl("ask", "--detach", "--seed", "1", "-n", "200", "x")
        assert done.returncode == 0 and len(done.stdout) == 33, done
        request_id = done.stdout.strip()
        shown = d.ctl("attach", request_id)
        assert shown.returncode == 0 and shown.stdout.rstrip("\n") == fake.expected(1, body("x"), 200), shown
        one = json.loads(d.ctl("attach", "--json", request_id[:8]).stdout)
        assert one["text"] == shown.stdout and one["id"] == request_id, one
        assert p.call(pb.ListRequests(), pb.Requests).requests[0].request_id.hex() == request_id


def attach_ends_without_ending_the_request():
    with Fake(delay_ms=5) as d, d.serving() as p:
        request_id = d.ctl("ask", "--detach", "--seed", "1", "-n", "1000", "x").stdout.strip()
        viewer = subprocess.Popen([d.qwenctl, "--socket", d.socket, "attach", request_id], stdout=subprocess.PIPE)
        assert viewer.stdout.read(4) == fake.expected(1, body("x"), 1)[:4].encode()
        viewer.send_signal(signal.SIGINT)
        viewer.stdout.close()
        assert viewer.wait(qwp.TIMEOUT_S) in (130, 141)
        done = d.ctl("attach", "--timeout", "100ms", request_id)
        assert done.returncode == 9 and "left running" in done.stderr, done
        assert p.status().running == 1
        assert d.ctl("cancel", request_id).returncode == 0


def wrong_use_is_said():
    with Fake() as d, d.serving():
        assert d.ctl("attach").returncode == 2
        assert d.ctl("attach", "xyz").returncode == 2
        assert d.ctl("attach", "abcd").returncode == 1          # none starts so
        done = d.ctl("attach", "0" * 32)
        assert done.returncode != 0 and "UNKNOWN_REQUEST 206" in done.stderr, done
        assert d.ctl("ask", "--detach", "--json", "x").returncode == 2
        assert d.ctl("attach", "--json", "--ndjson", "0" * 32).returncode == 2
        assert d.ctl("cancel", "--detach", "0" * 32).returncode == 2


if __name__ == "__main__":
    sys.exit(qwp.run([
        libqwend_goes_on_where_its_connection_broke, libqwend_hears_that_what_is_not_detachable_is_gone,
        libqwend_does_not_wait_for_a_daemon_that_is_gone,
        libqwend_in_an_event_loop_leaves_it_to_its_caller, libqwend_says_when_a_request_is_gone,
        libqwend_attaches_to_a_request_of_another_process, ask_detach_prints_an_id_that_attach_takes,
        attach_ends_without_ending_the_request, wrong_use_is_said]))
