"""story_protocol.py - every rule of docs/PROTOCOL.md that a client can break, and what it hears then."""

import array
import os
import resource
import socket
import sys

import qwend_pb2 as pb
import qwp
from fake import Fake, check, sampling
from qwp import END_STREAM, HAS_FD, MORE, prompt


def closed_with(p, code, *words):
    """The daemon says why on stream 0, then closes."""
    error = p.wait_for(pb.Error, 0).msg
    assert error.code == code, error
    assert all(w in error.text for w in words), error
    assert p.is_closed()
    return error


def breaks(d, code, *words, raw=None, **frame):
    """A greeted client that sends one bad frame; the daemon lives on."""
    with d.peer() as p:
        if raw is not None:
            p.sock.sendall(raw)
        else:
            p.send(**frame)
        closed_with(p, code, *words)


def a_wrong_preface_is_answered_at_its_first_wrong_byte():
    with Fake() as d:
        for data in (b"G", b"QWP2", b"QWP1\r\nx"):
            with d.peer(hello=False) as p:
                p.sock.sendall(data)
                closed_with(p, 101, "preface")


def hello_comes_first_and_once():
    with Fake() as d:
        with d.peer(hello=False) as p:
            p.sock.sendall(qwp.PREFACE)
            p.send(pb.Generate(body=b""), 1)
            closed_with(p, 103, "Hello must come first")
        breaks(d, 103, "already", msg=pb.Hello())


def versions_that_do_not_meet_are_named():
    with Fake() as d:
        for low, high in ((2, 9), (0, 0)):
            with d.peer(hello=False) as p:
                p.sock.sendall(qwp.PREFACE)
                p.send(pb.Hello(version_min=low, version_max=high))
                error = closed_with(p, 105)
                assert {x.key: x.value for x in error.details} == {"min": "1", "max": "1"}, error
        with d.peer(hello=False) as p:
            p.sock.sendall(qwp.PREFACE)
            p.send(pb.Hello(version_min=1, version_max=7))
            assert p.expect(pb.Welcome).msg.version == 1


def who_says_nothing_is_let_go_after_five_seconds():
    with Fake() as d, d.peer(hello=False) as p:
        closed_with(p, 101, "5 s")


def frames_too_big_are_refused_by_their_header():
    with Fake() as d:
        breaks(d, 102, "1048577", raw=qwp.HEADER.pack((1 << 20) + 1, 1, 100, 0))
        with d.peer(hello=False) as p:
            p.sock.sendall(qwp.PREFACE + qwp.HEADER.pack((256 << 10) + 1, 0, 1, 0))
            closed_with(p, 102, "262145")


def unknown_flags_and_types_are_errors_unless_they_may_be_lost():
    with Fake() as d:
        breaks(d, 103, "0x8", raw=qwp.HEADER.pack(0, 1, 300, 8))
        breaks(d, 103, "type 999", raw=qwp.HEADER.pack(0, 1, 999, 0))
        breaks(d, 103, "Delta", msg=pb.Delta(), stream=1)
        breaks(d, 103, "Submit", raw=qwp.HEADER.pack(0, 1, 1001, 0))
        with d.serving() as p:
            p.send(b"whatever", 77, number=0x8001)
            assert p.status().pid == d.process.pid
            fd = qwp.sealed_memfd(b"whatever")
            p.send(b"", 77, HAS_FD, [fd], number=0x8001)
            os.close(fd)
            assert p.status().pid == d.process.pid


def bodies_that_are_not_valid_are_errors():
    with Fake() as d:
        for body, word in ((b"\xff", "Generate"), (b"\x0a\x05ab", "Generate"), (b"\x30\x09", "thinking"),
                           (b"\x2a\x02\xff\xfe", "stop")):
            breaks(d, 103, word, msg=body, stream=1, number=100)


def stream_numbers_are_odd_rising_and_open():
    with Fake() as d:
        breaks(d, 104, "stream 2", msg=pb.Status(), stream=2)
        breaks(d, 104, "stream 0", msg=pb.Status(), stream=0)
        breaks(d, 104, "stream 3", msg=pb.Ping(opaque=1), stream=3)
        breaks(d, 104, "no such stream", msg=pb.Credit(bytes=1), stream=5)
        breaks(d, 104, "stream 4", msg=pb.Cancel(), stream=4)
        with d.serving() as p:
            p.call(pb.Status(), pb.StatusReply)
            p.send(pb.Status(), p.last_stream)
            closed_with(p, 104, "higher")


def what_comes_for_a_stream_that_ended_is_ignored():
    with Fake() as d, d.serving() as p:
        stream = p.generate(prompt("x"), sampling=sampling(1), max_tokens=2)
        check(p.collect(stream), 1, prompt("x"), 2)
        for msg in (pb.Credit(bytes=100), pb.Cancel(), pb.Body(data=b"x")):
            p.send(msg, stream)
        assert p.status().state == pb.StatusReply.SERVING


