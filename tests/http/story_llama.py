#!/usr/bin/env python3
"""story_llama.py - what clients of llama.cpp's server send and look for, on the demo model.

The members and their types are those that llama-server d32676d77 answered to the same requests with the same file; the requests
are those of its README and of llama.vim.  What it has and we do not is in docs/FROM-LLAMA-SERVER.md."""
import json
import sys

import qwp
from fake import Fake
from gateway import Gateway, chat
from harness import Qwend, golden

ASKED = "<|im_start|>user\nWhat is 7 + 8?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
BODY = {"prompt": ASKED, "n_predict": 8, "temperature": 0, "cache_prompt": False}
TIMINGS = {"cache_n": int, "prompt_n": int, "prompt_ms": float, "prompt_per_token_ms": float, "prompt_per_second": float,
           "predicted_n": int, "predicted_ms": float, "predicted_per_token_ms": float, "predicted_per_second": float}
FINAL = {"index": int, "content": str, "tokens": list, "stop": bool, "model": str, "tokens_predicted": int, "tokens_evaluated": int,
         "truncated": bool, "stop_type": str, "stopping_word": str, "tokens_cached": int, "timings": TIMINGS}
PROB = {"id": int, "token": str, "bytes": list, "logprob": float, "top_logprobs": list}


def fits(value, shape, place=""):
    """A whole number is a float as well."""
    if isinstance(shape, dict):
        for name, inner in shape.items():
            assert name in value, f"{place} has no {name}: {value}"
            fits(value[name], inner, f"{place}.{name}")
    else:
        assert isinstance(value, (int, float) if shape is float else shape), (place, value, shape)


def post(path, body, status=200):
    got = HTTP.post(path, body)
    assert got.status == status, (body, got)
    return got


def completions_have_the_members_that_are_looked_for():
    got = post("/completion", BODY).json
    fits(got, FINAL)
    assert (got["content"], got["tokens_predicted"], got["tokens_evaluated"], got["stop_type"]) == ("15", 3, 20, "eos"), got
    assert {k: v for k, v in post("/completions", BODY).json.items() if k != "timings"} == {k: v for k, v in got.items() if k != "timings"}
    assert post("/completion", {**BODY, "prompt": {"prompt_string": ASKED}}).json["content"] == "15"
    assert post("/completion", {**BODY, "prompt": [ASKED]}).json["content"] == "15"
    word = post("/completion", {**BODY, "stop": ["5"]}).json
    assert (word["content"], word["stop_type"], word["stopping_word"]) == ("1", "word", "5")
    limit = post("/completion", {**BODY, "n_predict": -1, "max_completion_tokens": 1}).json
    assert (limit["content"], limit["stop_type"]) == ("1", "limit")
    for n in ({"n": 1}, {"n_cmpl": 1}, {"top_k": -1}, {"seed": -1}, {"lora": []}, {"grammar": ""}, {"n_keep": 4, "id_slot": -1}):
        assert post("/completion", {**BODY, **n}).json["content"] == "15", n


def the_reading_of_a_prompt_is_told_to_who_asks():
    with Fake(reads=1) as d, d.serving(), Gateway(d) as http:
        for path, body in (("/v1/chat/completions", chat("x" * 100)), ("/completion", {"prompt": "x" * 100, "n_predict": 3})):
            body = {**body, "stream": True, "max_tokens": 3}
            told = [e["prompt_progress"] for _, e in http.post(path, {**body, "return_progress": True}).events() if "prompt_progress" in (e or ())]
            fits(told[0], {"total": int, "cache": int, "processed": int, "time_ms": int})
            assert len(told) == 1 and told[0]["processed"] == told[0]["total"] // 2 > 0, told
            quiet = http.post(path, body).events()
            assert not any("prompt_progress" in (e or ()) for _, e in quiet), quiet


def tokens_come_where_they_are_wanted():
    ids = post("/tokenize", {"content": "15<|im_end|>"}).json["tokens"]
    assert post("/completion", BODY).json["tokens"] == []
    assert post("/completion", {**BODY, "return_tokens": True}).json["tokens"] == ids
    data = [d for _, d in post("/completion", {**BODY, "stream": True}).events() if d]
    assert [i for d in data for i in d["tokens"]] == ids and [d["stop"] for d in data] == [False] * (len(data) - 1) + [True]
    fits(data[-1], FINAL)
    told = post("/completion", {**BODY, "n_probs": 2}).json["completion_probabilities"]
    for token, i in zip(told, ids):
        fits(token, PROB)
        assert token["id"] == i == token["top_logprobs"][0]["id"] and len(token["top_logprobs"]) == 2, token
    data = [d for _, d in post("/completion", {**BODY, "stream": True, "n_probs": 2}).events() if d]
    assert [t for d in data[:-1] for t in d["completion_probabilities"]] == told


def the_answer_can_be_cut_to_what_is_wanted():
    wanted = ["content", "timings/prompt_n", "timings/predicted_ms", "tokens_cached", "nothing", "timings/prompt_n/x", ""]
    got = post("/completion", {**BODY, "response_fields": wanted}).json
    assert set(got) == {"content", "timings/prompt_n", "timings/predicted_ms", "tokens_cached"}, got
    assert (got["content"], got["timings/prompt_n"]) == ("15", 20), got
    last = [d for _, d in post("/completion", {**BODY, "stream": True, "response_fields": ["stop"]}).events() if d][-1]
    assert last == {"stop": True}, last
    for bad, param in [("content", "response_fields"), ([1], "response_fields[0]"), (["x" * 129], "response_fields[0]"), (["x"] * 65, "response_fields")]:
        assert post("/completion", {**BODY, "response_fields": bad}, 400).json["error"]["param"] == param, bad


