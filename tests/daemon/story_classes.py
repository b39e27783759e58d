"""story_classes.py - what the classes of qwend.conf let their users do, each cap reached, on the fake engine."""

import os
import subprocess
import sys
import tempfile

import harness
import qwend_pb2 as pb
import qwp
from fake import ENGINE, Fake, check, sampling
from other_user import OTHER_UID, fork_as
from qwp import MORE, Refused



def class_all(**keys):
    """A configuration with one class that everybody is in, root too."""
    return "[class all]\nmatch = any\n" + "".join(f"{k} = {v}\n" for k, v in keys.items())


def refused(peer, code, body=b"x", **fields):
    """The refusal that this request must meet."""
    try:
        peer.ask(body, **fields)
    except Refused as error:
        assert error.code == code, error
        return error
    raise AssertionError(f"not refused with {code}")


def run(peer, stream):
    """The stream runs: it is past the queue."""
    peer.wait_for(pb.Delta, stream)
    return stream


def without_sections_everybody_is_a_user_and_root_an_administrator():
    with Fake() as d, d.serving() as p:
        assert p.welcome.uid_class == ("user" if os.geteuid() else "admin")
        assert p.welcome.limits.streams == 64 and {"account", "score", "admin"} <= set(p.welcome.capabilities)


def welcome_tells_class_and_limits():
    with Fake(config=class_all(max_streams=3, max_context=500), context=1000) as d, d.serving(), d.peer() as p:
        assert p.welcome.uid_class == "all", p.welcome
        assert (p.welcome.limits.streams, p.welcome.limits.context) == (3, 500)


def who_may_not_is_told_so_and_may_still_ask_for_the_status():
    with Fake(config=class_all(allow="no")) as d, d.serving() as p:
        assert "class all may not use this service" in str(refused(p, 301))
        try:
            p.call(pb.Tokenize(text="x"), pb.Tokens)
            raise AssertionError("a question was answered")
        except Refused as error:
            assert error.code == 301, error
        assert p.status().queued == 0


def one_class_is_let_in_and_another_is_not():
    if os.geteuid():
        return "needs root, to be two users"
    with Fake(config=f"[class user]\nmatch = uid:{OTHER_UID}\n[class admin]\nmatch = uid:{OTHER_UID}\n") as d:
        with d.serving() as p:
            assert p.welcome.uid_class == "default"
            refused(p, 301)

        def admin():
            with d.peer() as q:
                check(q.ask(b"x", sampling=sampling(1), max_tokens=3), 1, b"x", 3)
                return q.welcome.uid_class

        assert fork_as(OTHER_UID, admin)() == "admin"
    return None


def a_queue_of_a_class_is_full_at_its_cap():
    with Fake(config=class_all(max_queued=2), slots=1, delay_ms=5) as d, d.serving() as p, d.peer() as q:
        running = run(p, p.generate(b"x", sampling=sampling(1), max_tokens=1000))
        waiting = [p.generate(b"x", max_tokens=1), p.open(pb.Generate(max_tokens=1), MORE)]
        p.wait_for(pb.Accepted, waiting[0])
        error = refused(q, 401)
        assert error.details == {"used": "2", "limit": "2"} and error.error.retry_after_ms, error.error
        p.send(pb.Cancel(), waiting[1])
        p.wait_for(pb.Usage, waiting[1])
        accepted = q.generate(b"x", max_tokens=1)
        assert q.expect(pb.Accepted, accepted).msg.position == 2
        p.send(pb.Cancel(), running)
        assert p.collect(waiting[0]).usage.answer_tokens == 1


def a_class_runs_no_more_at_a_time_than_it_may():
    with Fake(config=class_all(max_running=2), slots=4, delay_ms=5) as d, d.serving() as p:
        running = [run(p, p.generate(b"x", max_tokens=1000)) for _ in range(2)]
        third = p.generate(b"x", sampling=sampling(3), max_tokens=5)
        assert p.expect(pb.Accepted, third).msg.position == 1
        assert (p.status().running, p.status().queued) == (2, 1)
        p.send(pb.Cancel(), running[0])
        check(p.collect(third), 3, b"x", 5)


