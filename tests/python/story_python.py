#!/usr/bin/env python3
"""story_python.py - the package qwend (client/python) against the real daemon on the demo model: answers, text, service, and
streams under fire: a slow reader, cancel, an engine that is killed, a broker that is killed or started anew."""

import asyncio
import os
import re
import subprocess
import sys

import qwend
import qwp
from fakesd import Service
from harness import Qwend, golden
from qwend import errors

# hot, so that it is long whatever the model would rather say
LONG = {"max_tokens": 600, "ignore_eos": True, "thinking": False, "temperature": 3.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "seed": 7}
TIGHT = {**LONG, "credit_bytes": 64}    # the model waits for the reader after some ten tokens
QUESTION = "Why is the sky blue?"
WAIT_S = 60


def client(d=None, **kw):
    return qwend.connect((d or QWEND).socket, timeout=WAIT_S, **kw)


async def aclient(d=None, **kw):
    return await qwend.aio.connect((d or QWEND).socket, timeout=WAIT_S, **kw)


def refused(cls, work):
    try:
        work()
    except cls as error:
        return error
    raise AssertionError(f"no {cls.__name__}")


def an_answer_is_a_str_that_knows_more():
    with client(client="story") as q:
        answer = q.ask("What is 27 + 48?", thinking=True, temperature=0.0)
        assert answer == "75" and "27" in answer.reasoning and answer.usage.finish == "stop", (answer, answer.usage)
        assert answer.usage.answer_tokens > 0 and answer.usage.request_id == answer.request_id
        assert q.ask("What is 27 + 48?", thinking=False, max_tokens=1).usage.finish == "length"
        assert q.model_name == q.status().model.name


def a_stream_tells_what_happens():
    with client() as q, q.stream(QUESTION, thinking=False, temperature=0.0, want_ids=True, logprobs=2) as stream:
        events = list(stream)
        assert events[0].type == "started" and events[-1].type == "end", events
        pieces = [e for e in events if e.type == "answer"]
        assert "".join(e.text for e in pieces) == q.ask(QUESTION, thinking=False, temperature=0.0)
        ids = [token for e in pieces for token in e.ids]
        logprobs = [one for e in pieces for one in e.logprobs]
        assert len(ids) == len(logprobs) == stream.usage.answer_tokens and len(logprobs[0].top) == 2
        assert all(one.top[0].logprob >= one.logprob for one in logprobs)


def options_do_what_they_say():
    with client() as q:
        whole = q.ask(QUESTION, thinking=False, temperature=0.0)
        stop = whole[10:14]
        assert q.ask(QUESTION, thinking=False, temperature=0.0, stop=[stop]) == whole[:whole.index(stop)]
        once = q.ask(QUESTION, thinking=False, temperature=1.5, seed=7, priority="batch")
        assert once == q.ask(QUESTION, thinking=False, temperature=1.5, seed=7) and once.usage.seed == 7
        assert q.ask(raw=q.render(QUESTION, thinking=False), raw_special="all", temperature=0.0) == whole
        ids = q.tokenize(q.render(QUESTION, thinking=False), special="all")
        assert q.ask(ids=ids, temperature=0.0) == whole
        assert q.ask([("user", QUESTION)], thinking=False, temperature=0.0) == whole
        warmed = q.ask("x " * 600 + QUESTION, max_tokens=0)
        assert warmed == "" and warmed.usage.finish == "length" and warmed.usage.answer_tokens == 0, warmed.usage
        assert q.ask("x " * 600 + QUESTION, max_tokens=1).usage.cached_tokens > 0
        gap = {"prefix": "a = ", "suffix": "\n", "file": "a.py"}
        filled = q.ask(fim=gap, max_tokens=4)
        more = q.ask(fim={**gap, "extra": [("b.py", "b = 1\n")], "repo": "r", "order": "suffix_first"}, max_tokens=4)
        assert more.usage.prompt_tokens > filled.usage.prompt_tokens + 4 and filled.usage.answer_tokens > 0
        token = q.tokenize("5")[0]
        assert "5" not in q.ask("What is 2 + 3?", thinking=False, temperature=0.0, logit_bias={token: -100.0})


