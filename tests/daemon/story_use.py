"""story_use.py - another model without a restart: what was asked before is answered by the old one, what comes by the new one,
and whatever is wrong with the new one leaves the old one serving.  On the fake engine, whose models are files' names."""

import os
import signal
import sys
import tempfile

import qwend_pb2 as pb
import qwp
from fake import Fake, check, expected, sampling
from fakesd import FakeService

ALL = "[class all]\nmatch = any\nadmin = drain,reload,kill\n"
STAGE = pb.UseProgress.Stage
CHECKING, DRAINING, LOADING, RETURNING = (STAGE.Value(n) for n in ("CHECKING", "DRAINING", "LOADING", "RETURNING"))
ID = bytes(range(16))


def model(d, **behaviour):
    """A file whose name tells the fake engine what to be.  reason=N makes its answers tell which model they are of."""
    path = os.path.join(d.folder, "fake:" + ",".join(f"{k}={v}" for k, v in behaviour.items()))
    with open(path, "w", encoding="ascii"):
        return path


def begin(peer, path):
    return peer.open(pb.Use(model_path=path))


def reach(peer, stream, stage, match=lambda progress: True):
    return peer.wait_for(pb.UseProgress, stream, match=lambda p: p.stage == stage and match(p)).msg


def end(peer, stream):
    return peer.wait_for(pb.Used, stream).msg


def use(peer, path):
    return end(peer, begin(peer, path))


def refused_use(peer, path, code):
    return qwp.refused(lambda: use(peer, path), code)


def running(peer, seed, n, **fields):
    """A stream that has its first token."""
    stream, result = peer.generate(b"x", sampling=sampling(seed), max_tokens=n, **fields), qwp.Result()
    while not result.n_deltas:
        result.add(peer.next_frame(stream))
    return stream, result


def check_reasoned(result, seed, n, reason):
    """It is of the model that reasons first."""
    reasoned = result.text[pb.CHANNEL_REASONING].decode()
    assert reasoned + result.answer == expected(seed, b"x", n), result.answer[:200]
    assert reasoned.count(":") == reason, reasoned


def what_was_asked_before_is_the_old_models_and_what_comes_the_new_ones():
    with Fake(config=ALL, slots=2, delay_ms=4) as d, d.serving() as p, d.peer() as admin, d.peer() as q:
        old = [running(p, 1, 400), running(p, 2, 400)]
        waiting = [p.generate(b"x", sampling=sampling(i), max_tokens=20, priority=pb.PRIORITY_BATCH) for i in (3, 4)]
        use_stream = begin(admin, model(d, numerics=2, reason=3))
        reach(admin, use_stream, DRAINING, lambda progress: progress.left == 4)
        fresh = q.generate(b"x", sampling=sampling(5), max_tokens=20, priority=pb.PRIORITY_INTERACTIVE)
        accepted = q.expect(pb.Accepted, fresh).msg
        assert accepted.position in (2, 3) and d.peer().status().queued == accepted.position, accepted
        for i, (stream, result) in enumerate(old):
            check(p.collect(stream, result=result), 1 + i, b"x", 400)
        for i, stream in enumerate(waiting):
            check(p.collect(stream), 3 + i, b"x", 20)
        check_reasoned(q.collect(fresh), 5, 20, 3)
        used = end(admin, use_stream)
        assert used.model.numerics_id == "fake-2" and not used.already and ", until qwend is stopped" in used.text, used
        status = p.status()
        assert status.model.numerics_id == "fake-2" and not status.HasField("use") and not status.engine_restarts, status