def a_client_may_not_go_on_after_its_own_end_stream():
    with Fake(delay_ms=2) as d, d.serving() as p:
        stream = p.generate(prompt("x"), max_tokens=100000, flags=END_STREAM)
        p.wait_for(pb.Delta, stream)
        p.send(pb.Cancel(), stream)
        closed_with(p, 104, "ended")


def flags_belong_to_the_messages_that_have_them():
    with Fake() as d:
        breaks(d, 103, "HAS_FD or MORE", msg=pb.Status(), stream=1, flags=MORE)
        breaks(d, 103, "HAS_FD or MORE", msg=pb.Tokenize(text="x"), stream=1, flags=HAS_FD)
        breaks(d, 103, "exclude", msg=pb.Generate(), stream=1, flags=MORE | END_STREAM)


def file_descriptors_and_frames_must_agree():
    with Fake() as d:
        fd = qwp.sealed_memfd(prompt("x"))
        breaks(d, 103, "none came", msg=pb.Generate(), stream=1, flags=HAS_FD)
        breaks(d, 103, "no frame announces", msg=pb.Status(), stream=1, fds=[fd])
        breaks(d, 103, "more file descriptors", msg=pb.Generate(), stream=1, flags=HAS_FD, fds=[fd] * 3)
        before = len(os.listdir(f"/proc/{d.process.pid}/fd"))
        for _ in range(20):
            breaks(d, 103, "more file descriptors", msg=pb.Generate(), stream=1, flags=HAS_FD, fds=[fd] * 4)
        with d.serving() as p:  # the others are gone, with all they brought
            p.wait_status(lambda s: s.connections == 1)
            assert len(os.listdir(f"/proc/{d.process.pid}/fd")) <= before + 1
        os.close(fd)


def body_and_credit_need_a_request_that_takes_them():
    with Fake(delay_ms=2) as d:
        with d.serving() as p:
            p.send(pb.Body(data=b"x"), p.generate(prompt("x"), max_tokens=100000))
            closed_with(p, 103, "Body")
        with d.serving() as p:
            p.send(pb.Credit(bytes=1), p.open(pb.Render(), MORE))
            closed_with(p, 103, "Credit")


def a_prompt_in_pieces_has_its_caps():
    with Fake() as d, d.serving() as p:
        stream = p.generate(flags=MORE, max_tokens=1)
        for _ in range(9):
            p.send(pb.Body(data=bytes(1000000)), stream, MORE)
        assert refused(p, stream, 202)
        streams = [p.generate(flags=MORE, max_tokens=1) for _ in range(3)]
        for stream in streams:
            for _ in range(6):
                p.send(pb.Body(data=bytes(1000000)), stream, MORE)
        assert refused(p, streams[2], 302)
        for stream in streams[:2]:
            p.send(pb.Body(data=b"!"), stream)
            body = bytes(6000000) + b"!"
            result = p.collect(stream)
            check(result, result.usage.seed, body, 1)


def refused(p, stream, code):
    try:
        p.collect(stream)
    except qwp.Refused as error:
        assert error.code == code, error
        return error
    raise AssertionError(f"not refused with {code}")


def ping_is_answered_while_a_stream_runs():
    with Fake(delay_ms=2) as d, d.serving() as p:
        p.wait_for(pb.Delta, p.generate(prompt("x"), max_tokens=100000))
        p.send(pb.Ping(opaque=0x1122334455667788))
        assert p.wait_for(pb.Pong, 0).msg.opaque == 0x1122334455667788


def a_client_that_floods_and_never_reads_is_dropped():
    with Fake() as d, d.serving() as p:
        with d.peer() as q:
            ping = q.pack(pb.Ping(opaque=1)) * 1000
            try:
                while True:
                    q.sock.sendall(ping)
            except (BrokenPipeError, ConnectionResetError):
                pass
        assert "unread" in d.wait_line("dropped")
        assert p.wait_status(lambda s: s.connections == 1)


def connections_of_one_user_are_capped_with_the_numbers():
    with Fake("--max-connections", "8") as d:
        peers = [d.peer() for _ in range(4)]
        with d.peer(hello=False) as p:
            error = p.wait_for(pb.Error, 0).msg
            assert error.code == 302 and "4" in error.text, error
        peers.pop().close()
        peers[0].wait_status(lambda s: s.connections == 3)
        peers.append(d.peer())
        for p in peers:
            p.close()