def a_chat_remembers():
    with client() as q:
        chat = q.chat(system="Answer in one word.", thinking=False, temperature=0.0)
        first = chat.ask("Who made you?")
        pieces = "".join(e.text for e in chat.stream("What is 4 + 4?") if e.type == "answer")
        assert [m["role"] for m in chat.messages] == ["system", "user", "assistant", "user", "assistant"]
        assert chat.messages[2]["content"] == first and chat.messages[4]["content"] == pieces
        chat.undo()
        assert len(chat.messages) == 3 and "Who made you?" in q.render(chat.messages, thinking=False)
        chat.undo()
        assert refused(IndexError, chat.undo)


def text_and_service():
    with client(client="story") as q:
        ids = q.tokenize("Grüße, Welt")
        assert q.detokenize(ids) == "Grüße, Welt" and q.count("Grüße, Welt") == len(ids)
        assert q.tokenize("<|im_end|>", special="all") != q.tokenize("<|im_end|>")
        likely = q.score("What is 3 + 4?", "7", thinking=False)
        assert likely.sum > q.score("What is 3 + 4?", "9", thinking=False).sum and len(likely.logprobs) == 1
        status = q.status()
        assert status.state == "serving" and status.model.architecture == "qwen35" and status.asdict()["model"]["n_vocab"] == 2048
        with q.stream(QUESTION, **TIGHT) as stream:
            next(stream)
            mine = [r for r in q.requests() if r.request_id == stream.request_id]
            assert mine[0].client == "story" and mine[0].uid == os.getuid()
            samples = q.subscribe(0.1)
            assert next(samples).sample.state == "serving"
            samples.close()
            assert q.cancel(stream.request_id) == 1
            assert refused(errors.UnknownRequestError, lambda: q.cancel(stream.request_id))
            stream.answer()
            assert stream.usage.finish == "cancel"
        assert q.cancel() == 0


def what_is_wrong_is_named():
    with client() as q:
        for cls, said, arguments in (
                (ValueError, "temperature is -1", {"prompt": "x", "temperature": -1}), (TypeError, "'heat'", {"prompt": "x", "heat": 1}),
                (ValueError, "priority is 'high'", {"prompt": "x", "priority": "high"}), (TypeError, "either a prompt", {}),
                (TypeError, "either a prompt", {"prompt": "x", "raw": "y"}), (ValueError, "NUL, at character 1", {"prompt": "a\0"}),
                (ValueError, "surrogate pair at character 0", {"prompt": "\ud800"}), (ValueError, "stop has an empty", {"prompt": "x", "stop": ""}),
                (ValueError, "messages[0].role is 'boss'", {"prompt": [("boss", "x")]}), (ValueError, "messages[0] has no 'text'", {"prompt": [{"role": "user", "text": "x"}]}),
                (TypeError, "max_tokens must be an int", {"prompt": "x", "max_tokens": 1.5}), (ValueError, "no messages", {"prompt": []}),
                (TypeError, "thinking must be True or False", {"prompt": "x", "thinking": "on"}), (TypeError, "tools[0] is not JSON", {"prompt": "x", "tools": [b"{}"]})):
            try:
                q.ask(**arguments)
            except cls as error:
                assert said in str(error), (said, str(error))
            else:
                raise AssertionError(f"{arguments} was taken")
        assert "no request id" in str(refused(ValueError, lambda: q.attach("12")))
        assert refused(errors.UnknownRequestError, lambda: q.attach("0" * 32).answer()).code == 206
        error = refused(errors.TooLongError, lambda: q.ask(ids=[5] * (q.status().context + 1)))
        assert isinstance(error, errors.RequestFamily) and int(error.details["prompt_tokens"]) > int(error.details["context"])
        assert refused(errors.TooLargeError, lambda: q.ask("x" * (9 << 20))) and refused(errors.InvalidError, lambda: q.subscribe(0.001).answer())
        assert refused(ValueError, lambda: q.tokenize("x", special="some")) and refused(ValueError, lambda: q.admin("sing"))
        assert "fim has no 'middle'" in str(refused(ValueError, lambda: q.ask(fim={"middle": "x"})))
        assert refused(errors.TemplateError, lambda: q.ask([("user", "x"), ("system", "y")])).code == 204
        assert q.ask("What is 27 + 48?", temperature=0.0) == "75"       # and nothing of that hurt the connection
    assert "closed" in str(refused(ValueError, lambda: q.ask("x")))
    assert "no daemon on /nowhere" in str(refused(qwend.NoDaemonError, lambda: qwend.connect("/nowhere")))


def a_long_prompt_travels_in_pieces():
    with client() as q:
        assert q.render("y" * (3 << 18)).count("y") >= 3 << 18
        error = refused(errors.TooLongError, lambda: q.ask("y " * (1 << 20)))
        assert int(error.details["prompt_tokens"]) > 1 << 19, error.details