def the_queue_is_shared_as_ever_once_the_new_model_serves():
    with Fake(config=ALL, slots=1, delay_ms=2) as d, d.serving() as p, d.peer() as admin:
        stream, result = running(p, 1, 300)
        use_stream = begin(admin, model(d, reason=1))
        reach(admin, use_stream, DRAINING)
        batch = p.generate(b"x", sampling=sampling(2), max_tokens=10, priority=pb.PRIORITY_BATCH)
        gone = p.generate(b"x", sampling=sampling(3), max_tokens=10)
        first = p.generate(b"x", sampling=sampling(4), max_tokens=10, priority=pb.PRIORITY_INTERACTIVE)
        p.send(pb.Cancel(), gone)
        assert p.collect(gone).usage.finish == pb.FINISH_CANCEL
        check(p.collect(stream, result=result), 1, b"x", 300)
        check_reasoned(p.collect(first), 4, 10, 1)
        check_reasoned(p.collect(batch), 2, 10, 1)
        end(admin, use_stream)


def a_file_that_cannot_be_loaded_costs_nobody_anything():
    with Fake("--load-timeout-s", "1", config=ALL, delay_ms=2, slots=2) as d, d.serving() as p, d.peer() as admin:
        stream, result = running(p, 1, 500)
        pid = d.engine_pid()
        for behaviour, code, words in [({"unfit": "no GGUF at all"}, 201, "nothing was changed: no GGUF at all"),
                                       ({"mib": 2000}, 502, "take 2000 MiB, this machine can give them 1024 MiB"),
                                       ({"unfit_how": 1}, 504, "killed by signal 6"),
                                       ({"unfit_how": 2}, 504, "not in engine.proto"),
                                       ({"unfit_how": 3}, 504, "did not come to an end in time"),
                                       ({"unfit_how": 4}, 504, "did not come to an end in time")]:
            path = model(d, **behaviour)
            use_stream = begin(admin, path)
            reach(admin, use_stream, CHECKING)
            check(p.ask(b"x", sampling=sampling(2), max_tokens=5), 2, b"x", 5)      # nobody waits for that
            said = qwp.refused(lambda: admin.expect(pb.Used, use_stream), code)     # noqa: B023
            assert words in said and path in said, said
        check(p.collect(stream, result=result), 1, b"x", 500)
        assert not result.events and d.engine_pid() == pid


def what_is_no_file_for_the_daemon_is_refused_with_the_reason():
    with Fake(config=ALL) as d, d.serving() as p:
        os.mkfifo(fifo := os.path.join(d.folder, "fifo"))
        for path, words in [("", "must begin at the root"), ("x.gguf", "x.gguf: must begin at the root"),
                            ("/nowhere/x.gguf", "/nowhere/x.gguf: No such file or directory, for the daemon's user"),
                            (d.folder, "is no file"), (fifo, "is no file")]:
            said = refused_use(p, path, 201)
            assert words in said, said
        assert "missing" in qwp.refused(lambda: p.call(pb.Use(), pb.Used), 201)
        assert p.status().state == pb.StatusReply.SERVING


def long_names_are_cut_between_characters():
    with Fake(config=ALL) as d, d.serving() as p:
        for i in range(2):
            x, name = "x" * i, "\N{LATIN SMALL LETTER E WITH ACUTE}" * 100
            said = refused_use(p, model(d, unfit=f"{x}no{name}", a=1), 201)
            assert "nothing was changed" in said and "\ufffd" not in said, said
            path = os.path.join(d.folder, "fake:" + x + name)
            assert "No such file" in refused_use(p, path + name[:9] + "/" + name, 201)
            with open(path, "w", encoding="ascii"):
                used = use(p, path)
            assert used.text.endswith("start qwend with --model its path"), used
            assert used.text.startswith(d.folder[:20]) and use(p, path).already


def who_may_not_reload_may_not_use():
    with Fake() as d, d.serving() as p:
        if os.geteuid():
            assert "may not reload" in refused_use(p, "/x", 301)
    with Fake(config="[class all]\nmatch = any\nadmin = drain,kill\n") as d, d.serving() as p:
        assert "may not reload" in refused_use(p, "/x", 301)
        assert "may not reload" in qwp.refused(lambda: p.call(pb.Use(cancel=True), pb.Done), 301)


