"""story_restart.py - the broker is killed and started again as systemd would: its requests go on, and libqwend's callers
notice nothing.  With the engine that only pretends; the real one is story_store.py's."""

import collections
import fcntl
import itertools
import os
import random
import sys

import fake
import qwend_pb2 as pb
import qwp
from fake import check, gather, sampling
from fakesd import FakeService, Kills
from libqwend import END, Client, body
from other_user import OTHER_UID, fork_as
from qwp import prompt

KILLS = int(os.environ.get("QWEND_KILLS", "20"))
ID = bytes(range(16))
MIB = 1 << 20


def attach(peer, next_seq=0, request_id=ID, **fields):
    return peer.open(pb.Attach(request_id=request_id, next_seq=next_seq, **fields))


def start(d, n=300, n_read=20, seed=1, request_id=ID, **fields):
    """A request on a connection of its own, and what was read of it: (peer, stream, result)."""
    peer, result = d.peer(), qwp.Result()
    stream = peer.generate(prompt("x"), sampling=sampling(seed), max_tokens=n, request_id=request_id, **fields)
    while result.n_deltas < n_read:
        result.add(peer.next_frame(stream))
    return peer, stream, result


def rest(peer, stream, result):
    """What had left the broker before it died."""
    try:
        while True:
            result.add(peer.next_frame(stream))
    except qwp.Closed:
        return result


def go_on(d, result, **fields):
    with d.peer() as peer:
        return peer.collect(attach(peer, result.n_deltas, **fields), result=result)


def a_plain_request_goes_on_behind_what_was_read():
    with FakeService(delay_ms=2, weights=1) as d, d.serving():
        peer, stream, result = start(d, want_ids=True, logprobs=2)
        d.kill_broker()
        result = go_on(d, rest(peer, stream, result))
        check(result, 1, prompt("x"), 300)
        assert result.ids == fake.tokens(1, prompt("x"), 300) and len(result.logprobs) == 300
        assert result.usage.replays == 1 and result.usage.request_id == ID, result.usage
        assert [e.kind for e in result.events] in ([], [pb.Event.ENGINE_RESTART, pb.Event.RESUMED]), result.events
        with d.peer() as p:
            assert p.status().weights_adopted, "the model was read again"
            assert not p.call(pb.ListRequests(), pb.Requests).requests
        assert d.stored() == ["kept-journal-1", "kept-weights", "kept-weights"]


def nobody_notices_kills():
    """Streams of both kinds one after the other, with and without room for much unread text."""
    with FakeService(delay_ms=1, weights=1) as d, d.serving():
        kills = Kills(d, KILLS, with_engine=lambda i: i % 4 == 3)
        counts = collections.Counter()

        def one(who):
            for turn in range(10000):
                client, n = Client(d), random.randint(1, 400)
                text = f"{who}.{turn}"
                client.generate(text, n, detachable=who % 2, credit=(None, 100, 5000)[who % 3])
                got = ""
                while True:
                    more, ended = client.read(1)
                    got += more
                    if ended is not None:
                        break
                    kills.on_text(who)
                assert ended == END, (who, turn, ended, client.lib.qwend_error(client.q), d.log())
                want = fake.expected(1, body(text), n)
                assert got == want, (who, turn, len(got), len(want), os.path.commonprefix([got, want])[-40:])
                client.close()
                counts["streams"] += 1
                if kills.over:
                    break
            kills.leave(who)

        gather([lambda who=who: one(who) for who in range(6)] + [lambda: kills.run(0.05)], 30 + 3 * KILLS)
        assert kills.done == KILLS and counts["streams"] >= 6, counts
        assert "lost" not in d.log().replace("0 are lost", ""), d.log()


def ended_unread(d, control):
    """A plain request that has ended for the broker, while its client has read nothing: (peer, stream)."""
    peer = d.peer(rcvbuf=4096)
    stream = peer.generate(prompt("x"), sampling=sampling(1), max_tokens=600, request_id=ID, credit_bytes=MIB)
    control.wait_status(lambda s: s.output_tokens == 600 and not s.running)
    assert not control.call(pb.ListRequests(), pb.Requests).requests
    assert control.status().journal_bytes > 600 * 1000
    return peer, stream


