#!/usr/bin/env python3
"""story_agent.py - coding agents: turns shaped as Claude Code's and Codex's, whose prompts' heads change and are read once all the
same; the order of the events that they read; what of their requests is refused, and what is named as ignored."""
import json
import sys

import qwp
from agents import asks, claude, claude_again, claude_now, codex, codex_again, codex_results, said
from gateway import Gateway
from harness import Qwend, golden

MESSAGES, RESPONSES = "/v1/messages?beta=true", "/v1/responses"
SUM = "What is 7 + 8?"


def stream(http, path, body):
    """Its events, and the names that were ignored."""
    got = http.post(path, {**body, "temperature": 0})
    assert got.status == 200, got
    return got.events(), got.headers.get("x-qwend-ignored", "").split(", ")


def message(http, body):
    """Content blocks and usage of one answer of /v1/messages, put together from its events."""
    blocks, usage = [], {}
    for name, data in stream(http, MESSAGES, body)[0]:
        assert name == data["type"], data
        if name == "content_block_start":
            assert data["index"] == len(blocks)
            blocks.append(dict(data["content_block"]))
        elif name == "content_block_delta":
            kind = data["delta"]["type"].removesuffix("_delta")
            if kind == "input_json":
                blocks[data["index"]]["input"] = json.loads(data["delta"]["partial_json"])
            else:
                blocks[data["index"]][kind] += data["delta"][kind]
        usage.update(data.get("message", data).get("usage") or {})
    return blocks, usage


def share(usage):
    return usage["cache_read_input_tokens"] / (usage["cache_read_input_tokens"] + usage["input_tokens"])


def claude_turns(http, shape, heads):
    """How much of each turn was in the cache.  heads: what is different in them.  What the model says is not sent back: it is
    too small to know when to call a tool, and to stop."""
    messages, shares = [asks(SUM)], []
    for i, head in enumerate(heads):
        usage = message(http, shape(*messages, cch=f"{i:05x}", max_tokens=40, **head))[1]
        shares.append(share(usage))
        messages += [claude_again([{"type": "text", "text": f"It is {15 + i}."}]), asks(f"And plus {i}?")]
    print(f"# {', '.join(f'{100 * s:.1f} %' for s in shares)} of each turn were reused", flush=True)
    return shares


def a_head_that_changes_is_read_once():
    with Gateway(QWEND) as http:
        for shape in (claude, claude_now):
            shares = claude_turns(http, shape, [{}] * 3)
            assert min(shares[1:]) > 0.95, shares
        assert sum("prompts change their head" in line for line in http.lines if line) == 1


def a_loop_of_tools_is_read_once():
    """Each step brings a result, and another count of tokens left, in the system message or behind the result."""
    result = "a line of the file\n" * 8
    for behind in (False, True):
        with Gateway(QWEND) as http:
            messages, shares = [asks(f"Read it all {behind}.")], []
            for step in range(7):
                left = {"type": "text", "text": f"<total_tokens>{150000 - step} tokens left</total_tokens>"}
                if behind and step:
                    messages.append({"role": "system", "content": [left]})
                body = claude_now(*messages, cch=f"{step:05x}", max_tokens=40)
                body["system"] += [] if behind else [left]
                shares.append(share(message(http, body)[1]))
                messages += [claude_again([{"type": "text", "text": "I read on."}, {
                    "type": "tool_use", "id": f"t{step}", "name": "Read", "input": {"text": str(step)}}]),
                             {"role": "user", "content": [{"type": "tool_result", "tool_use_id": f"t{step}", "content": result}]}]
            print(f"# {', '.join(f'{100 * s:.1f} %' for s in shares)} of each step were reused", flush=True)
            assert min(shares[2:]) > 0.85, shares           # all but the last two results, however many there are