def requests_of_one_user_are_capped_with_the_numbers():
    with Fake("--max-requests", "8", delay_ms=2) as d, d.serving() as p:
        streams = [p.generate(prompt("x"), max_tokens=100000) for _ in range(4)]
        error = refused(p, p.generate(prompt("x"), max_tokens=1), 302)
        assert error.details == {"used": "4", "limit": "4"}, error.details
        p.send(pb.Cancel(), streams[0])
        p.wait_for(pb.Usage, streams[0])
        p.wait_for(pb.Delta, p.generate(prompt("x"), max_tokens=1))


def bytes_of_one_user_are_capped():
    with Fake("--max-mib", "8", delay_ms=2, slots=1) as d, d.serving() as p:
        streams = [p.generate(bytes(900000), max_tokens=100000) for _ in range(8)]
        codes = {}
        for s in streams:
            frame = p.next_frame(s)
            codes[s] = frame.msg.code if frame.type is pb.Error else 0
        assert set(codes.values()) == {0, 302}, codes
        p.call(pb.Cancel(mine=True), pb.Cancelled)
        check(p.ask(bytes(900000), sampling=sampling(1), max_tokens=3), 1, bytes(900000), 3)


def one_user_cannot_use_up_the_file_descriptors():
    """Each of its connections passes two that no frame claims yet; the limit is what the daemon asked for itself."""
    old = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, old[1]))
    d = Fake("--max-connections", "512", "--max-requests", "2")
    resource.setrlimit(resource.RLIMIT_NOFILE, old)
    fd = qwp.sealed_memfd(b"x")
    with d:
        def pass_two(q):
            for data in (qwp.HEADER.pack(100, 1, 100, HAS_FD), b"\x12"):
                try:
                    q.sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
                except BrokenPipeError:
                    pass  # the first was refused and the connection closed: what it was told can still be read
            return q

        n_before = len(os.listdir(f"/proc/{d.process.pid}/fd"))
        peers = [pass_two(d.peer()) for _ in range(128)]  # a half of 512
        with d.serving() as p:
            whole = qwp.sealed_memfd(prompt("x"))  # a frame that is whole holds none
            p.collect(p.generate(flags=HAS_FD, fds=[whole], sampling=sampling(1), max_tokens=1))
            os.close(whole)
            error = pass_two(p).wait_for(pb.Error, 0).msg
            assert error.code == 302 and "file descriptors" in error.text, error
        for q in peers[:2]:
            q.close()
        with d.serving() as p:
            p.wait_status(lambda s: s.connections == 127)
            pass_two(p).sock.sendall(bytes(99))  # the frame is whole then, and what is wrong is what is in it
            assert p.wait_for(pb.Error, 0).msg.code == 103
            assert len(os.listdir(f"/proc/{d.process.pid}/fd")) <= n_before + 127 + 2 * 127
        for q in peers[2:]:
            q.close()
    os.close(fd)


def running_out_of_file_descriptors_is_survived():
    with Fake("--max-connections", "64", "--max-requests", "2") as d, d.serving() as p:
        # as if the machine gave no more: the limit is lowered from outside
        used = len(os.listdir(f"/proc/{d.process.pid}/fd"))
        resource.prlimit(d.process.pid, resource.RLIMIT_NOFILE, (used + 2, used + 2))
        peers = []
        for _ in range(3):
            q = d.peer(hello=False)
            q.sock.sendall(qwp.PREFACE + q.pack(pb.Hello(version_min=1)))
            peers.append(q)
        frames = [q.next_frame() for q in peers]
        assert [f.type for f in frames] == [pb.Welcome, pb.Welcome, pb.Error], frames
        assert frames[2].msg.code == 401 and frames[2].msg.retry_after_ms, frames[2]
        peers[0].close()
        p.wait_status(lambda s: s.connections == 2)
        d.peer().close()  # the listener is back


if __name__ == "__main__":
    sys.exit(qwp.run([
        a_wrong_preface_is_answered_at_its_first_wrong_byte, hello_comes_first_and_once,
        versions_that_do_not_meet_are_named, who_says_nothing_is_let_go_after_five_seconds,
        frames_too_big_are_refused_by_their_header, unknown_flags_and_types_are_errors_unless_they_may_be_lost,
        bodies_that_are_not_valid_are_errors, stream_numbers_are_odd_rising_and_open,
        what_comes_for_a_stream_that_ended_is_ignored, a_client_may_not_go_on_after_its_own_end_stream,
        flags_belong_to_the_messages_that_have_them, file_descriptors_and_frames_must_agree,
        body_and_credit_need_a_request_that_takes_them, a_prompt_in_pieces_has_its_caps,
        ping_is_answered_while_a_stream_runs, a_client_that_floods_and_never_reads_is_dropped,
        connections_of_one_user_are_capped_with_the_numbers, requests_of_one_user_are_capped_with_the_numbers,
        bytes_of_one_user_are_capped, one_user_cannot_use_up_the_file_descriptors, running_out_of_file_descriptors_is_survived]))