def the_end_of_an_answer_that_was_not_sent_is_not_lost():
    with FakeService(size=1000) as d, d.serving() as control:
        peer, stream = ended_unread(d, control)
        d.kill_broker()
        result = rest(peer, stream, qwp.Result())
        assert result.n_deltas < 600 and not result.usage
        result = go_on(d, result, credit_bytes=MIB)
        assert len(result.answer) == 600 * 1000 and result.usage.finish == pb.FINISH_LENGTH, result.usage
        with d.peer() as p:
            p.wait_status(lambda s: not s.journal_bytes)


def what_was_sent_is_closed_and_so_is_what_nobody_reads():
    with FakeService(size=1000) as d, d.serving() as control:
        peer, stream = ended_unread(d, control)
        assert len(peer.collect(stream).answer) == 600 * 1000
        control.wait_status(lambda s: not s.journal_bytes)
    with FakeService(size=1000) as d, d.serving() as control:
        peer, _ = ended_unread(d, control)
        peer.close()
        control.wait_status(lambda s: not s.journal_bytes)


def a_connection_that_slept_through_it_is_as_good_as_new():
    with FakeService(delay_ms=1) as d, d.serving():
        clients = [Client(d) for _ in range(2)]
        for _ in range(2):
            d.kill_broker()
            for i, client in enumerate(clients):
                client.generate(f"{i}", 50, detachable=i)
                assert client.read() == (fake.expected(1, body(f"{i}"), 50), END), client.lib.qwend_error(client.q)
        for client in clients:
            client.close()


def a_detached_request_runs_on_without_a_reader():
    with FakeService(delay_ms=2) as d, d.serving():
        peer, _, _ = start(d, n=400, detachable=True)
        peer.close()
        d.kill_broker()
        with d.serving() as p:
            p.wait_status(lambda s: s.output_tokens and not s.running)
            result = p.collect(attach(p))
            check(result, 1, prompt("x"), 400)
        d.kill_broker()                             # and its answer is still there
        check(go_on(d, qwp.Result()), 1, prompt("x"), 400)


def what_waits_in_the_queue_waits_again():
    with FakeService(delay_ms=1, slots=1) as d, d.serving():
        peers = [d.peer() for _ in range(4)]
        ids = [bytes([i]) * 16 for i in range(4)]
        for i, peer in enumerate(peers):
            stream = peer.generate(prompt(f"{i}"), sampling=sampling(i), max_tokens=100, request_id=ids[i])
            peer.wait_for(pb.Delta if not i else pb.Accepted, stream)
        d.kill_broker()
        with d.peer() as p:
            streams = [attach(p, request_id=request_id) for request_id in ids]
            for i, stream in enumerate(streams):
                check(p.collect(stream), i, prompt(f"{i}"), 100)


def a_prompt_in_a_memfd_is_kept_too():
    large = prompt("y" * (3 * MIB))
    with FakeService(delay_ms=2) as d, d.serving(), d.peer() as peer:
        stream = peer.generate(fds=[qwp.sealed_memfd(large)], flags=qwp.HAS_FD, sampling=sampling(5), max_tokens=100,
                               request_id=ID)
        peer.wait_for(pb.Delta, stream)
        d.kill_broker()
        check(go_on(d, qwp.Result()), 5, large, 100)


def kills_while_the_model_is_loaded_lose_nothing():
    with FakeService(delay_ms=1, load_ms=400) as d, d.peer() as peer:
        stream = peer.generate(prompt("x"), sampling=sampling(1), max_tokens=30, request_id=ID)
        peer.wait_for(pb.Accepted, stream)
        for _ in range(3):
            d.kill_broker()
        check(go_on(d, qwp.Result()), 1, prompt("x"), 30)


def a_request_that_five_brokers_die_with_is_given_up():
    with FakeService(deaf=1) as d, d.serving() as p:
        stream = p.generate(prompt("x"), max_tokens=30, request_id=ID)
        p.wait_for(pb.Accepted, stream)
        for _ in range(5):
            with d.serving() as control:
                control.wait_status(lambda s: s.running)
            d.kill_broker()
        with d.peer() as again:
            refusal = qwp.refused(lambda: again.collect(attach(again)), 501)
        assert "died 5 times" in refusal, refusal


