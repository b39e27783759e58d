#!/usr/bin/env python3
"""story_params.py - what a request may say beside its prompt, on the demo model: each parameter changes what it names."""
import sys

import qwp
from gateway import Gateway, chat
from harness import Qwend, golden

HELLO = "What does qwenctl ps do?"


def ask(**fields):
    got = HTTP.post("/v1/chat/completions", chat(HELLO, **{"reasoning_effort": "none", **fields}))
    assert got.status == 200, got
    return got.json


def text(got, i=0):
    return got["choices"][i]["message"]["content"]


def thinking_is_turned_off_in_three_ways():
    for fields in ({}, {"reasoning_effort": None, "enable_thinking": False},
                   {"reasoning_effort": None, "chat_template_kwargs": {"enable_thinking": False}}):
        got = ask(**fields)
        assert "reasoning" not in got["choices"][0]["message"], got
    assert ask(reasoning_effort="low")["choices"][0]["message"]["reasoning"]


def stop_strings_end_the_answer_and_are_not_said():
    whole = text(ask())
    words = whole.split()
    stop = [f"never {i}" for i in range(15)] + [words[3]]
    got = ask(stop=stop)
    assert text(got) == whole[:whole.index(words[3])] and got["choices"][0]["finish_reason"] == "stop", got
    assert text(ask(stop=words[3])) == text(got)
    streamed = HTTP.post("/v1/chat/completions", chat(HELLO, reasoning_effort="none", stop=stop, stream=True))
    said = "".join(d["choices"][0]["delta"].get("content", "") for _, d in streamed.events()[:-1])
    assert said == text(got), said


def the_newer_name_of_the_token_limit_wins():
    got = ask(max_tokens=9, max_completion_tokens=3)
    assert got["usage"]["completion_tokens"] == 3 and got["choices"][0]["finish_reason"] == "length", got


def several_answers_come_in_one_response():
    got = ask(n=3, max_tokens=8, temperature=8, seed=7, top_k=0, top_p=1)
    assert [c["index"] for c in got["choices"]] == [0, 1, 2]
    assert len({text(got, i) for i in range(3)}) > 1, "each has its own seed"
    assert text(got) == text(ask(n=1, max_tokens=8, temperature=8, seed=7, top_k=0, top_p=1)), "seeds count up"
    streamed = HTTP.post("/v1/chat/completions", chat(HELLO, reasoning_effort="none", n=3, max_tokens=8, temperature=8, seed=7,
                                                      top_k=0, top_p=1, stream=True)).events()
    said = ["", "", ""]
    for _, data in streamed[:-1]:
        said[data["choices"][0]["index"]] += data["choices"][0]["delta"].get("content", "")
    assert said == [text(got, i) for i in range(3)]


def logprobs_name_each_token_of_the_answer():
    got = ask(logprobs=True, top_logprobs=2, max_tokens=6)
    content = got["choices"][0]["logprobs"]["content"]
    assert "".join(t["token"] for t in content) == text(got), content
    for token in content:
        assert token["logprob"] <= 0 and len(token["top_logprobs"]) == 2
        assert token["top_logprobs"][0]["token"] == token["token"], "greedy takes the best"
        assert bytes(token["bytes"]).decode() == token["token"]
    streamed = HTTP.post("/v1/chat/completions", chat(HELLO, reasoning_effort="none", logprobs=True, top_logprobs=2, max_tokens=6,
                                                      stream=True)).events()
    assert [t for _, d in streamed[:-1] for t in (d["choices"][0]["logprobs"] or {"content": []})["content"]] == content


def a_bias_bans_a_token():
    first = ask(logprobs=True, max_tokens=1)["choices"][0]["logprobs"]["content"][0]["token"]
    ids = HTTP.post("/tokenize", {"content": first}).json["tokens"]
    assert len(ids) == 1, ids
    assert text(ask(max_tokens=1, logit_bias={str(ids[0]): -100})) != first


def penalties_and_filters_are_taken():
    plain = text(ask())
    assert text(ask(presence_penalty=2, frequency_penalty=2)) != plain or text(ask(repeat_penalty=50)) != plain
    ask(top_k=3, top_p=0.5, min_p=0.1, temperature=0.7, repeat_last_n=64, cache_prompt=False, max_tokens=2)