def a_connection_of_a_class_has_so_many_streams():
    with Fake(config=class_all(max_streams=2), delay_ms=5) as d, d.serving() as p, d.peer() as q:
        streams = [p.generate(b"x", max_tokens=1000) for _ in range(2)]
        error = refused(p, 302)
        assert error.details == {"used": "2", "limit": "2"}, error.details
        assert q.ask(b"x", max_tokens=1).usage.answer_tokens == 1
        p.send(pb.Cancel(), streams[0])
        p.wait_for(pb.Usage, streams[0])
        assert p.ask(b"x", max_tokens=1).usage.answer_tokens == 1


def a_class_holds_no_more_bytes_than_it_may():
    with Fake(config=class_all(max_mib=1), slots=1, context=1000000, delay_ms=5) as d, d.serving() as p:
        run(p, p.generate(b"x", max_tokens=200000))     # 4 bytes a token are kept for it
        error = refused(p, 302, max_tokens=100000)
        assert error.details["limit"] == str(1 << 20), error.details


def a_class_has_so_many_tokens_waiting():
    with Fake(config=class_all(max_queued_tokens=1000), slots=1, delay_ms=5) as d, d.serving() as p:
        run(p, p.generate(b"x", max_tokens=1000))
        p.wait_for(pb.Accepted, p.generate(b"x" * 400, max_tokens=800))     # some 100 and 800
        error = refused(p, 401, b"x" * 40, max_tokens=91)
        assert error.details == {"used": "900", "limit": "1000"} and error.error.retry_after_ms, error.error
        memfd = qwp.sealed_memfd(b"x" * 400)
        try:
            p.expect(pb.Accepted, p.generate(max_tokens=1, flags=qwp.HAS_FD, fds=[memfd]))
            raise AssertionError("a memfd counts for nothing")
        except Refused as refusal:
            assert refusal.code == 401, refusal
        finally:
            os.close(memfd)
        p.wait_for(pb.Accepted, p.generate(b"x" * 40, max_tokens=90))


def tokens_a_minute_are_used_up_and_said_when_they_come_back():
    """60 a minute and 10 at once: what was read and written leaves a debt of 90 tokens, so of a minute and a half."""
    with Fake(config=class_all(tokens_per_min=60, burst=10)) as d, d.serving() as p, d.peer() as q:
        assert p.ask(b"x" * 50, max_tokens=50).usage.answer_tokens == 50
        error = refused(q, 303)
        assert error.details == {"tokens_per_min": "60", "burst": "10"}, error.details
        assert 30000 < error.error.retry_after_ms <= 91001, error.error
        assert p.call(pb.Tokenize(text="x"), pb.Tokens)


def the_answer_is_no_longer_than_a_class_may_get():
    with Fake(config=class_all(max_output=20, max_context=100)) as d, d.serving() as p:
        error = refused(p, 304, max_tokens=21)
        assert error.details == {"max_tokens": "21", "max_output": "20"}, error.details
        assert p.ask(b"x", max_tokens=20).usage.answer_tokens == 20
    with Fake(config=class_all(max_context=100)) as d, d.serving() as p:
        assert refused(p, 304, max_tokens=100).details == {"max_tokens": "100", "context": "100"}


def a_priority_that_a_class_lacks_is_refused():
    with Fake(config=class_all(priority="batch"), delay_ms=5) as d, d.serving() as p:
        assert "no priority interactive, only batch" in str(refused(p, 301, priority=pb.PRIORITY_INTERACTIVE))
        stream = run(p, p.generate(b"x", max_tokens=1000))
        listed = p.call(pb.ListRequests(), pb.Requests).requests
        assert [r.priority for r in listed] == [pb.PRIORITY_BATCH]
        p.send(pb.Cancel(), stream)