def the_same_file_is_served_already():
    with Fake(config=ALL) as d, d.serving() as p:
        path = model(d, numerics=3)
        assert not use(p, path).already
        pid = d.engine_pid()
        os.link(path, link := os.path.join(d.folder, "fake:other"))
        for again in (path, link):
            used = use(p, again)
            assert used.already and "is served already" in used.text and used.model.numerics_id == "fake-3", used
        assert d.engine_pid() == pid
        os.remove(path)         # another file of that name is another model
        assert not use(p, model(d, numerics=3)).already and d.engine_pid() != pid


def there_is_one_at_a_time():
    with Fake(config=ALL, delay_ms=2) as d, d.serving() as p, d.peer() as admin, d.peer() as other:
        stream, result = running(p, 1, 600)
        path = model(d, reason=2)
        use_stream = begin(admin, path)
        reach(admin, use_stream, DRAINING)
        said = refused_use(other, model(d, reason=9), 404)
        assert path in said and "ask again when that is done" in said, said
        assert path in qwp.refused(lambda: other.call(pb.Admin(verb=pb.Admin.UPGRADE), pb.Done), 404)
        status = other.status()
        assert status.use_path == path and status.use.stage == DRAINING and status.use.left == 1, status
        assert status.state == pb.StatusReply.SERVING
        assert other.call(pb.Admin(verb=pb.Admin.RELOAD), pb.Done).text.startswith("reloaded")
        assert len(other.call(pb.Tokenize(text="abc"), pb.Tokens).ids) == 3     # by the old one
        check(p.collect(stream, result=result), 1, b"x", 600)
        end(admin, use_stream)


def a_service_that_is_held_meanwhile_changes_its_model_still():
    with Fake(config=ALL, delay_ms=2) as d, d.serving() as p, d.peer() as admin, d.peer() as q:
        stream, result = running(p, 1, 400)
        use_stream = begin(admin, model(d, reason=2))
        reach(admin, use_stream, DRAINING)
        later = q.generate(b"x", sampling=sampling(2), max_tokens=10)
        q.wait_for(pb.Accepted, later)
        assert "1 that waited" in admin.call(pb.Admin(verb=pb.Admin.DRAIN), pb.Done).text
        qwp.refused(lambda: q.collect(later), 403)
        check(p.collect(stream, result=result), 1, b"x", 400)
        end(admin, use_stream)
        admin.call(pb.Admin(verb=pb.Admin.RESUME), pb.Done)
        check_reasoned(q.ask(b"x", sampling=sampling(3), max_tokens=10), 3, 10, 2)


def it_can_be_called_off_while_the_old_model_is_there():
    with Fake(config=ALL, delay_ms=2) as d, d.serving() as p, d.peer() as admin, d.peer() as q, d.peer() as other:
        assert "no other model" in qwp.refused(lambda: other.call(pb.Use(cancel=True), pb.Done), 206)
        pid = d.engine_pid()
        for checks in (True, False):
            stream, result = running(p, 1, 400)
            use_stream = begin(admin, model(d, reason=2, check_ms=100000 if checks else 0))
            reach(admin, use_stream, CHECKING if checks else DRAINING)
            fresh = q.generate(b"x", sampling=sampling(2), max_tokens=10)
            if checks:
                admin.send(pb.Cancel(), use_stream)
            else:
                assert other.call(pb.Use(cancel=True), pb.Done).text
            qwp.refused(lambda: end(admin, use_stream), 603)    # noqa: B023
            check(q.collect(fresh), 2, b"x", 10)
            check(p.collect(stream, result=result), 1, b"x", 400)
        assert d.engine_pid() == pid
        use_stream = begin(admin, model(d, reason=2, load_ms=400))
        reach(admin, use_stream, LOADING, lambda progress: progress.load_permille)
        admin.send(pb.Cancel(), use_stream)
        assert "too late" in qwp.refused(lambda: other.call(pb.Use(cancel=True), pb.Done), 404)
        assert end(admin, use_stream).model