def one_that_waits_is_not_given_up_however_often_the_broker_dies():
    with FakeService(deaf=1, slots=1, load_ms=300) as d, d.serving() as p:
        stream = p.generate(prompt("x"), max_tokens=30, request_id=ID)
        p.wait_for(pb.Accepted, stream)
        for _ in range(7):
            d.kill_broker()                         # before an engine is ready
        with d.peer() as again:
            assert again.wait_for(pb.Accepted, attach(again)).msg.request_id == ID


class Poisoned(FakeService):
    """Brokers seem to have died while they read the journal: what ends a reading (9) has become the beginning of one (11)."""

    READING = bytes.fromhex("10000000 72257251 01000000 0b000000")

    def before_start(self):
        _, fd = next(entry for entry in self.store if "journal" in entry[0])
        data, at = os.pread(fd, 1 << 20, 0), 64
        while n := int.from_bytes(data[at:at + 4], "little"):
            if data[at + 8:at + 14] == b"\x01\0\0\0\x09\0":
                os.pwrite(fd, self.READING, at)
            at += n


def a_journal_that_brokers_die_of_is_given_up():
    with Poisoned(delay_ms=2) as d, d.serving():
        peer, stream, result = start(d)
        for _ in range(3):
            d.kill_broker()
        d.wait_line("error: the journal is given up: 3 brokers have died while they read it")
        rest(peer, stream, result)
        with d.serving() as p:
            qwp.refused(lambda: p.collect(attach(p)), 206)
            check(p.ask(prompt("y"), sampling=sampling(2), max_tokens=10), 2, prompt("y"), 10)
        d.wait_stored(["kept-journal-2"])


def a_client_that_does_not_come_back_is_not_waited_for():
    with FakeService("--linger-s", "1", delay_ms=5) as d, d.serving():
        peer, _, _ = start(d, n=100000)
        d.kill_broker()
        d.wait_line("a restored request is dropped")
        peer.close()
        with d.peer() as p:
            qwp.refused(lambda: p.collect(attach(p)), 206)
            p.wait_status(lambda s: not s.running)
        d.kill_broker()
        assert d.log().count("requests of the last broker") == 1, d.log()


def a_plain_request_is_waited_for_once():
    """Its client came back, and its connection broke again: that is the end of it, as it always was."""
    with FakeService(delay_ms=2) as d, d.serving():
        peer, stream, result = start(d, n=100000)
        d.kill_broker()
        result = rest(peer, stream, result)
        with d.peer() as p:
            p.wait_for(pb.Delta, attach(p, result.n_deltas))
        with d.peer() as p:
            p.wait_status(lambda s: not s.running)
            qwp.refused(lambda: p.collect(attach(p)), 206)


def another_user_cannot_attach():
    if os.geteuid():
        return "needs root"
    with FakeService(delay_ms=2) as d, d.serving():
        peer, stream, result = start(d)
        d.kill_broker()
        rest(peer, stream, result)

        def other():
            with d.peer() as p:
                return qwp.refused(lambda: p.collect(attach(p)), 206)

        fork_as(OTHER_UID, other)()
        check(go_on(d, result), 1, prompt("x"), 300)


def accounts_keep_their_numbers():
    """The numbers are what the engine knows them by: another account must not get one that is in use."""
    with FakeService("--journal-mib", "1", config="[daemon]\n[class all]\nmatch = any\naccounts = yes\n", delay_ms=2) as d, \
            d.serving():
        peer, stream, result = start(d, n=300, account="first")
        large = peer.generate(LARGE, sampling=sampling(2), max_tokens=1000, request_id=ID[::-1], account="second")
        peer.wait_for(pb.Delta, large)
        d.kill_broker()
        with d.peer() as p:
            for account, code, words in (("third", 401, "account 3 holds 0 bytes of the journal"),
                                         ("second", 302, "account 2 holds 2")):
                text = qwp.refused(lambda account=account: p.ask(LARGE, max_tokens=1000, account=account), code)
                assert words in text, text
        check(go_on(d, rest(peer, stream, result)), 1, prompt("x"), 300)