def a_repository_that_changes_is_read_once_more():
    with Gateway(QWEND) as http:
        heads = [{"git": "M a.c"}, {"git": "M a.c\nM b.c"}, {"git": "?? d.c"}, {"git": "?? d.c", "date": "2026-11-27"}, {"git": "(clean)"}]
        shares = claude_turns(http, claude, heads)
        assert min(shares[2:]) > 0.85, shares
        http.wait_line("the state of the repository goes")
        http.wait_line("the date goes")


def without_that_little_is_reused():
    with Gateway(QWEND, "--config", CONFIG) as http:
        shares = claude_turns(http, claude, [{}] * 2)        # of the tools, which come first, something is
        assert shares[1] < 0.3 and not any("prompts change" in line for line in http.lines if line), shares


def response(http, body):
    """The last event's response, after a look at the order of all; and the names that were ignored."""
    events, ignored = stream(http, RESPONSES, body)
    kinds, items, types = [name for name, _ in events], {}, {}
    assert all(name == data["type"] and data["sequence_number"] == i for i, (name, data) in enumerate(events))
    assert kinds[:2] == ["response.created", "response.in_progress"] and kinds[-1] == "response.completed", kinds
    for _, data in events[2:-1]:
        kind, order = data["type"].removeprefix("response."), items.setdefault(data["output_index"], [])
        if kind == "output_item.added":
            types[data["output_index"]] = data["item"]["type"]
        if not kind.endswith(".delta") or order[-1] != kind:        # of deltas there are any number
            order.append(kind)
    for index, order in items.items():
        text = {"reasoning": "reasoning_text", "message": "output_text"}.get(types[index])
        inner = ["content_part.added", f"{text}.delta", f"{text}.done", "content_part.done"] if text else \
            ["function_call_arguments.delta", "function_call_arguments.done"]
        assert order == ["output_item.added", *inner, "output_item.done"], order
    done = [data["item"] for name, data in events if name == "response.output_item.done"]
    assert done == events[-1][1]["response"]["output"]
    return events[-1][1]["response"], ignored


def codex_reads_its_events_and_goes_on():
    with Gateway(QWEND) as http:
        first, ignored = response(http, codex(said("user", SUM)))
        assert set(ignored) == {"tools.custom", "tools.web_search", "reasoning.summary", "store", "prompt_cache_key", "text.verbosity", "client_metadata"}, ignored
        assert [o["type"] for o in first["output"]] in (["reasoning", "message"], ["reasoning", "function_call"]), first
        later = [said("user", SUM), *codex_again(first["output"]), *codex_results(first["output"]), said("developer", "It is 2026-11-26 09:00:00 UTC."),
                 said("user", "And plus 1?")]
        second, _ = response(http, codex(*later))
        usage = second["usage"]
        cached = usage["input_tokens_details"]["cached_tokens"] / usage["input_tokens"]
        print(f"# {100 * cached:.1f} % of the second turn were reused", flush=True)
        assert cached > 0.9, usage


def logprobs_are_told_where_they_are_included():
    with Gateway(QWEND) as http:
        body = {"input": SUM, "temperature": 0, "include": ["message.output_text.logprobs"], "top_logprobs": 2}
        whole = http.post(RESPONSES, body).json
        told = whole["output"][-1]["content"][0]["logprobs"]
        assert [len(t["top_logprobs"]) for t in told] == [2] * len(told) and told[0]["token"] == "1", told
        events = http.post(RESPONSES, {**body, "stream": True}).events()
        deltas = [t for _, d in events if d["type"] == "response.output_text.delta" for t in d["logprobs"]]
        assert deltas == told[:len(deltas)] and deltas, (deltas, told)
        assert [d["logprobs"] for _, d in events if d["type"] == "response.output_text.done"] == [told]