def it_goes_on_when_who_asked_has_gone():
    with Fake(config=ALL, delay_ms=2) as d, d.serving() as p:
        stream, result = running(p, 1, 100)
        with d.peer() as admin:
            reach(admin, begin(admin, model(d, numerics=2)), DRAINING)
        check(p.collect(stream, result=result), 1, b"x", 100)
        p.wait_status(lambda s: s.model.numerics_id == "fake-2" and s.state == pb.StatusReply.SERVING)
        with d.peer() as admin:
            reach(admin, begin(admin, model(d, fail="no good", load_ms=200)), LOADING)
        status = p.wait_status(lambda s: "no good" in s.note)
        assert "the old model serves again" in status.note and status.model.numerics_id == "fake-2", status


def one_that_fails_to_load_brings_the_old_one_back():
    for mib, adopted in [(1, True), (300, False)]:      # memory for both, or perhaps not
        with Fake(config=ALL, weights=1, numerics=1, delay_ms=2) as d, d.serving() as p, d.peer() as admin:
            for behaviour, code, words in [({"fail": "NaN in layer 3", "fail_code": 503}, 503, "NaN in layer 3"),
                                           ({"load_die": 1}, 501, "its engine killed by signal 9")]:
                stream, result = running(p, 1, 50)
                use_stream = begin(admin, model(d, mib=mib, load_ms=40, weights=1, **behaviour))
                reach(admin, use_stream, DRAINING)
                fresh = p.generate(b"x", sampling=sampling(2), max_tokens=10)
                check(p.collect(stream, result=result), 1, b"x", 50)
                reach(admin, use_stream, RETURNING)
                said = qwp.refused(lambda: end(admin, use_stream), code)    # noqa: B023
                assert words in said and "the old model serves again" in said, said
                check(p.collect(fresh), 2, b"x", 10)
                status = p.status()
                assert status.model.numerics_id == "fake-1" and status.weights_adopted == adopted, status


def an_old_one_that_is_slow_to_come_back_is_waited_for():
    marker = os.path.join(tempfile.gettempdir(), f"qwend-story-use-{os.getpid()}")
    with Fake(config=ALL, numerics=1, fail="short of memory", fail_if=marker) as d, d.serving() as p, d.peer() as admin:
        with open(marker, "w", encoding="ascii"):
            use_stream = begin(admin, model(d, fail="no good"))
        try:
            line = len(d.lines)
            reach(admin, use_stream, RETURNING)
            d.wait_line("short of memory", line)
        finally:
            os.remove(marker)
        assert "no good" in qwp.refused(lambda: end(admin, use_stream), 504)
        check(p.ask(b"x", sampling=sampling(2), max_tokens=5), 2, b"x", 5)


def engines_that_hang_on_the_way_are_killed():
    with Fake("--load-timeout-s", "1", config=ALL, numerics=1, stay=1) as d, d.serving() as p, d.peer() as admin:
        use_stream = begin(admin, model(d, load_ms=60000))
        reach(admin, use_stream, LOADING)
        d.wait_line("is killed: it closed its socket and lives on")
        reach(admin, use_stream, RETURNING)
        assert "no progress while loading" in qwp.refused(lambda: end(admin, use_stream), 501)
        check(p.ask(b"x", sampling=sampling(2), max_tokens=5), 2, b"x", 5)


def the_store_has_one_models_weights_and_none_while_memory_is_short():
    kept = ["kept-journal-1"]
    for mib, meanwhile in [(1, 2), (300, 0)]:
        with FakeService(config=ALL, numerics=1, weights=1) as d, d.serving() as p:
            weights = ["kept-weights"] * 2
            d.wait_stored(kept + weights)
            use_stream = begin(p, model(d, mib=mib, numerics=2, weights=1, load_ms=1000))
            reach(p, use_stream, LOADING)
            d.wait_stored(kept + weights[:meanwhile])
            end(p, use_stream)
            d.wait_stored(kept + weights)
            d.kill_broker()
            with d.serving() as q:
                assert q.status().model.numerics_id == "fake-2" and q.status().weights_adopted
                use(q, model(d, numerics=3))    # which leaves none
                d.wait_stored(kept)