def what_other_numerics_made_is_not_gone_on_with():
    with FakeService(delay_ms=2, slots=1, numerics=1) as d, d.serving():
        peer, stream, result = start(d)
        waiting = peer.generate(prompt("y"), sampling=sampling(2), max_tokens=10, request_id=ID[::-1])
        peer.wait_for(pb.Accepted, waiting)
        d.command = [word.replace("numerics=1", "numerics=2") for word in d.command]
        d.kill_broker()
        with d.peer() as p:
            text = qwp.refused(lambda: p.collect(attach(p, 0)), 501)
            assert "fake-1" in text and "fake-2" in text and "tokens were made by" in text, text
            check(p.collect(attach(p, request_id=ID[::-1])), 2, prompt("y"), 10)
        rest(peer, stream, result)


def a_deadline_is_kept_across():
    with FakeService(delay_ms=5) as d, d.serving():
        peer, stream, result = start(d, n=100000, deadline_ms=3000)
        d.kill_broker()
        result = go_on(d, rest(peer, stream, result))
        assert result.usage.finish == pb.FINISH_DEADLINE, result.usage
        check(result, 1, prompt("x"), result.usage.answer_tokens)


LARGE = prompt("x" * 150000)


def the_journal_is_shared_and_full_is_said():
    """One MiB: half of it may live, half of that is one user's."""
    with FakeService("--journal-mib", "1", delay_ms=2) as d, d.serving() as p:
        stream = p.generate(LARGE, sampling=sampling(1), max_tokens=3000)
        p.wait_for(pb.Delta, stream)
        try:
            p.collect(p.generate(LARGE, max_tokens=10))
            raise AssertionError("there was room for it")
        except qwp.Refused as refused:
            assert refused.code == 302 and "bytes of the journal" in str(refused), refused
            assert int(refused.details["used"]) > 150000 and int(refused.details["limit"]) == MIB // 4, refused.details
        check(p.ask(prompt("z"), sampling=sampling(3), max_tokens=50), 3, prompt("z"), 50)
        p.send(pb.Cancel(), stream)
        p.wait_for(pb.Usage, stream)
        check(p.ask(LARGE, sampling=sampling(2), max_tokens=10), 2, LARGE, 10)


def a_journal_full_of_others_is_said_to_be():
    if os.geteuid():
        return "needs root"
    with FakeService("--journal-mib", "1", delay_ms=2) as d, d.serving() as p:
        stream = p.generate(LARGE, sampling=sampling(1), max_tokens=3000)
        p.wait_for(pb.Delta, stream)

        def other():
            with d.peer() as q:
                return qwp.refused(lambda: q.collect(q.generate(LARGE, max_tokens=10)), 401)

        assert "bytes of the journal" in fork_as(OTHER_UID, other)()


def a_request_that_outgrows_the_journal_ends_and_says_so():
    with FakeService("--journal-mib", "1", size=1000) as d, d.serving() as p:
        try:
            p.ask(prompt("x"), max_tokens=2000, credit_bytes=2 * MIB)
            raise AssertionError("it went on")
        except qwp.Refused as refused:
            assert refused.code == 302 and "bytes of the journal" in str(refused), refused
        assert len(p.ask(prompt("y"), max_tokens=100, credit_bytes=MIB).answer) == 100 * 1000


def what_is_dead_is_left_behind():
    """Many times what the journal has room for goes through it, and one request is there all the time."""
    with FakeService("--journal-mib", "1", size=4000, delay_ms=1) as d, d.serving() as p:
        peer, stream, result = start(d, n=30, n_read=3, credit_bytes=65536)
        for i in range(60):
            assert len(p.ask(prompt(f"{i}"), max_tokens=20, credit_bytes=MIB).answer) == 20 * 4000
        with d.condition:                           # the last that was stored is the only one in the end
            last = [note["FDNAME"] for note in d.notes if "FDSTORE" in note][-1]
        assert int(last.rsplit("-", 1)[1]) >= 4, last
        d.wait_stored([last])
        p.close()
        d.kill_broker()
        result = rest(peer, stream, result)
        whole = go_on(d, result, credit_bytes=MIB)
        assert len(whole.answer) == 30 * 4000, (len(whole.answer), whole.usage, d.log())


class Damaging(FakeService):
    """Its journal is changed between a death and the next start."""
    damage = None

    def before_start(self):
        if self.damage:
            name, fd = next(entry for entry in self.store if "journal" in entry[0])
            self.damage(fd)