def a_slow_reader_holds_up_itself_only():
    with client() as q:
        whole = q.ask(QUESTION, **LONG)
        slow = q.stream(QUESTION, **TIGHT)
        for _ in range(3):
            next(slow)
        assert q.ask("What is 27 + 48?", temperature=0.0) == "75"
        with qwp.Peer(QWEND.socket) as peer:
            while peer.call(qwp.pb.ListRequests(), qwp.pb.Requests).requests[0].state != qwp.pb.RequestInfo.PAUSED:
                pass
        rest = slow.answer()
        assert whole.endswith(rest) and len(rest) > len(whole) - 64 and slow.usage.finish == "length"


def cancel_ends_it_and_leaving_cancels():
    with client() as q:
        stream = q.stream(QUESTION, **TIGHT)
        next(stream)
        stream.cancel()
        assert [e for e in stream][-1].usage.finish == "cancel" and stream.usage.answer_tokens < 600
        for leave in (lambda s: s.close(), lambda s: s.__exit__()):
            stream = q.stream(QUESTION, **TIGHT)
            next(stream)
            leave(stream)
        stream = q.stream(QUESTION, **TIGHT)
        next(stream)
        del stream
        assert q.ask("What is 27 + 48?", temperature=0.0) == "75"
        with qwp.Peer(QWEND.socket) as peer:
            peer.wait_status(lambda s: s.running == s.queued == 0)


def detached_and_attached():
    with client() as q:
        whole = q.ask(QUESTION, **LONG)
        stream = q.stream(QUESTION, **{**LONG, "detachable": True})
        next(stream)
        request_id = stream.detach()
    with client() as q:
        attached = q.attach(request_id)
        assert attached.answer() == whole and attached.request_id == request_id


def an_engine_that_is_killed_costs_nothing():
    with client() as q:
        whole = q.ask(QUESTION, **LONG)
        stream, types, text = q.stream(QUESTION, **TIGHT), [], ""
        for event in stream:
            types.append(event.type)
            text += event.text
            if len(text) > 100 and "restart" not in types and not text.startswith("#"):
                os.kill(QWEND.engine_pid(), 9)
                QWEND.wait_line("engine .*(signal|killed|lost|died)")
                text = "#" + text
        assert text == "#" + whole and stream.usage.replays == 1, (types, text, whole)
        assert types.index("restart") < types.index("resumed") < types.index("end")


def a_broker_that_is_killed_costs_nothing():
    with Service(golden("demo.gguf"), "--slots", "4") as d:
        with qwp.Peer(d.socket) as peer:
            peer.wait_status(lambda s: s.state == qwp.pb.StatusReply.SERVING)
        with client(d) as q:
            whole = q.ask(QUESTION, **LONG)
            for detachable in (False, True):
                stream, text = q.stream(QUESTION, **{**TIGHT, "detachable": detachable}), ""
                kills = 2
                for event in stream:
                    text += event.text
                    if kills and len(text) > 100 * (3 - kills):
                        d.kill_broker()
                        kills -= 1
                assert text == whole and stream.usage.finish == "length" and not kills, (text, whole)
            d.kill_broker()
            assert q.status().state in ("starting", "loading", "serving")       # an idle client connects again
            assert q.ask("What is 27 + 48?", temperature=0.0) == "75"

        async def main():
            async with await aclient(d) as q:
                streams = [await q.stream(QUESTION, **TIGHT) for _ in range(3)]
                texts = ["", "", ""]

                async def read(k):
                    async for event in streams[k]:
                        texts[k] += event.text
                        if k == 0 and len(texts[0]) > 100 and not killed:
                            killed.append(await asyncio.get_running_loop().run_in_executor(None, d.kill_broker))
                killed = []
                await asyncio.gather(*(read(k) for k in range(3)))
                assert texts == [whole] * 3 and killed, texts
        asyncio.run(main())


def a_broker_that_is_gone_for_good_is_named():
    with Qwend(golden("demo.gguf")) as d:
        q = client(d)
        stream = q.stream(QUESTION, **TIGHT)
        next(stream)
        d.process.kill()
        d.process.wait()
        assert refused(qwend.ConnectionLostError, lambda: list(stream)) and refused(qwend.NoDaemonError, q.status)

        async def main():
            try:
                await aclient(d)
            except qwend.NoDaemonError as error:
                assert d.socket in str(error)
            else:
                raise AssertionError("connected to nothing")
        asyncio.run(main())
        q.close()