def an_engine_that_dies_while_it_drains_is_replaced_by_its_like():
    with Fake(config=ALL, delay_ms=3) as d, d.serving() as p, d.peer() as admin, d.peer() as q:
        stream, result = running(p, 1, 400)
        use_stream = begin(admin, model(d, reason=2))
        reach(admin, use_stream, DRAINING)
        fresh = q.generate(b"x", sampling=sampling(2), max_tokens=10)
        d.kill_engine()
        check(p.collect(stream, result=result), 1, b"x", 400)
        check_reasoned(q.collect(fresh), 2, 10, 2)
        end(admin, use_stream)


def a_model_that_cannot_serve_is_replaced_without_a_restart():
    with Fake(config=ALL, fail="the file is broken") as d, d.peer() as p:
        p.wait_status(lambda s: s.state == pb.StatusReply.FAILED)
        qwp.refused(lambda: p.ask(b"x", max_tokens=1), 504)
        assert use(p, model(d, numerics=2)).model.numerics_id == "fake-2"
        check(p.ask(b"x", sampling=sampling(2), max_tokens=5), 2, b"x", 5)


def a_held_service_changes_its_model_too():
    with Fake(config=ALL) as d, d.serving() as p:
        p.call(pb.Admin(verb=pb.Admin.DRAIN), pb.Done)
        assert use(p, model(d, numerics=2)).model.numerics_id == "fake-2"
        qwp.refused(lambda: p.ask(b"x", max_tokens=1), 403)
        p.call(pb.Admin(verb=pb.Admin.RESUME), pb.Done)
        check(p.ask(b"x", sampling=sampling(2), max_tokens=5), 2, b"x", 5)


def a_service_that_is_stopped_does_not_wait_for_it():
    for stage in (CHECKING, DRAINING, LOADING):
        with Fake(config=ALL, delay_ms=2) as d, d.serving() as p, d.peer() as admin:
            stream, result = running(p, 1, 100)
            use_stream = begin(admin, model(d, load_ms=60000, check_ms=60000 if stage == CHECKING else 0))
            reach(admin, use_stream, stage)
            d.process.send_signal(signal.SIGTERM)
            qwp.refused(lambda: end(admin, use_stream), 403)    # noqa: B023
            check(p.collect(stream, result=result), 1, b"x", 100)
            assert d.wait_exit() == 0


def it_is_said_where_the_model_is_configured():
    with Fake(config=ALL) as d, d.serving() as p:
        assert use(p, path := model(d, numerics=2)).text.endswith(f"start qwend with --model {path}")


def a_killed_broker_goes_on_with_the_model_that_was_used():
    with FakeService(config=ALL, numerics=1, delay_ms=2, weights=1) as d:
        with d.serving() as p:
            use(p, model(d, numerics=2, reason=3, weights=1, delay_ms=2))
            running(p, 1, 600, request_id=ID)
            d.kill_broker()     # while its client is there
        with d.serving() as p:
            assert p.status().model.numerics_id == "fake-2" and p.status().weights_adopted
            check_reasoned(p.collect(p.open(pb.Attach(request_id=ID, next_seq=0))), 1, 600, 3)
            use(p, model(d, numerics=1, delay_ms=2))            # a file, not what the configuration names
        d.kill_broker()
        with d.serving() as p:
            assert p.status().model.numerics_id == "fake-1" and p.status().model_path.startswith(d.folder)