def a_damaged_journal_is_used_as_far_as_it_goes():
    with Damaging(delay_ms=2) as d, d.serving():
        peer, stream, result = start(d, n_read=100)

        def damage(fd):
            data = os.pread(fd, 1 << 20, 0)
            at = data.index(b"60:")                 # the text of a token
            os.pwrite(fd, b"?", at)

        d.damage = damage
        d.kill_broker()
        d.damage = None
        d.wait_line(r"warning: the journal is damaged.*record at byte \d+ of \d+ has CRC")
        rest(peer, stream, result)
        with d.peer() as p:                         # its reader has more than is known: that is said, not made up
            qwp.refused(lambda: p.collect(attach(p, result.n_deltas)), 604)
            check(p.collect(attach(p, 50), result=ahead(result, 50)), 1, prompt("x"), 300)


def ahead(result, n):
    """As if n tokens had been read."""
    cut = qwp.Result()
    cut.n_deltas = n
    cut.text[pb.CHANNEL_ANSWER] = b"".join(b"%s " % word for word in result.text[pb.CHANNEL_ANSWER].split()[:n])
    return cut


def a_journal_that_is_none_is_not_used():
    with Damaging(delay_ms=2) as d, d.serving():
        peer, stream, result = start(d)
        d.damage = lambda fd: os.pwrite(fd, b"nonsense", 0)
        d.kill_broker()
        d.damage = None
        d.wait_line("cannot be used: it does not begin as a journal")
        with d.serving() as p:
            qwp.refused(lambda: p.collect(attach(p)), 206)
            check(p.ask(prompt("y"), sampling=sampling(2), max_tokens=10), 2, prompt("y"), 10)
        d.wait_stored(["kept-journal-1"])
        rest(peer, stream, result)