def biases_come_in_pairs_or_by_id():
    one = post("/tokenize", {"content": "1"}).json["tokens"][0]
    banned = post("/completion", {**BODY, "logit_bias": {str(one): -100}}).json["content"]
    assert not banned.startswith("1")
    for bias in ([[one, -100]], [[one, False]], {str(one): False}):
        assert post("/completion", {**BODY, "logit_bias": bias}).json["content"] == banned, bias
    for bad in ([["1", -1]], [[1]], [[1, True]], [[-1, 1]], [1], "x", [[i, 1] for i in range(513)]):
        assert post("/completion", {**BODY, "logit_bias": bad}, 400).json["error"]["param"].startswith("logit_bias"), bad


def an_editors_requests_are_answered():
    """As llama.vim has them."""
    body = {"id_slot": 0, "input_prefix": "#include <stdio.h>\n", "input_suffix": ")\n{\n}\n", "prompt": "int main(",
            "input_extra": [{"text": "int x;\n", "time": [1, 2], "filename": "a.c"}], "n_predict": 4, "stop": ["\n\n"], "n_indent": 0, "top_k": 40,
            "top_p": 0.99, "stream": False, "samplers": ["top_k", "top_p", "infill"], "cache_prompt": True, "t_max_prompt_ms": 500,
            "t_max_predict_ms": 60000, "response_fields": ["content", "timings/prompt_n", "timings/prompt_ms", "timings/prompt_per_token_ms",
                                                           "timings/prompt_per_second", "timings/predicted_n", "timings/predicted_ms",
                                                           "timings/predicted_per_token_ms", "timings/predicted_per_second", "truncated", "tokens_cached"]}
    got = post("/infill", body)
    assert set(got.json) == set(body["response_fields"]), got
    assert got.headers["x-qwend-ignored"] == "id_slot, n_indent, samplers, t_max_prompt_ms", got
    warm = post("/infill", {**body, "prompt": "", "n_predict": 0, "response_fields": [""]})
    assert warm.json == {}, warm


def templates_and_tokens_are_told():
    chat = {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]}
    text = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n"
    assert post("/apply-template", chat).json == {"prompt": text}
    assert post("/apply-template", {**chat, "chat_template_kwargs": {"enable_thinking": False}}).json["prompt"] == text + "\n</think>\n\n"
    n = len(post("/tokenize", {"content": text}).json["tokens"])
    wanted = {"object": "response.input_tokens", "input_tokens": n}
    assert post("/v1/chat/completions/input_tokens", chat).json == wanted
    assert post("/v1/responses/input_tokens", {"instructions": "Be brief.", "input": "Hi"}).json == wanted
    assert post("/apply-template", {}, 400).json["error"]["param"] == "messages"
    for path in ("/models", "/v1/models"):
        assert HTTP.ask("GET", path).json["data"][0]["object"] == "model"
    assert post("/chat/completions", {**chat, "max_tokens": 1}).json["object"] == "chat.completion"
    fits(HTTP.ask("GET", "/props").json, {"default_generation_settings": {"n_ctx": int}, "total_slots": int, "model_alias": str,
                                          "model_path": str, "modalities": {"vision": bool, "audio": bool}, "build_info": str})


def what_would_change_the_answer_is_refused():
    for body, param in [({"n": 2}, "n"), ({"n_cmpl": 2}, "n_cmpl"), ({"lora": [{"id": 0, "scale": 1}]}, "lora"), ({"json_schema": {}}, "json_schema"),
                        ({"post_sampling_probs": True}, "post_sampling_probs"), ({"grammar": "root ::= \"a\""}, "grammar"),
                        ({"prompt": [ASKED, "a"]}, "prompt"), ({"prompt": [1, "a"]}, "prompt[1]"), ({"prompt": ""}, "prompt"),
                        ({"prompt": {"prompt_string": "x", "multimodal_data": ["eA=="]}}, "prompt"), ({"top_k": -2}, "top_k")]:
        assert post("/completion", {**BODY, **body}, 400).json["error"]["param"] == param, body
    assert post("/tokenize", {"content": "x", "with_pieces": True}, 400).json["error"]["param"] == "with_pieces"
    for path in ("/slots", "/lora-adapters"):
        assert HTTP.ask("GET", path).status == 501
    named = post("/completion", {**BODY, "mirostat": 2, "dry_multiplier": 0.5, "typical_p": 0.9}).headers["x-qwend-ignored"]
    assert named == "mirostat, dry_multiplier, typical_p", named
    assert json.loads(post("/completion", {**BODY, "prompt": "x " * 6000}, 400).body)["error"]["code"] == "context_length_exceeded"


STORIES = [
    completions_have_the_members_that_are_looked_for, the_reading_of_a_prompt_is_told_to_who_asks, tokens_come_where_they_are_wanted, the_answer_can_be_cut_to_what_is_wanted,
    biases_come_in_pairs_or_by_id, an_editors_requests_are_answered, templates_and_tokens_are_told, what_would_change_the_answer_is_refused,
]

if __name__ == "__main__":
    with Qwend(golden("demo.gguf"), "--context", "4096") as QWEND, Gateway(QWEND) as HTTP:
        QWEND.wait_line("serves")
        sys.exit(qwp.run(STORIES))
