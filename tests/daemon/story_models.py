#!/usr/bin/env python3
"""story_models.py - another model without a restart, with real ones: answers, the prefix cache, its files, what is published."""
import os
import shutil
import subprocess
import sys

import qwp
from harness import WAIT_S, Qwend, golden, tiny_model
from qwp import pb
from story_cache import RULES, SECOND, ask, outcome
from story_spill import Folder

LONG = [("system", RULES), ("user", RULES * 3)]   # long enough for a file of its own
AFTER = LONG + SECOND[2:]
GREEDY = pb.Sampling(temperature=0.0)
ALL = "[class all]\nmatch = any\nadmin = drain,reload,kill\n"
OPTIONS = ("--backend", "cpu", "--context", "4096", "--slots", "2", "--cache-mib", "64")
SUM = qwp.prompt("What is 2 + 3?")


def demo():
    return golden("demo.gguf")


def use(peer, path):
    return peer.wait_for(pb.Used, peer.open(pb.Use(model_path=path))).msg


def sum_of(peer):
    return peer.ask(SUM, sampling=GREEDY, max_tokens=30, thinking=pb.THINKING_OFF).answer


def stream(peer):
    return peer.generate(qwp.prompt("Go on."), sampling=pb.Sampling(seed=7), max_tokens=600, ignore_eos=True, want_ids=True)


def what_runs_ends_as_it_would_have_and_what_waits_is_the_new_ones():
    with Qwend(demo(), *OPTIONS, config=ALL) as qwend, qwp.Peer(qwend.socket) as peer:
        said = sum_of(peer)
        assert "5" in said, said
    with Qwend(tiny_model(), *OPTIONS, config=ALL) as qwend, qwp.Peer(qwend.socket) as peer, qwp.Peer(qwend.socket) as other:
        want = peer.collect(stream(peer)).ids
        running, use_stream = stream(peer), other.open(pb.Use(model_path=demo()))
        other.wait_for(pb.UseProgress, use_stream, match=lambda p: p.stage == pb.UseProgress.DRAINING and p.left == 1)
        assert sum_of(other) == said
        assert peer.collect(running).ids == want
        used = other.wait_for(pb.Used, use_stream).msg
        assert used.model.file == "demo.gguf" and used.text.startswith("demo.gguf is served, after "), used
        told = peer.expect(pb.Served, 0).msg
        assert told.model == used.model and told.backend == "cpu" and told.context == 4096, told
        with qwp.Peer(qwend.socket) as late:
            assert late.welcome.model == used.model
        status = peer.status()
        assert status.model == used.model and status.model_path == demo() and not status.engine_restarts, status
        assert use(peer, tiny_model()).model.file == os.path.basename(tiny_model())
        assert peer.collect(stream(peer)).ids == want


def a_bad_file_changes_nothing():
    with Folder() as folder, Qwend(tiny_model(), *OPTIONS, config=ALL) as qwend, qwp.Peer(qwend.socket) as peer:
        pid = qwend.engine_pid()
        os.mkdir(folder.path)
        cut, short = os.path.join(folder.path, "cut.gguf"), os.path.join(folder.path, "short.gguf")
        shutil.copy(demo(), cut)
        os.truncate(cut, os.path.getsize(demo()) - 100)
        shutil.copy(demo(), short)
        os.truncate(short, 50)
        running = stream(peer)
        for path, words in [(cut, "but the file has only"), (short, "takes"), (golden("README.md"), "not a GGUF file")]:
            said = qwp.refused(lambda: use(peer, path), 201)    # noqa: B023
            assert path[:200] in said and words in said and "nothing was changed" in said, said
        assert len(peer.collect(running).ids) == 600 and qwend.engine_pid() == pid


def nothing_of_one_models_cache_is_the_others():
    with Folder() as folder:
        rules = os.path.join(folder.root, "rules")
        with open(rules, "w", encoding="ascii") as f:
            f.write(RULES)
        config = ALL + f"[public rules]\nfile = {rules}\n"
        with Qwend(tiny_model(), *OPTIONS, "--cache-dir", folder.path, config=config) as qwend, \
                qwp.Peer(qwend.socket) as peer:
            def published():
                status = peer.wait_status(lambda s: all(p.state == pb.PublicPrefix.READY for p in s.publics))
                return status.publics[0].tokens

            n_tiny, want = published(), outcome(ask(peer, AFTER, no_cache=True))
            ask(peer, LONG)
            assert ask(peer, AFTER).usage.cached_tokens > n_tiny
            use(peer, demo())
            n_demo, fresh = published(), outcome(ask(peer, AFTER, no_cache=True))
            assert n_demo != n_tiny and fresh != want
            cold = ask(peer, AFTER)
            assert outcome(cold) == fresh and cold.usage.cached_tokens <= n_demo, cold.usage
            use(peer, tiny_model())
            again = ask(peer, AFTER)        # what the first one left was there all the time
            assert outcome(again) == want and again.usage.cached_tokens > n_tiny, again.usage


def qwenctl_names_models_and_marks_the_served_one():
    with Folder() as folder, Qwend(tiny_model(), *OPTIONS, config=ALL) as qwend:
        models = os.path.join(folder.root, "qwend/models")
        os.makedirs(models)
        shutil.copy(demo(), os.path.join(models, "Demo-Q8_0.gguf"))
        env = {**os.environ, "XDG_DATA_HOME": folder.root}
        done = qwend.ctl("use", "demo", env=env)
        assert done.returncode == 0 and done.stdout.startswith("Demo-Q8_0.gguf is served, after "), done
        assert f"start qwend with --model {models}/Demo-Q8_0.gguf" in done.stdout, done
        assert "* " in qwend.ctl("models", env=env).stdout
        assert "5" in qwend.ctl("ask", "--no-think", "What is 2 + 3?").stdout
        done = qwend.ctl("use", "demo", env=env)
        assert (done.returncode, done.stdout) == (0, f"{models}/Demo-Q8_0.gguf is served already\n"), done


def the_configurations_line_is_named():
    with Folder() as folder:
        path = os.path.join(folder.root, "qwend.conf")
        with open(path, "w", encoding="ascii") as f:
            f.write(f"[daemon]\n# the tiny one\nmodel = {tiny_model()}\n{ALL}")
        with Qwend(tiny_model(), *OPTIONS) as other:
            words = [w for w in other.words if w not in ("--model", tiny_model())]
            words[words.index("--config") + 1] = path
            words[words.index("--socket") + 1] = socket = os.path.join(folder.root, "sock")
        with subprocess.Popen(words, stderr=subprocess.PIPE) as process:
            for line in process.stderr:
                if line.startswith(b"ready "):
                    break
            with qwp.Peer(socket) as peer:
                assert use(peer, demo()).text.endswith(f"to keep it, write model = {demo()} in line 3 of {path}")
                assert "until" not in use(peer, tiny_model()).text      # what is configured needs no advice
            process.terminate()
            assert process.wait(WAIT_S) == 0


if __name__ == "__main__":
    sys.exit(qwp.run([
        what_runs_ends_as_it_would_have_and_what_waits_is_the_new_ones, a_bad_file_changes_nothing,
        nothing_of_one_models_cache_is_the_others, qwenctl_names_models_and_marks_the_served_one,
        the_configurations_line_is_named]))