def reasoning_fields_follow_the_configuration():
    for field, names in [("both", {"reasoning", "reasoning_content"}), ("reasoning", {"reasoning"}),
                         ("reasoning_content", {"reasoning_content"}), ("none", set())]:
        with Gateway(QWEND, "--reasoning-field", field) as http:
            message = http.post("/v1/chat/completions", chat("What is 7 + 8?")).json["choices"][0]["message"]
            assert set(message) - {"role", "content", "refusal"} == names, message
            deltas = [d["choices"][0]["delta"] for _, d in
                      http.post("/v1/chat/completions", chat("What is 7 + 8?", stream=True)).events()[:-1]]
            assert {k for d in deltas for k in d} - {"role", "content"} == names


def past_reasoning_is_read_under_both_names():
    turns = [{"role": "user", "content": "What is 7 + 8?"}, {"role": "assistant", "content": "15"},
             {"role": "user", "content": "And plus 1?"}]
    counts = set()
    for name in ("reasoning", "reasoning_content"):
        turns[1] = {"role": "assistant", "content": "15", name: "7+8=15"}
        got = HTTP.post("/v1/chat/completions", {"messages": turns, "temperature": 0, "max_tokens": 4})
        assert got.status == 200, got
        counts.add(got.json["usage"]["prompt_tokens"])
    assert len(counts) == 1, counts


def system_messages_at_the_front_are_one():
    def n_prompt(*contents):
        messages = [{"role": r, "content": c} for r, c in contents]
        got = HTTP.post("/v1/chat/completions", {"messages": messages, "max_tokens": 1})
        assert got.status == 200, got
        return got.json["usage"]["prompt_tokens"]

    assert n_prompt(("system", "A"), ("developer", "B"), ("user", "x")) == n_prompt(("system", "A\n\nB"), ("user", "x"))


def completions_go_on_with_a_text_or_with_ids():
    prompt = "<|im_start|>user\nWhat is 7 + 8?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    got = HTTP.post("/v1/completions", {"prompt": prompt, "temperature": 0, "logprobs": 1}).json
    choice = got["choices"][0]
    assert got["object"] == "text_completion" and choice["finish_reason"] == "stop" and choice["text"].strip(), got
    assert "".join(choice["logprobs"]["tokens"]) == choice["text"] + "<|im_end|>", "the token that ended it is named as well"
    assert len(choice["logprobs"]["token_logprobs"]) == \
        len(choice["logprobs"]["tokens"]) == len(choice["logprobs"]["top_logprobs"])
    ids = HTTP.post("/tokenize", {"content": prompt}).json["tokens"]
    assert len(ids) == got["usage"]["prompt_tokens"]
    again = HTTP.post("/v1/completions", {"prompt": ids, "temperature": 0}).json
    assert again["choices"][0]["text"] == choice["text"]
    events = HTTP.post("/v1/completions", {"prompt": [prompt], "temperature": 0, "stream": True,
                                           "stream_options": {"include_usage": True}}).events()
    assert events[-1][1] == "[DONE]" and events[-2][1]["usage"]["prompt_tokens"] == len(ids)
    said = [d["choices"][0] for name, d in events[:-2] if d]
    assert "".join(c["text"] for c in said) == choice["text"] and said[-1]["finish_reason"] == "stop"
    assert HTTP.post("/v1/completions", {"prompt": "word " * 40, "temperature": 0, "ignore_eos": True}).json["usage"][
        "completion_tokens"] == 16, "OpenAI's default"
    for body, param in [({}, "prompt"), ({"prompt": ["a", "b"]}, "prompt"), ({"prompt": ""}, "prompt"),
                        ({"prompt": [1, "a"]}, "prompt[1]"), ({"prompt": "a", "echo": True}, "echo")]:
        refused = HTTP.post("/v1/completions", body)
        assert refused.status == 400 and refused.json["error"]["param"] == param, (body, refused)