def a_broker_that_is_killed_on_the_way_has_the_old_model():
    with FakeService(config=ALL, numerics=1, delay_ms=2, weights=1) as d:
        for stage in (CHECKING, DRAINING, LOADING):
            ids = bytes([stage] * 16), bytes([stage + 100] * 16)
            with d.serving() as p, d.peer() as admin:
                running(p, 1, 60 if stage == LOADING else 600, request_id=ids[0])
                use_stream = begin(admin, model(d, numerics=2, reason=2, load_ms=60000,
                                                check_ms=60000 if stage == CHECKING else 0))
                reach(admin, use_stream, min(stage, DRAINING))
                fresh = p.generate(b"x", sampling=sampling(2), max_tokens=10, request_id=ids[1])
                p.wait_for(pb.Accepted, fresh)
                if stage == LOADING:
                    reach(admin, use_stream, LOADING)
                d.kill_broker()
            with d.serving() as p:
                assert p.status().model.numerics_id == "fake-1" and not p.status().HasField("use")
                if stage != LOADING:        # then it had ended, and nobody keeps it
                    check(p.collect(p.open(pb.Attach(request_id=ids[0], next_seq=0))), 1, b"x", 600)
                check(p.collect(p.open(pb.Attach(request_id=ids[1], next_seq=0))), 2, b"x", 10)


def a_configuration_that_was_changed_counts_more():
    with FakeService(config=ALL, numerics=1) as d:
        with d.serving() as p:
            use(p, model(d, numerics=2))
        d.command[d.command.index("--model") + 1] = model(d, numerics=3)
        d.kill_broker()
        with d.serving() as p:
            assert p.status().model.numerics_id == "fake-3"


def what_was_used_and_cannot_be_loaded_any_more_gives_way_to_the_configuration():
    with FakeService(config=ALL, numerics=1) as d:
        marker = os.path.join(d.folder, "marker")
        with d.serving() as p:
            use(p, model(d, numerics=2, fail="gone", fail_if=marker.replace("/", "!")))
        with open(marker, "w", encoding="ascii"):
            d.kill_broker()
        with d.peer() as p:
            status = p.wait_status(lambda s: s.state == pb.StatusReply.SERVING)
            assert status.model.numerics_id == "fake-1" and "gone" in status.note, status
        d.kill_broker()
        with d.serving() as p:
            assert p.status().model.numerics_id == "fake-1" and not p.status().note


def an_upgrade_keeps_it():
    with Fake(config=ALL, numerics=1, delay_ms=2) as d:
        with d.serving() as p:
            use(p, model(d, numerics=2, delay_ms=2))
        done = d.ctl("upgrade")
        assert done.returncode == 0, done
        with d.serving() as p:
            assert p.status().model.numerics_id == "fake-2"
            d.kill_engine()
            check(p.ask(b"x", sampling=sampling(2), max_tokens=5), 2, b"x", 5)
            assert p.status().model.numerics_id == "fake-2"


if __name__ == "__main__":
    sys.exit(qwp.run([
        what_was_asked_before_is_the_old_models_and_what_comes_the_new_ones,
        the_queue_is_shared_as_ever_once_the_new_model_serves, a_file_that_cannot_be_loaded_costs_nobody_anything,
        what_is_no_file_for_the_daemon_is_refused_with_the_reason, long_names_are_cut_between_characters,
        who_may_not_reload_may_not_use,
        the_same_file_is_served_already, there_is_one_at_a_time,
        a_service_that_is_held_meanwhile_changes_its_model_still, it_can_be_called_off_while_the_old_model_is_there,
        it_goes_on_when_who_asked_has_gone, one_that_fails_to_load_brings_the_old_one_back,
        engines_that_hang_on_the_way_are_killed, the_store_has_one_models_weights_and_none_while_memory_is_short,
        an_old_one_that_is_slow_to_come_back_is_waited_for, an_engine_that_dies_while_it_drains_is_replaced_by_its_like,
        a_model_that_cannot_serve_is_replaced_without_a_restart, a_held_service_changes_its_model_too,
        a_service_that_is_stopped_does_not_wait_for_it, it_is_said_where_the_model_is_configured,
        a_killed_broker_goes_on_with_the_model_that_was_used, a_broker_that_is_killed_on_the_way_has_the_old_model,
        a_configuration_that_was_changed_counts_more,
        what_was_used_and_cannot_be_loaded_any_more_gives_way_to_the_configuration, an_upgrade_keeps_it]))