def more_tokens_than_there_are_may_be_asked_for():
    asked = claude_now(asks(SUM), stream=False, temperature=0)          # 32,000 of them
    with Gateway(QWEND) as http:
        got = http.post(MESSAGES, asked).json
        assert got["stop_reason"] in ("end_turn", "tool_use"), got      # its answer, whatever that is
        n_prompt = got["usage"]["input_tokens"] + got["usage"]["cache_read_input_tokens"]
    with Qwend(golden("demo.gguf"), "--context", str(n_prompt + 5)) as tight, Gateway(tight) as http:
        tight.wait_line("serves")
        got = http.post(MESSAGES, asked).json
        assert (got["stop_reason"], got["usage"]["output_tokens"]) == ("model_context_window_exceeded", 5), got
        native = http.post("/completion", {"prompt": "a b c", "n_predict": 100000, "ignore_eos": True}).json
        assert native["stop_type"] == "limit" and native["tokens_predicted"] + native["tokens_evaluated"] == n_prompt + 5, native
        assert http.post("/v1/chat/completions", {"messages": [asks(SUM)], "max_tokens": 32000}).status == 400
        full = http.post(MESSAGES, claude_now(asks(SUM), asks("x " * 20)))
        assert full.status == 400 and "answer needs room" in full.json["error"]["message"], full


def what_cannot_be_done_is_refused_by_name():
    call = {"type": "local_shell_call", "call_id": "c", "action": {"type": "exec", "command": ["ls"]}}
    schema = {"format": {"type": "json_schema", "name": "codex_output_schema", "strict": True, "schema": {"type": "object"}}}
    used = claude_again([{"type": "server_tool_use", "id": "t", "name": "web_search", "input": {}}])
    with Gateway(QWEND, "--tools", "refuse") as http, Gateway(QWEND, "--tools", "ignore") as lax:
        for gateway, path, body, word in [
            (http, RESPONSES, codex(said("user", SUM)), "tools"), (http, MESSAGES, claude(asks(SUM)), "tools"),
            (http, "/v1/messages/count_tokens?beta=true", claude(asks(SUM)), "tools"),
            (lax, RESPONSES, codex(said("user", SUM), tool_choice="required"), "tool_choice"),
            (lax, MESSAGES, claude(asks(SUM), tool_choice={"type": "any"}), "tool_choice"),
            (lax, RESPONSES, codex(said("user", SUM), call), "input[4].type"),
            (lax, RESPONSES, codex(said("user", SUM), text=schema), "text.format"),
            (lax, RESPONSES, codex(said("user", SUM), previous_response_id="resp_x"), "previous_response_id"),
            (lax, RESPONSES, codex(said("user", SUM), include=["x"] * 65), "include"),
            (lax, MESSAGES, claude(asks(SUM), used), "messages[1].content[0].type"),
            (lax, MESSAGES, claude_now(asks(SUM), output_config={"format": {"type": "json_schema", "schema": {}}}), "output_config.format"),
        ]:
            got = gateway.post(path, body)
            assert got.status == 400 and word in got.json["error"]["message"], (word, got)
        assert http.post(MESSAGES, claude(asks(SUM), tool_choice={"type": "none"})).status == 200
        counted = lax.post("/v1/messages/count_tokens?beta=true", claude(asks(SUM))).json["input_tokens"]
        _, usage = message(lax, claude(asks(SUM)))
        assert counted == usage["input_tokens"] + usage["cache_read_input_tokens"], (counted, usage)


if __name__ == "__main__":
    with Qwend(golden("demo.gguf"), "--context", "8192") as QWEND:
        QWEND.wait_line("serves")
        CONFIG = QWEND.folder + "/http.conf"
        with open(CONFIG, "w", encoding="ascii") as F:
            F.write("[http]\nnormalise = no\n")
        sys.exit(qwp.run([
            a_head_that_changes_is_read_once, a_loop_of_tools_is_read_once, a_repository_that_changes_is_read_once_more, without_that_little_is_reused,
            codex_reads_its_events_and_goes_on, logprobs_are_told_where_they_are_included, more_tokens_than_there_are_may_be_asked_for,
            what_cannot_be_done_is_refused_by_name]))