def another_model_is_known_by_its_name():
    with Qwend(golden("models/d1-k256/d1-k256-Q4_K_M.gguf"), "--context", "4096") as d, client(d) as q:
        before = q.status().model.name
        assert d.ctl("use", golden("demo.gguf")).returncode == 0
        assert q.status().model.name == q.model_name == "qwend demo" != before


def the_same_with_asyncio():
    async def main():
        async with await aclient(client="story") as q:
            answers = await asyncio.gather(*(q.ask(f"What is {i} + 40?", temperature=0.0) for i in range(12)))
            assert answers == [str(i + 40) for i in range(12)], answers
            ids = await q.tokenize("Grüße")
            assert await q.detokenize(ids) == "Grüße" and await q.count("Grüße") == len(ids)
            assert (await q.status()).state == "serving" and q.model_name
            assert (await q.score("What is 3 + 4?", "7", thinking=False)).prompt_tokens > 0
            assert (await q.render("y" * (3 << 18))).count("y") >= 3 << 18
            chat = q.chat(temperature=0.0)
            assert await chat.ask("What is 14 + 14?") == "28"
            second = "".join([e.text async for e in chat.stream("And now?") if e.type == "answer"])
            assert second == chat.messages[3]["content"] == await q.ask(chat.messages[:3], temperature=0.0)
            assert len(chat.messages) == 4
            whole = await q.ask(QUESTION, **LONG)
            slow = await q.stream(QUESTION, **TIGHT)
            await slow.__anext__()
            assert slow.request_id in [r.request_id for r in await q.requests()]
            assert await q.ask("What is 27 + 48?", temperature=0.0) == "75"
            assert await slow.answer() == whole
            async with await q.stream(QUESTION, **TIGHT) as stream:
                pieces = [piece async for piece in stream.text() if stream.cancel() is None]
                assert pieces and stream.usage.finish == "cancel"
            async with await q.stream(QUESTION, **{**LONG, "detachable": True}) as stream:
                await stream.__anext__()
                request_id = stream.detach()
            assert await (await q.attach(request_id)).answer() == whole
            samples = await q.subscribe(0.1)
            assert (await samples.__anext__()).sample.slots == 4
            samples.close()
            for cls, work in ((errors.TooLongError, q.ask(ids=[5] * ((await q.status()).context + 1))), (ValueError, q.ask("a\0")), (ValueError, q.admin("sing"))):
                try:
                    await work
                except cls:
                    continue
                raise AssertionError(cls)
            try:
                async with await q.stream(QUESTION, **TIGHT) as stream:
                    await stream.__anext__()
                    await asyncio.wait_for(asyncio.gather(q.cancel(), stream.answer()), WAIT_S)
            finally:
                assert stream.usage.finish == "cancel"
        try:
            await q.ask("x")
        except ValueError as error:
            assert "closed" in str(error)
        else:
            raise AssertionError("a closed client asked")
    asyncio.run(main())


def what_the_documentation_shows_runs():
    with open(os.path.join(os.environ["QWEND_DOCS"], "PYTHON.md"), encoding="utf-8") as f:
        blocks = re.findall(r"```python\n(.*?)```", f.read(), re.S)
    assert len(blocks) == 2
    for block in blocks:
        ran = subprocess.run([sys.executable, "-c", block], env={**os.environ, "QWEND_SOCKET": QWEND.socket}, capture_output=True,
                             text=True, timeout=WAIT_S, check=False)
        assert ran.returncode == 0 and ran.stdout and not ran.stderr, ran


if __name__ == "__main__":
    with Qwend(golden("demo.gguf"), "--slots", "4") as QWEND:
        with qwp.Peer(QWEND.socket) as first:
            first.wait_status(lambda s: s.state == qwp.pb.StatusReply.SERVING)
        STATUS = qwp.run([
            an_answer_is_a_str_that_knows_more, a_stream_tells_what_happens, options_do_what_they_say, a_chat_remembers,
            text_and_service, what_is_wrong_is_named, a_long_prompt_travels_in_pieces, a_slow_reader_holds_up_itself_only,
            cancel_ends_it_and_leaving_cancels, detached_and_attached, an_engine_that_is_killed_costs_nothing,
            a_broker_that_is_killed_costs_nothing, a_broker_that_is_gone_for_good_is_named,
            another_model_is_known_by_its_name, the_same_with_asyncio, what_the_documentation_shows_runs])
    sys.exit(STATUS)