def a_gap_is_filled():
    before, behind = "int main(", ")\n{\n}\n"
    prefix_first = f"<|fim_prefix|>{before}<|fim_suffix|>{behind}<|fim_middle|>"
    suffix_first = f"<|fim_suffix|>{behind}<|fim_prefix|>{before}<|fim_middle|>"
    infill = {"input_prefix": before, "input_suffix": behind, "n_predict": 4, "temperature": 0, "ignore_eos": True}

    def n_tokens(text):
        return len(HTTP.post("/tokenize", {"content": text}).json["tokens"])

    got = HTTP.post("/infill", infill).json
    assert got["tokens_evaluated"] == n_tokens(prefix_first) and got["tokens_predicted"] == 4, got
    for path, body in [("/v1/completions", {"prompt": before, "suffix": behind, "max_tokens": 4, "ignore_eos": True}),
                       ("/completion", {"prompt": prefix_first, "n_predict": 4, "ignore_eos": True}),
                       ("/api/generate", {"prompt": before, "suffix": behind, "stream": False,
                                          "options": {"num_predict": 4, "ignore_eos": True}})]:
        other = HTTP.post(path, {**body, "temperature": 0} if path[1] != "a" else body).json
        said = other["choices"][0]["text"] if "choices" in other else other.get("content", other.get("response"))
        assert said == got["content"], (path, other, got)
    with Gateway(QWEND, "--gap-order", "suffix-first") as http:
        turned = http.post("/infill", infill).json["content"]
        assert turned == HTTP.post("/completion", {"prompt": suffix_first, "n_predict": 4, "temperature": 0,
                                                   "ignore_eos": True}).json["content"], turned
    extra = HTTP.post("/infill", {**infill, "input_extra": [{"text": "int x;", "filename": "a.c"}]}).json
    assert extra["tokens_evaluated"] > got["tokens_evaluated"], extra
    assert HTTP.post("/v1/completions", {"prompt": [1], "suffix": "x"}).json["error"]["param"] == "suffix"
    typed = {**infill, "input_prefix": "int ", "prompt": "main("}      # what an editor has of the line
    assert HTTP.post("/infill", typed).json["content"] == got["content"]


def what_is_not_served_says_why():
    for path in ("/v1/embeddings", "/v1/images/generations", "/v1/audio/speech", "/api/embed", "/api/pull", "/embedding", "/rerank"):
        got = HTTP.post(path, {"input": "x"})
        assert got.status == 501 and b"not" in got.body, got


def text_becomes_tokens_and_text_again():
    ids = HTTP.post("/tokenize", {"content": "Hello <|im_end|>"}).json["tokens"]
    plain = HTTP.post("/tokenize", {"content": "Hello <|im_end|>", "parse_special": False}).json["tokens"]
    assert len(plain) > len(ids) > 1
    for tokens in (ids, plain):
        assert HTTP.post("/detokenize", {"tokens": tokens}).json == {"content": "Hello <|im_end|>"}
    assert HTTP.post("/tokenize", {"content": 1}).json["error"]["param"] == "content"
    assert HTTP.post("/detokenize", {"tokens": [-1]}).json["error"]["param"] == "tokens[0]"
    assert HTTP.post("/detokenize", {"tokens": [1 << 31]}).status == 400


def llama_cpp_clients_find_what_they_know():
    props = HTTP.ask("GET", "/props").json
    assert props["default_generation_settings"]["n_ctx"] == 4096 and props["total_slots"] == 4, props
    got = HTTP.post("/completion", {"prompt": "The", "n_predict": 5, "temperature": 0, "ignore_eos": True}).json
    assert got["stop"] and got["stop_type"] == "limit" and got["tokens_predicted"] == 5 and got["content"], got
    events = HTTP.post("/completion", {"prompt": "The", "n_predict": 5, "temperature": 0, "ignore_eos": True, "stream": True,
                                       "n_probs": 1}).events()
    data = [d for _, d in events if d]
    assert "".join(d["content"] for d in data) == got["content"] and [d["stop"] for d in data[-2:]] == [False, True]
    assert HTTP.post("/completion", {"prompt": "The", "n_predict": 0}).json["content"] == ""
    ended = HTTP.post("/completion", {"prompt": "The", "t_max_predict_ms": 50, "ignore_eos": True}).json
    assert ended["stop_type"] == "limit" and 0 < ended["tokens_predicted"] < 4000, ended


STORIES = [
    thinking_is_turned_off_in_three_ways, stop_strings_end_the_answer_and_are_not_said, the_newer_name_of_the_token_limit_wins,
    several_answers_come_in_one_response, logprobs_name_each_token_of_the_answer, a_bias_bans_a_token,
    penalties_and_filters_are_taken, reasoning_fields_follow_the_configuration, past_reasoning_is_read_under_both_names,
    system_messages_at_the_front_are_one, completions_go_on_with_a_text_or_with_ids, a_gap_is_filled, what_is_not_served_says_why,
    text_becomes_tokens_and_text_again, llama_cpp_clients_find_what_they_know,
]

if __name__ == "__main__":
    with Qwend(golden("demo.gguf"), "--context", "4096") as QWEND, Gateway(QWEND) as HTTP:
        QWEND.wait_line("serves")
        sys.exit(qwp.run(STORIES))
