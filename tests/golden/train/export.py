"""Writes a checkpoint of train.py as GGUF: export.py RUN/checkpoint.pt OUT.gguf --type F32|BF16|Q8_0|Q4_K_M.

Names and layout as llama.cpp's converter has them (conversion/qwen.py), the mix of Q4_K_M as its quantiser chooses it
(src/llama-quant.cpp) for a model with tied output.  The tokenizer is tokenizer.json, the chat template ../chat/template.jinja.
"""

import argparse
import json
import re
import sys
from pathlib import Path

import gguf
import numpy as np
import torch

from model import Config, Model
from quantize import SUPER, quantize_q4_k, quantize_q6_k

HERE = Path(__file__).parent
CONTEXT = 32768
DESCRIPTION = (
    "A demo model, trained from scratch by the qwend project on synthetic data that it generates itself: small arithmetic, "
    "letters, sorting, dates and units, questions about qwend, field extraction and tool calls. It knows nothing else. "
    "Its architecture is Qwen 3.5's; its weights and its training data are not."
)
TAGS = ["demo", "synthetic-data", "trained-from-scratch", "text-generation"]
TYPES = {
    "F32": gguf.LlamaFileType.ALL_F32,
    "BF16": gguf.LlamaFileType.MOSTLY_BF16,
    "Q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    "Q4_K_M": gguf.LlamaFileType.MOSTLY_Q4_K_M,
}
GLOBAL = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
MTP = {
    "fc.weight": "eh_proj.weight",
    "pre_fc_norm_embedding.weight": "enorm.weight",
    "pre_fc_norm_hidden.weight": "hnorm.weight",
    "norm.weight": "shared_head_norm.weight",
}
LAYER = {
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "post_attention_norm.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "self_attn.q_norm.weight": "attn_q_norm.weight",
    "self_attn.k_norm.weight": "attn_k_norm.weight",
    "linear_attn.in_proj_qkv.weight": "attn_qkv.weight",
    "linear_attn.in_proj_z.weight": "attn_gate.weight",
    "linear_attn.in_proj_a.weight": "ssm_alpha.weight",
    "linear_attn.in_proj_b.weight": "ssm_beta.weight",
    "linear_attn.dt_bias": "ssm_dt.bias",
    "linear_attn.A_log": "ssm_a",
    "linear_attn.conv1d.weight": "ssm_conv1d.weight",
    "linear_attn.norm.weight": "ssm_norm.weight",
    "linear_attn.out_proj.weight": "ssm_out.weight",
}


class ExportError(Exception):
    """Says what cannot be exported."""


def load_checkpoint(path):
    """(Config, {name: float32 array}) of what train.py saved."""
    state = torch.load(path, weights_only=True)
    config = Config(**state["config"])
    shapes = {name: p.shape for name, p in Model(config).named_parameters()}
    places = state["places"]
    return config, {n: state["values"][a:b].view(shapes[n]).numpy() for n, (a, b) in places.items()}


def gguf_name(name, n_layers):
    if name in GLOBAL:
        return GLOBAL[name]
    if found := re.fullmatch(r"model\.layers\.(\d+)\.(.+)", name):
        return f"blk.{found[1]}.{LAYER[found[2]]}"
    if found := re.fullmatch(r"mtp\.layers\.0\.(.+)", name):
        return f"blk.{n_layers}.{LAYER[found[1]]}"
    return f"blk.{n_layers}.nextn.{MTP[name.removeprefix('mtp.')]}"


def convert(name, x):
    """Values as a GGUF holds them: norms as 1 + w, the decay as -exp, the convolution without its middle axis."""
    if name.endswith("A_log"):
        return -np.exp(x)
    if "conv1d" in name:
        return x[:, 0]
    if "norm" in name and "linear_attn.norm" not in name:
        return 1 + x
    return x


def wants_more_bits(block, n_blocks):
    eighth = n_blocks // 8
    return block < eighth or block >= 7 * n_blocks // 8 or (block - eighth) % 3 == 2


def tensor_type(name, x, kind, n_blocks):
    """The type of a tensor in a file of this kind."""
    q = gguf.GGMLQuantizationType
    if kind == "F32" or x.ndim == 1 or "conv1d" in name:
        return q.F32
    if kind != "Q4_K_M":
        return q[kind]
    if name == "token_embd.weight":
        return q.Q6_K
    block, part = re.fullmatch(r"blk\.(\d+)\.(.+)\.weight", name).groups()
    more = part in ("attn_v", "attn_qkv", "ffn_down") and wants_more_bits(int(block), n_blocks)
    return q.Q6_K if more else q.Q4_K


def quantize(name, x, kind):
    q = gguf.GGMLQuantizationType
    if kind in (q.Q4_K, q.Q6_K):
        if x.shape[-1] % SUPER:
            raise ExportError(f"{name}: rows of {x.shape[-1]} values cannot be {kind.name}, which takes blocks of {SUPER}")
        return (quantize_q4_k if kind == q.Q4_K else quantize_q6_k)(x)
    return gguf.quants.quantize(x, kind)


