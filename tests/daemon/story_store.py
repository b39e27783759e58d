"""story_store.py - the broker is killed again and again, now and then with its engine, under streams of the demo model that
are read through libqwend; nobody can tell from the answers.

Each answer was had alone and undisturbed first.  QWEND_KILLS: how many (20; 200 is what the service promises)."""

import os
import sys
import threading

import qwp
from fake import gather
from fakesd import Kills, Service
from harness import golden
from libqwend import END, OPT_IGNORE_EOS, OPT_MIN_P, OPT_TEMPERATURE, OPT_THINKING, OPT_TOP_K, OPT_TOP_P, Client
from qwp import pb
from story_cache import RULES
from story_public import READY, Site, cached, settled

KILLS = int(os.environ.get("QWEND_KILLS", "20"))
UPGRADES = 10
TOKENS = 300
# hot, so that they are long and differ whatever the model would rather say
HOT = {OPT_TEMPERATURE: 3.0, OPT_TOP_P: 1.0, OPT_MIN_P: 0.0}
ASKED = [("Why is the sky blue?", 1), ("What is a file?", 2), ("Write a poem about rain.", 11), ("Why do cats purr?", 23),
         ("List the planets.", 5), ("Who wrote Hamlet?", 7)]


def ask(d, i, detachable, on_text=lambda: None):
    client, (text, seed) = Client(d), ASKED[i]
    client.generate(text, TOKENS, detachable, seed=seed, floats=HOT, more={OPT_IGNORE_EOS: 1, OPT_THINKING: 0, OPT_TOP_K: 0})
    answer, ended = "", None
    while ended is None:
        more, ended = client.read(1)
        answer += more
        on_text()
    assert ended == END, (i, ended, client.lib.qwend_error(client.q), d.log())
    client.close()
    return answer


def answers_are_the_same_under_fire():
    with Service(golden("demo.gguf"), "--slots", "4") as d:
        with d.peer() as p:
            p.wait_status(lambda s: s.state == pb.StatusReply.SERVING)
        alone = [ask(d, i, 0) for i in range(len(ASKED))]
        assert len(set(alone)) == len(ASKED) and all(len(answer) > TOKENS for answer in alone), alone
        kills = Kills(d, KILLS, with_engine=lambda i: i % 5 == 4)

        def one(i):
            n = 0
            while not kills.over:
                answer = ask(d, i, n % 2, lambda: kills.on_text(i))
                assert answer == alone[i], (i, n, len(answer), len(os.path.commonprefix([answer, alone[i]])))
                n += 1
            kills.leave(i)
            return n

        counts = gather([lambda i=i: one(i) for i in range(len(ASKED))] + [lambda: kills.run(0.2)], 120 + 10 * KILLS)
        assert kills.done == KILLS and all(counts[:-1]), counts
        log = d.log()
        assert log.count("weights taken over") == sum("serves" in line for line in log.splitlines()) - 1, log
        print(f"# {KILLS} kills, {sum(counts[:-1])} answers of {TOKENS} tokens")


def qwenctl_does_not_notice():
    """Three of them one after another, whatever they are at when the broker dies: also before it has said a word."""
    words = ["ask", "--think", "-n", "200", "What is 47 * 86?"]
    with Service(golden("demo.gguf"), "--slots", "4") as d:
        with d.peer() as p:
            p.wait_status(lambda s: s.state == pb.StatusReply.SERVING)
        alone = d.ctl(*words)
        assert alone.returncode == 0 and "4042" in alone.stdout, alone
        kills = Kills(d, KILLS // 2, with_engine=lambda i: i % 5 == 4)

        def one(i):
            n = 0
            while not kills.over:
                kills.on_text(i)
                done = d.ctl(*words)
                assert done.returncode == 0 and done.stdout == alone.stdout, (n, done, d.log())
                n += 1
            kills.leave(i)
            return n

        counts = gather([lambda i=i: one(i) for i in range(3)] + [lambda: kills.run(0.1)], 120 + 10 * KILLS)
        print(f"# {kills.done} kills, {sum(counts[:-1])} times qwenctl ask")


def an_upgrade_reads_nothing_again():
    with Service(golden("demo.gguf"), "--slots", "4") as d, d.peer() as p:
        before = p.wait_status(lambda s: s.state == pb.StatusReply.SERVING)
        alone = [ask(d, i, 0) for i in range(len(ASKED))]
        over, moved = [], threading.Event()

        def one(i):
            while not over:
                assert ask(d, i, i % 2, moved.set) == alone[i], i

        def upgrades():
            for _ in range(UPGRADES):
                moved.clear()
                assert moved.wait(60)
                with d.peer() as q:                 # and a Score, which nobody will hear the answer of
                    q.open(pb.Score(body=qwp.prompt("x", continuation="y " * 2000)))
                    done = d.ctl("upgrade")
                assert done.returncode == 0, (done, d.log())
            over.append(True)

        gather([lambda i=i: one(i) for i in range(len(ASKED))] + [upgrades], 120)
        with d.peer() as q:
            after = q.wait_status(lambda s: not s.running)
            assert after.engine_pid == before.engine_pid and not after.weights_adopted, after
            assert ask(d, 0, 0) == alone[0]
        assert d.n_starts == 1 and d.log().count("goes on under this broker") == UPGRADES, d.log()


def an_upgrade_publishes_again_to_the_engine_that_stays():
    site = Site()
    with site, site.start(rules=RULES) as d:
        with qwp.Peer(d.socket) as p:
            before = settled(p)["rules"]
            pid = p.status().engine_pid
        for _ in range(3):
            assert d.ctl("upgrade").returncode == 0, d.log()
            with qwp.Peer(d.socket) as p:
                after = settled(p)["rules"]
                assert after.state == READY and after.tokens == before.tokens, after
                assert p.status().engine_pid == pid
        with qwp.Peer(d.socket) as p:
            assert cached(p, RULES) > 0


if __name__ == "__main__":
    sys.exit(qwp.run([answers_are_the_same_under_fire, qwenctl_does_not_notice, an_upgrade_reads_nothing_again,
                      an_upgrade_publishes_again_to_the_engine_that_stays]))
