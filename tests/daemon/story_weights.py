"""story_weights.py - the broker keeps the weights' memory and hands it to each next engine, or lets go of it."""

import sys

import qwend_pb2 as pb
import qwp
from fake import Fake, check, sampling
from qwp import prompt


def restarted(peer, n):
    """Waits for the n-th engine after the first to serve."""
    return peer.wait_status(lambda s: s.engine_restarts == n and s.state == pb.StatusReply.SERVING)


def every_next_engine_gets_the_weights_of_the_first():
    with Fake(weights=1) as d, d.serving() as p:
        assert not p.status().weights_adopted
        for n in (1, 2, 3):
            d.kill_engine()
            assert restarted(p, n).weights_adopted
        check(p.ask(prompt("x"), sampling=sampling(1), max_tokens=3), 1, prompt("x"), 3)


def a_part_in_main_memory_goes_with_them():
    with Fake(weights=6) as d, d.serving() as p:
        for n in (1, 2):
            d.kill_engine()
            assert restarted(p, n).weights_adopted


def a_part_that_is_not_what_it_says_is_not_kept():
    """Not sealed, missing, of another size, alone, twice."""
    for weights in (7, 8, 9, 10, 11):
        with Fake(weights=weights) as d, d.peer():
            d.wait_line("is killed: it sent what is not in engine.proto")


def an_engine_that_keeps_none_starts_without():
    with Fake() as d, d.serving() as p:
        d.kill_engine()
        assert not restarted(p, 1).weights_adopted


def weights_that_an_engine_crashes_on_are_let_go():
    with Fake(weights=4) as d, d.serving() as p:
        d.kill_engine()                             # the second dies of them, the third reads the file
        assert not restarted(p, 2).weights_adopted
        d.wait_line("loads the model from its file")
        d.kill_engine()                             # and so on, with those that it made
        assert not restarted(p, 4).weights_adopted


def weights_are_not_blamed_for_a_kill_from_outside():
    with Fake(weights=1, load_ms=400) as d, d.serving() as p:
        pid = p.status().engine_pid
        d.kill_engine()
        p.wait_status(lambda s: s.engine_pid not in (0, pid))
        d.kill_engine()                             # while it loads
        assert restarted(p, 2).weights_adopted


def weights_that_an_engine_refuses_are_let_go():
    with Fake(weights=5) as d, d.serving() as p:
        d.kill_engine()
        assert not restarted(p, 1).weights_adopted
        d.kill_engine()                             # this one got none, so there is nothing to refuse
        assert not restarted(p, 2).weights_adopted


def memory_that_could_be_changed_is_not_kept():
    with Fake(weights=2) as d, d.peer():
        d.wait_line("is killed: it sent what is not in engine.proto")


def no_other_message_brings_a_file_descriptor():
    with Fake(weights=3) as d, d.peer():
        d.wait_line("is killed: it sent what is not in engine.proto")


if __name__ == "__main__":
    sys.exit(qwp.run([
        every_next_engine_gets_the_weights_of_the_first, a_part_in_main_memory_goes_with_them,
        a_part_that_is_not_what_it_says_is_not_kept, an_engine_that_keeps_none_starts_without,
        weights_that_an_engine_crashes_on_are_let_go, weights_are_not_blamed_for_a_kill_from_outside,
        weights_that_an_engine_refuses_are_let_go, memory_that_could_be_changed_is_not_kept,
        no_other_message_brings_a_file_descriptor]))