class Doubled(FakeService):
    """A broker seems to have died while it changed over to another file: the manager has both."""

    def before_start(self):
        _, fd = next(entry for entry in self.store if "journal" in entry[0])
        data = bytearray(os.pread(fd, 1 << 20, 0))
        data[8:16] = (0).to_bytes(8, "little")      # the generation; what follows is as old
        old = os.memfd_create("old", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.write(old, data[:200] + bytes(1000))
        fcntl.fcntl(old, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        self.store.insert(random.randint(0, len(self.store)), ("kept-journal-0", old))


def of_two_journals_the_newer_is_used():
    for _ in range(4):
        with Doubled(delay_ms=2) as d, d.serving():
            peer, stream, result = start(d)
            d.kill_broker()
            check(go_on(d, rest(peer, stream, result)), 1, prompt("x"), 300)
            d.wait_stored(["kept-journal-1"])


def a_journal_takes_its_new_size_if_what_is_in_it_fits():
    with FakeService("--journal-mib", "64", delay_ms=2) as d, d.serving():
        peer, stream, result = start(d, n=400)
        limit = lambda: d.serving().status().journal_limit_bytes
        for mib in ("2", "128"):
            d.command[d.command.index("--journal-mib") + 1] = mib
            d.kill_broker()
            assert limit() == int(mib) * MIB // 2
        d.wait_stored(["kept-journal-3"])
        check(go_on(d, rest(peer, stream, result)), 1, prompt("x"), 400)
    large = prompt("y" * (3 * MIB))
    with FakeService("--journal-mib", "64", delay_ms=2) as d, d.serving(), d.peer() as peer:
        stream = peer.generate(fds=[qwp.sealed_memfd(large)], flags=qwp.HAS_FD, sampling=sampling(5), max_tokens=100,
                               request_id=ID)
        peer.wait_for(pb.Delta, stream)
        d.command[d.command.index("--journal-mib") + 1] = "2"
        d.kill_broker()
        d.wait_line("the journal has room for 64 MiB as before")
        check(go_on(d, qwp.Result()), 5, large, 100)


def a_manager_that_is_not_there_is_no_reason_not_to_serve():
    class Gone(FakeService):
        def _spawn(self):
            os.unlink(os.path.join(self.folder, "notify"))
            return super()._spawn()

    with Gone(delay_ms=2, weights=1) as d, d.serving() as p:
        d.wait_line("the journal is not kept")
        d.wait_line("the weights are not kept")
        check(p.ask(prompt("y"), sampling=sampling(2), max_tokens=10), 2, prompt("y"), 10)


class Weights(FakeService):
    """What change() makes of the weights' fds is what the next broker finds."""

    def before_start(self):
        own = [entry for entry in self.store if entry[0] == "kept-weights"]
        self.store = [entry for entry in self.store if entry not in own] + self.change(own)


def weights_and_their_part_come_back_in_any_order():
    orders = list(itertools.permutations(range(3)))

    class Turned(Weights):
        def change(self, own):
            assert len(own) == 3, own
            return [own[i] for i in orders.pop()]

    with Turned(weights=6) as d, d.serving():
        while orders:
            d.kill_broker()
            with d.serving() as p:
                assert p.status().weights_adopted, d.log()
        assert d.stored() == ["kept-journal-1"] + 3 * ["kept-weights"]


def memory_of_a_device_is_kept_with_its_part():
    """An fd of no size and no seals."""
    with FakeService(weights=12) as d, d.serving():
        for _ in range(2):
            d.kill_broker()
            with d.serving() as p:
                assert p.status().weights_adopted, d.log()
        d.kill_engine()
        with d.peer() as p:
            assert p.wait_status(lambda s: s.engine_restarts and s.state == pb.StatusReply.SERVING).weights_adopted


def weights_without_their_part_are_loaded_again():
    class Lossy(Weights):
        def change(self, own):
            (part,) = [entry for entry in own if os.fstat(entry[1]).st_size == len("a part in main memory") + 1]
            os.close(part[1])
            return [entry for entry in own if entry != part]

    with Lossy(weights=6) as d, d.serving():
        d.kill_broker()
        with d.serving() as p:
            assert not p.status().weights_adopted
        d.wait_line("the weights that were kept cannot be used")
        assert d.stored() == ["kept-journal-1"] + 3 * ["kept-weights"]


def a_manager_that_keeps_nothing_changes_nothing():
    class Forgetful(FakeService):
        store_max = 0

    with Forgetful(delay_ms=2) as d, d.serving():
        peer, stream, result = start(d)
        d.kill_broker()
        rest(peer, stream, result)
        with d.serving() as p:
            qwp.refused(lambda: p.collect(attach(p)), 206)
            check(p.ask(prompt("y"), sampling=sampling(2), max_tokens=10), 2, prompt("y"), 10)


def a_stop_leaves_no_request_behind():
    with FakeService(delay_ms=1, weights=1) as d, d.serving() as p:
        check(p.ask(prompt("x"), sampling=sampling(1), max_tokens=10), 1, prompt("x"), 10)
        p.close()
        assert d.terminate() == 0
        d.wait_note(lambda note: "journal" in note.get("FDNAME", "") and "FDSTOREREMOVE" in note)
        d.wait_stored(["kept-weights", "kept-weights"])


if __name__ == "__main__":
    sys.exit(qwp.run([
        a_plain_request_goes_on_behind_what_was_read, nobody_notices_kills,
        the_end_of_an_answer_that_was_not_sent_is_not_lost, what_was_sent_is_closed_and_so_is_what_nobody_reads,
        a_connection_that_slept_through_it_is_as_good_as_new, a_detached_request_runs_on_without_a_reader,
        what_waits_in_the_queue_waits_again, a_prompt_in_a_memfd_is_kept_too,
        kills_while_the_model_is_loaded_lose_nothing, a_request_that_five_brokers_die_with_is_given_up,
        one_that_waits_is_not_given_up_however_often_the_broker_dies, a_journal_that_brokers_die_of_is_given_up,
        a_client_that_does_not_come_back_is_not_waited_for, a_plain_request_is_waited_for_once,
        another_user_cannot_attach, accounts_keep_their_numbers, what_other_numerics_made_is_not_gone_on_with, a_deadline_is_kept_across,
        the_journal_is_shared_and_full_is_said, a_journal_full_of_others_is_said_to_be,
        a_request_that_outgrows_the_journal_ends_and_says_so, what_is_dead_is_left_behind,
        a_damaged_journal_is_used_as_far_as_it_goes, a_journal_that_is_none_is_not_used,
        of_two_journals_the_newer_is_used, a_journal_takes_its_new_size_if_what_is_in_it_fits,
        weights_and_their_part_come_back_in_any_order, memory_of_a_device_is_kept_with_its_part, weights_without_their_part_are_loaded_again,
        a_manager_that_is_not_there_is_no_reason_not_to_serve, a_manager_that_keeps_nothing_changes_nothing, a_stop_leaves_no_request_behind]))