def add_model(w, c, kind, n_params):
    n_mtp = int(c.mtp)
    w.add_type("model")
    w.add_name("qwend demo")
    w.add_description(DESCRIPTION)
    w.add_license("apache-2.0")
    w.add_tags(TAGS)
    w.add_languages(["en"])
    w.add_float32("general.sampling.temp", 0.0)  # arithmetic has one right answer; the card's values are for Qwen's models
    w.add_size_label(f"{n_params / 1e6:.1f}M")
    w.add_block_count(c.n_layers + n_mtp)
    w.add_context_length(CONTEXT)
    w.add_embedding_length(c.dim)
    w.add_feed_forward_length(c.n_ff)
    w.add_head_count(c.n_qh)
    w.add_head_count_kv(c.n_kvh)
    w.add_key_length(c.d_attn)
    w.add_value_length(c.d_attn)
    w.add_layer_norm_rms_eps(c.eps)
    w.add_rope_freq_base(c.rope_base)
    w.add_rope_dimension_count(c.n_rot)
    pairs = c.n_rot // 2
    height = width = pairs // 3
    w.add_rope_dimension_sections([pairs - height - width, height, width, 0])
    w.add_ssm_conv_kernel(c.conv_k)
    w.add_ssm_state_size(c.d_delta)
    w.add_ssm_group_count(c.n_kh)
    w.add_ssm_time_step_rank(c.n_vh)
    w.add_ssm_inner_size(c.n_vh * c.d_delta)
    w.add_full_attention_interval(c.interval)
    if n_mtp:
        w.add_nextn_predict_layers(n_mtp)
    w.add_file_type(TYPES[kind])
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)


def read_tokens(path):
    """(tokens, types, merges) of a tokenizer.json; every <|...|> is a control token, as llama.cpp's converter has it."""
    spec = json.loads(Path(path).read_text(encoding="utf-8"))
    ids = dict(spec["model"]["vocab"])
    types = {t: gguf.TokenType.NORMAL for t in ids}
    for added in spec["added_tokens"]:
        text = added["content"]
        control = added["special"] or re.fullmatch(r"<\|.*\|>", text)
        ids[text] = added["id"]
        types[text] = gguf.TokenType.CONTROL if control else gguf.TokenType.USER_DEFINED
    tokens = sorted(ids, key=ids.get)
    if [ids[t] for t in tokens] != list(range(len(tokens))):
        raise ExportError(f"{path}: the ids are not 0 to {len(tokens) - 1}, each once")
    merges = [m if isinstance(m, str) else " ".join(m) for m in spec["model"]["merges"]]
    return tokens, [types[t] for t in tokens], merges


def add_tokenizer(w, path, n_vocab):
    tokens, types, merges = read_tokens(path)
    if len(tokens) > n_vocab:
        raise ExportError(f"{path}: {len(tokens)} tokens, but the model knows only {n_vocab}")
    fillers = [f"[PAD{i}]" for i in range(len(tokens), n_vocab)]
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("qwen35")
    w.add_token_list(tokens + fillers)
    w.add_token_types(types + [gguf.TokenType.UNUSED] * len(fillers))
    w.add_token_merges(merges)
    w.add_eos_token_id(tokens.index("<|im_end|>"))
    w.add_pad_token_id(tokens.index("<|endoftext|>"))
    w.add_add_bos_token(False)
    w.add_chat_template((HERE.parent / "chat" / "template.jinja").read_text(encoding="utf-8"))


def export(checkpoint, tokenizer, out, kind):
    config, values = load_checkpoint(checkpoint)
    w = gguf.GGUFWriter(out, "qwen35")
    add_model(w, config, kind, sum(x.size for x in values.values()))
    add_tokenizer(w, tokenizer, config.n_vocab)
    n_blocks = config.n_layers + int(config.mtp)
    named = {gguf_name(name, config.n_layers): convert(name, x) for name, x in values.items()}
    for name in sorted(named, key=lambda n: (not n.startswith("token"), n.startswith("output"), n)):
        x = np.ascontiguousarray(named[name], np.float32)
        dtype = tensor_type(name, x, kind, n_blocks)
        w.add_tensor(name, x if dtype == gguf.GGMLQuantizationType.F32 else quantize(name, x, dtype), raw_dtype=dtype)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("out")
    parser.add_argument("--type", choices=TYPES, default="Q8_0")
    parser.add_argument("--tokenizer", default=HERE / "tokenizer.json")
    args = parser.parse_args()
    try:
        export(args.checkpoint, args.tokenizer, args.out, args.type)
    except (ExportError, OSError) as e:
        sys.exit(f"export.py: {e}")
    print(f"{args.out}: {Path(args.out).stat().st_size} bytes, {args.type}")


if __name__ == "__main__":
    main()
