"""story_store.py - the broker is killed again and again, now and then with its engine, under streams of the demo model that
are read through libqwend; nobody can tell from the answers.

Each answer was had alone and undisturbed first.  QWEND_KILLS: how many (20; 200 is what the service promises)."""

import os
import sys

import qwp
from fake import gather
from fakesd import Kills, Service
from harness import golden
from libqwend import END, OPT_IGNORE_EOS, OPT_THINKING, Client
from qwp import pb

KILLS = int(os.environ.get("QWEND_KILLS", "20"))
TOKENS = 300
ASKED = [("Why is the sky blue?", {"temperature": 0.0}), ("What is a file?", {"temperature": 0.0}),
         ("Write a poem about rain.", {"temperature": 1.0, "seed": 11}), ("Why do cats purr?", {"temperature": 0.8, "seed": 23}),
         ("List the planets.", {"temperature": 1.2, "seed": 5}), ("Who wrote Hamlet?", {"temperature": 0.0})]


def ask(d, i, detachable, on_text=lambda: None):
    client, (text, options) = Client(d), ASKED[i]
    client.generate(text, TOKENS, detachable, more={OPT_IGNORE_EOS: 1, OPT_THINKING: 0}, **options)
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


if __name__ == "__main__":
    sys.exit(qwp.run([answers_are_the_same_under_fire]))
