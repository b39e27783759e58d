"""other_user.py - work done as a second user, in a forked child.  Only root can."""
import json
import os
import traceback

OTHER_UID = 65534   # nobody, on every Linux


def _child(uid, work):
    """In the child: becomes uid, works, ends.  What fails is told here: the parent only sees that it did."""
    status = 1
    try:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def fork_as(uid, work):
    """Runs work() as uid; returns a function that waits for what it returned, as JSON has it: keys are text."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)

        def report():
            with os.fdopen(writing, "w", encoding="utf-8") as f:
                json.dump(work(), f)

        _child(uid, report)
    os.close(writing)

    def wait():
        with os.fdopen(reading, encoding="utf-8") as f:
            text = f.read()
        assert os.waitpid(pid, 0)[1] == 0, f"what uid {uid} did failed"
        return json.loads(text)

    return wait


def hold_as(uid, work):
    """Runs work(pause) as uid.  Returns once it pauses, with what lets it go on to its end."""
    (child_reads, parent_writes), (parent_reads, child_writes) = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        os.close(parent_reads)
        os.close(parent_writes)

        def pause():
            os.write(child_writes, b"x")
            os.read(child_reads, 1)     # until the parent closes its end

        _child(uid, lambda: work(pause))
    os.close(child_writes)
    os.close(child_reads)

    def end():
        os.close(parent_writes)
        os.close(parent_reads)
        assert os.waitpid(pid, 0)[1] == 0, f"what uid {uid} did failed"

    if not os.read(parent_reads, 1):
        end()
    return end
