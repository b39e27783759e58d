"""Does a GGUF of ours say the same elsewhere?  check_hf.py MODEL.gguf --probe QWEND-PROBE [--llama LLAMA_GREEDY].

Takes prompts from suites/, thinking on and off in turn, and asks for greedy answers: from qwend-probe, from Hugging
Face's Qwen3_5 classes with the file's weights in float32, and from llama.cpp if llama_greedy (llama_greedy.c) is given.
An answer that differs is reported with the margin between the two tokens at that place, in float32: below the noise of
8-bit activations (MARGIN) it says nothing, above it something is wrong.  Then the share of tokens of these answers
that the draft head proposes rightly.  Exit status 1 if anything is wrong.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import torch

from export import GLOBAL, LAYER, MTP
from model import CHUNK, Config, Model

HERE = Path(__file__).parent
MARGIN = 0.7  # in logits: four times what 8-bit activations change a Q4_K_M of this size by (rms, ../agreement.json)
LOGITS_MAX = 2e-3  # between this folder's model.py and the HF classes, both float32


def field(reader, name):
    return reader.fields[f"qwen35.{name}"].contents()


def read_config(reader):
    mtp = "qwen35.nextn_predict_layers" in reader.fields
    return Config(
        n_vocab=len(reader.fields["tokenizer.ggml.tokens"].contents()),
        dim=field(reader, "embedding_length"),
        n_layers=field(reader, "block_count") - int(mtp),
        n_ff=field(reader, "feed_forward_length"),
        n_qh=field(reader, "attention.head_count"),
        n_kvh=field(reader, "attention.head_count_kv"),
        d_attn=field(reader, "attention.key_length"),
        n_kh=field(reader, "ssm.group_count"),
        n_vh=field(reader, "ssm.time_step_rank"),
        d_delta=field(reader, "ssm.state_size"),
        rope_base=field(reader, "rope.freq_base"),
        interval=field(reader, "full_attention_interval"),
        mtp=mtp,
    )


def hf_name(name, n_layers):
    for table, prefix in ((GLOBAL, ""), (MTP, f"blk.{n_layers}.nextn.")):
        back = {prefix + v: k for k, v in table.items()}
        if name in back:
            return back[name] if not prefix else f"mtp.{back[name]}"
    block, part = name.removeprefix("blk.").split(".", 1)
    own = {v: k for k, v in LAYER.items()}[part]
    return f"mtp.layers.0.{own}" if int(block) == n_layers else f"model.layers.{block}.{own}"


def revert(name, x):
    """What export.convert() did, undone."""
    if name.endswith("A_log"):
        return np.log(-x)
    if "conv1d" in name:
        return x[:, None]
    if "norm" in name and "linear_attn.norm" not in name:
        return x - 1
    return x


def load_gguf(path):
    """(Config, state dict in Hugging Face's names, float32) of a file, whatever its types."""
    reader = gguf.GGUFReader(path)
    config = read_config(reader)
    state = {}
    for t in reader.tensors:
        name = hf_name(t.name, config.n_layers)
        x = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
        state[name] = torch.from_numpy(revert(name, x).copy())
    return config, state


def hf_model(c, state):
    from transformers.models.qwen3_5.configuration_qwen3_5 import Qwen3_5TextConfig
    from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5ForCausalLM

    pairs = c.n_rot // 2
    rope = {"rope_type": "default", "rope_theta": c.rope_base, "partial_rotary_factor": 0.25, "mrope_interleaved": True}
    rope["mrope_section"] = [pairs - 2 * (pairs // 3), pairs // 3, pairs // 3]
    config = Qwen3_5TextConfig(
        vocab_size=c.n_vocab, hidden_size=c.dim, intermediate_size=c.n_ff, num_hidden_layers=c.n_layers,
        num_attention_heads=c.n_qh, num_key_value_heads=c.n_kvh, head_dim=c.d_attn, rms_norm_eps=c.eps,
        linear_key_head_dim=c.d_delta, linear_value_head_dim=c.d_delta, linear_num_key_heads=c.n_kh,
        linear_num_value_heads=c.n_vh, linear_conv_kernel_dim=c.conv_k, full_attention_interval=c.interval,
        tie_word_embeddings=True, rope_parameters=rope,
    )  # fmt: skip
    model = Qwen3_5ForCausalLM(config).eval()
    body = {k: v for k, v in state.items() if not k.startswith("mtp.")}
    missing, unexpected = model.load_state_dict(body, strict=False)
    if unexpected or set(missing) - {"lm_head.weight"}:
        sys.exit(f"check_hf.py: weights missing {missing} or unexpected {unexpected}")
    return model


def own_model(c, state):
    model = Model(c)
    model.load_state_dict(state)
    return model.eval()


def lines_of(command, objects):
    """JSON lines through a verb of qwend-probe."""
    text = "".join(json.dumps(o) + "\n" for o in objects)
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def load_prompts(probe, path, n):
    """Token ids of n prompts, taken evenly from the suites."""
    suites = [f.read_text(encoding="utf-8").splitlines() for f in sorted((HERE / "suites").glob("*.jsonl"))]
    chosen = [json.loads(suites[i % len(suites)][i // len(suites)]) for i in range(n)]
    asked = [
        {"messages": c["messages"], "tools": c.get("tools") or [], "enable_thinking": i % 2 == 0, "add_generation_prompt": True}
        for i, c in enumerate(chosen)
    ]
    texts = lines_of([probe, "render", path], asked)
    return [r["ids"] for r in lines_of([probe, "tokenize", path], texts)]


def until(ids, eos):
    return ids[: ids.index(eos) + 1] if eos in ids else ids


@torch.no_grad()
def hf_greedy(model, ids, n, eos):
    return model.generate(
        torch.tensor([ids]), max_new_tokens=n, do_sample=False, eos_token_id=eos, pad_token_id=eos
    )[0].tolist()[len(ids) :]  # fmt: skip


def padded(ids):
    return torch.tensor([ids + [0] * (-len(ids) % CHUNK)])


@torch.no_grad()
def margin(hf, prompt, one, other):
    """Where two answers part, and how far apart the two tokens' logits are there."""
    at = next((i for i, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))
    logits = hf(input_ids=torch.tensor([prompt + one[:at]])).logits[0, -1]
    pair = [logits[x[at]] if at < len(x) else logits.max() for x in (one, other)]
    return at, abs(float(pair[0] - pair[1]))


@torch.no_grad()
def drafts_right(own, prompt, answer):
    """(right, all) tokens of the answer that the draft head sees coming from two places before."""
    ids = padded(prompt + answer)
    pos = torch.arange(ids.shape[1])[None]
    hidden = own.hidden(ids, pos, torch.float32)
    proposed = own.head(own.drafts(hidden, ids, pos, torch.float32), torch.float32).argmax(-1)[0].tolist()
    first, last = len(prompt), len(prompt) + len(answer)
    flat = ids[0].tolist()
    return sum(proposed[t - 2] == flat[t] for t in range(first + 1, last)), last - first - 1


@torch.no_grad()
def logits_apart(own, hf, prompts):
    worst = 0.0
    for ids in prompts:
        mine = own.logits(padded(ids))[0, : len(ids)]
        worst = max(worst, float((mine - hf(input_ids=torch.tensor([ids])).logits[0]).abs().max()))
    return worst


def compare(name, hf, prompts, answers, others):
    """Number of answers that differ although float32 is sure."""
    same = sum(a == b for a, b in zip(answers, others))
    print(f"{name}: {same} of {len(answers)} answers the same")
    wrong = 0
    for i, (prompt, one, other) in enumerate(zip(prompts, answers, others)):
        if one != other:
            at, apart = margin(hf, prompt, one, other)
            wrong += apart > MARGIN
            print(f"  prompt {i}: differs from token {at} on, {apart:.4f} apart{' WRONG' if apart > MARGIN else ''}")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--probe", required=True)
    parser.add_argument("--llama")
    parser.add_argument("--prompts", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=200)
    args = parser.parse_args()
    torch.set_num_threads(1)
    config, state = load_gguf(args.model)
    hf, own = hf_model(config, state), own_model(config, state)
    eos = gguf.GGUFReader(args.model).fields["tokenizer.ggml.eos_token_id"].contents()
    prompts = load_prompts(args.probe, args.model, args.prompts)
    apart = logits_apart(own, hf, prompts[:8])
    print(f"logits of model.py and of the HF classes: {apart:.2e} apart at most")
    asked = [{"ids": p, "n": args.tokens} for p in prompts]
    answers = [until(a["ids"], eos) for a in lines_of([args.probe, "greedy", args.model], asked)]
    wrong = int(apart > LOGITS_MAX)
    wrong += compare("HF", hf, prompts, answers, [hf_greedy(hf, p, args.tokens, eos) for p in prompts])
    if args.llama:
        text = "".join(f"{args.tokens} {' '.join(map(str, p))}\n" for p in prompts)
        done = subprocess.run([args.llama, args.model], input=text, capture_output=True, text=True, check=True)
        theirs = [until([int(x) for x in line.split()], eos) for line in done.stdout.splitlines()]
        wrong += compare("llama.cpp", hf, prompts, answers, theirs)
    if config.mtp:
        right, n = (sum(x) for x in zip(*(drafts_right(own, p, a) for p, a in zip(prompts, answers))))
        print(f"draft head: {right} of {n} tokens right, {100 * right / n:.1f} %")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