def an_account_needs_a_class_that_has_them():
    with Fake() as d, d.serving() as p:
        assert "may not name an account" in str(refused(p, 301, account="alice"))
    with Fake(config=class_all(accounts="yes")) as d, d.serving() as p:
        refused(p, 201, account="")
        refused(p, 201, account="a" * 65)
        refused(p, 201, account="a b")
        assert p.ask(b"x", account="a" * 64, max_tokens=2).usage.answer_tokens == 2


def accounts_have_queues_and_tokens_of_their_own():
    keys = {"accounts": "yes", "max_queued": 1, "max_running": 1, "tokens_per_min": 60}
    with Fake(config=class_all(**keys), slots=3, delay_ms=5) as d, d.serving() as p:
        running = [run(p, p.generate(b"x", max_tokens=1000, account=a)) for a in ("a", "b")]
        waiting = p.generate(b"x", max_tokens=3, account="a")
        p.wait_for(pb.Accepted, waiting)
        refused(p, 401, account="a")
        assert p.ask(b"x", max_tokens=70).usage.answer_tokens == 70     # the gateway itself is a third one
        refused(p, 303)
        p.send(pb.Cancel(), running[0])
        assert p.collect(waiting).usage.answer_tokens == 3


def accounts_share_bytes_like_users():
    """Of 4 MiB one account may hold 2, and another still half of what is left."""
    with Fake("--max-mib", "4", config=class_all(accounts="yes"), slots=1, context=1000000, delay_ms=5) as d:
        with d.serving() as p:
            for account in "abc":
                n = 600000
                while n > 1000:
                    stream = p.generate(b"x", max_tokens=n, account=account)
                    if p.next_frame(stream).type is pb.Error:
                        n //= 2
            listed = p.call(pb.ListRequests(), pb.Requests).requests
            assert len(listed) >= 3, listed
            assert p.call(pb.Cancel(mine=True), pb.Cancelled).n_cancelled == len(listed)


def drop_ins_are_read_and_faults_name_their_place():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "x.conf")
        os.mkdir(path + ".d")
        command = [os.path.join(os.environ["QWEND_BUILD"], "daemon/broker/qwend"), "--config", path,
                   "--socket", os.path.join(folder, "s"), "--model", "fake:", "--engine", ENGINE, "--allow-root"]
        for main, more, words in [
                ("[class a]\nmatch = any\n", "[class a]\nwieght = 3\n",
                 "x.conf.d/50.conf:2: unknown key 'wieght', did you mean 'weight'?"),
                ("[class a]\nweight = 3\n", "", "[class a] has no match"),
                ("[klass a]\nweight = 3\n", "", "x.conf:2: unknown section [klass a]"),
                ("[class a]\nmatch = uid:no-such-user\n", "", "x.conf:2: match has 'uid:no-such-user'"),
                ("[daemon]\n", "[daemon]\nslotz = 3\n", "50.conf:2: unknown key 'slotz', did you mean 'slots'?")]:
            for name, text in ((path, main), (os.path.join(path + ".d", "50.conf"), more)):
                with open(name, "w", encoding="ascii") as f:
                    f.write(text)
            got = subprocess.run(command, capture_output=True, text=True, timeout=harness.WAIT_S, check=False)
            assert got.returncode == 2 and words in got.stderr, got


if __name__ == "__main__":
    sys.exit(qwp.run([
        without_sections_everybody_is_a_user_and_root_an_administrator, welcome_tells_class_and_limits,
        who_may_not_is_told_so_and_may_still_ask_for_the_status, one_class_is_let_in_and_another_is_not,
        a_queue_of_a_class_is_full_at_its_cap, a_class_runs_no_more_at_a_time_than_it_may,
        a_connection_of_a_class_has_so_many_streams, a_class_holds_no_more_bytes_than_it_may,
        a_class_has_so_many_tokens_waiting, tokens_a_minute_are_used_up_and_said_when_they_come_back,
        the_answer_is_no_longer_than_a_class_may_get, a_priority_that_a_class_lacks_is_refused,
        an_account_needs_a_class_that_has_them, accounts_have_queues_and_tokens_of_their_own,
        accounts_share_bytes_like_users, drop_ins_are_read_and_faults_name_their_place]))
