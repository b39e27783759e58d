#!/usr/bin/env python3
"""story_public.py - beginnings that the administrator publishes: for every uid, over a reload, an engine's death, mistakes.

One story acts as uid 65534 in a forked child, so it needs root; elsewhere it is skipped and says why.
"""
import json
import os
import subprocess
import sys
import tempfile

import qwp
from fake import Fake
from harness import WAIT_S, Qwend, tiny_model
from other_user import OTHER_UID, fork_as
from qwp import pb
from story_cache import FIRST, RULES, ask, outcome

QUESTION = FIRST[1:]
OTHER_RULES = "You name processes and nothing else. " + RULES
READY, REFUSED = pb.PublicPrefix.READY, pb.PublicPrefix.REFUSED
OPTIONS = ("--backend", "cpu", "--context", "2048", "--slots", "2", "--cache-mib", "64")


class Site(tempfile.TemporaryDirectory):
    """Published texts, and a configuration that names their files."""

    def config(self, **texts):
        """None: the file is not there."""
        text = "[class all]\nmatch = any\nadmin = reload\n"
        for name, content in texts.items():
            text += f"[public {name}]\nfile = {self.name}/{name}\n"
            if content is not None:
                with open(os.path.join(self.name, name), "w", encoding="utf-8") as f:
                    f.write(content)
        return text

    def start(self, **texts):
        return Qwend(tiny_model(), *OPTIONS, config=self.config(**texts))

    def reload(self, qwend, peer, **texts):
        with open(os.path.join(qwend.folder, "qwend.conf"), "w", encoding="utf-8") as f:
            f.write(self.config(**texts))
        return peer.call(pb.Admin(verb=pb.Admin.RELOAD), pb.Done).text


def settled(peer):
    """{name: PublicPrefix} once none waits any more."""
    status = peer.wait_status(lambda s: s.state == pb.StatusReply.SERVING and
                              all(p.state in (READY, REFUSED) for p in s.publics))
    return {p.name: p for p in status.publics}


def cached(peer, rules):
    return ask(peer, [("system", rules)] + QUESTION).usage.cached_tokens


def every_uid_begins_behind_it_and_finds_nothing_of_others():
    if os.geteuid() != 0:
        return "needs root, to act as a second uid"
    site = Site()
    with site, site.start(rules=RULES) as qwend:
        with qwp.Peer(qwend.socket) as peer:
            n = settled(peer)["rules"].tokens
            assert n > 100
            want = outcome(ask(peer, FIRST, no_cache=True))
            mine = ask(peer, FIRST)
            assert mine.usage.cached_tokens == n and outcome(mine) == want
            assert ask(peer, FIRST).usage.cached_tokens > n

        def as_other():
            with qwp.Peer(qwend.socket) as other:
                theirs = ask(other, FIRST)
                return [theirs.usage.cached_tokens, outcome(theirs)]

        assert fork_as(OTHER_UID, as_other)() == [n, want]
    return None


def a_reload_adds_changes_and_takes_back():
    site = Site()
    with site, site.start() as qwend, qwp.Peer(qwend.socket) as peer:
        assert cached(peer, OTHER_RULES) == 0
        assert site.reload(qwend, peer, rules=RULES) == "reloaded: 3 classes, public prefixes: 1"
        n = settled(peer)["rules"].tokens
        assert cached(peer, RULES) == n
        site.reload(qwend, peer, rules=RULES, tools=json.dumps({"system": "Call one.", "tools": [
            {"type": "function", "function": {"name": "ls", "parameters": {}}}]}))
        assert settled(peer)["tools"].tokens > 200 and settled(peer)["rules"].tokens == n
        site.reload(qwend, peer, rules="You say little. " + RULES)
        assert settled(peer)["rules"].tokens > n
        assert cached(peer, "You say little. " + RULES) == settled(peer)["rules"].tokens
        assert site.reload(qwend, peer) == "reloaded: 3 classes"
        assert not peer.status().publics
        assert cached(peer, "You say little. " + RULES + "!") == 0


def an_engine_that_dies_is_followed_by_one_that_reads_it_again():
    site = Site()
    with site, site.start(rules=RULES) as qwend, qwp.Peer(qwend.socket) as peer:
        n = settled(peer)["rules"].tokens
        os.kill(qwend.engine_pid(), 9)
        peer.wait_status(lambda s: s.engine_restarts == 1)
        assert settled(peer)["rules"].tokens == n
        assert cached(peer, RULES) == n


def engines_that_die_over_it_are_two_at_most():
    site = Site()
    with site, Fake(config=site.config(rules=RULES)) as fake:
        with fake.serving() as peer:  # this engine never ends with it
            for i in (1, 2):
                peer.wait_status(lambda s: s.state == pb.StatusReply.SERVING)
                assert [p.state for p in peer.status().publics] == [pb.PublicPrefix.WAITING]
                fake.kill_engine()
                peer.wait_status(lambda s, n=i: s.engine_restarts == n and s.state == pb.StatusReply.SERVING)
            public, = peer.status().publics
            assert public.state == REFUSED and public.text == "2 engines died before they had read it", public
            site.reload(fake, peer, rules=RULES)
            assert [p.state for p in peer.status().publics] == [pb.PublicPrefix.WAITING]


def a_file_that_cannot_be_is_refused_by_name_and_changes_nothing():
    site = Site()
    with site, site.start(rules=RULES) as qwend, qwp.Peer(qwend.socket) as peer:
        n = settled(peer)["rules"].tokens
        os.mkfifo(os.path.join(site.name, "pipe"))
        for texts, words in [({"gone": None}, "[public gone] file .*/gone: No such file"),
                             ({"large": "x" * ((1 << 20) + 1)}, "1048577 bytes, should be 1 to 1048576"),
                             ({"empty": ""}, "0 bytes"), ({"pipe": None}, "no regular file"),
                             ({f"p{i}": "x" for i in range(16)}, "more than 16 public prefixes")]:
            refusal = qwp.refused(lambda t=texts: site.reload(qwend, peer, rules=OTHER_RULES, **t), 201)
            for word in words.split(" .*"):
                assert word in refusal, (word, refusal)
            assert {p.name: p.tokens for p in peer.status().publics} == {"rules": n}
        assert cached(peer, RULES) == n
        # what only the engine can see is refused in the status, and nothing else with it
        site.reload(qwend, peer, rules=RULES, broken="{\"system\": ", short="Be brief.")
        publics = settled(peer)
        assert publics["rules"].tokens == n and publics["broken"].state == REFUSED and "not JSON" in publics["broken"].text
        assert "fewer than 32" in publics["short"].text
        text = qwend.ctl("status").stdout
        assert f"public    rules: {n} tokens" in text and "public    short: refused: it has" in text, text
        shown = json.loads(qwend.ctl("status", "--json").stdout)["publics"]
        assert [p["state"] for p in shown] == ["ready", "refused", "refused"], shown
        assert cached(peer, RULES) >= n


def a_start_with_a_mistake_ends_with_its_place():
    site = Site()
    with site:
        for config, words in [(site.config(gone=None), "[public gone] file"), ("[public a b]\nfile = x\n", "is called 'a b'"),
                              ("[public a]\nfiel = x\n", "unknown key 'fiel', did you mean 'file'?"),
                              ("[public a]\nfile = x\nfile = y\n", "'file' was already set in line 2")]:
            path = os.path.join(site.name, "conf")
            with open(path, "w", encoding="utf-8") as f:
                f.write(config)
            done = subprocess.run([os.path.join(os.environ["QWEND_BUILD"], "daemon/broker/qwend"), "--model", tiny_model(),
                                   "--config", path, "--allow-root"], capture_output=True, text=True, timeout=WAIT_S, check=False)
            assert done.returncode == 2 and words in done.stderr, done


if __name__ == "__main__":
    sys.exit(qwp.run([
        every_uid_begins_behind_it_and_finds_nothing_of_others,
        a_reload_adds_changes_and_takes_back,
        an_engine_that_dies_is_followed_by_one_that_reads_it_again,
        engines_that_die_over_it_are_two_at_most,
        a_file_that_cannot_be_is_refused_by_name_and_changes_nothing,
        a_start_with_a_mistake_ends_with_its_place,
    ]))
