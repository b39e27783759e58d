"""The Qwen 3.5 text model in PyTorch, small and for training on a CPU: train.py trains it, export.py writes it as GGUF.

Parameter names are those of Hugging Face's Qwen3_5ForCausalLM (and `mtp.*` as in the published checkpoints), so that
a state dict loads there unchanged; check_hf.py compares the logits.  The arithmetic is docs/MODEL.md's.  What differs
from a general implementation: several documents share a row (each starts from a clean state, a reset in the
decay, the convolution and the attention mask), and the delta rule runs in chunks whose triangular systems are
solved by inverting growing diagonal blocks, which is all matrix products and so quick in bfloat16.
"""

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

RESET = 40.0  # taken from the log decay where a document starts: exp(-40) of the old state is below bfloat16's reach
CHUNK = 32  # tokens that the delta rule solves together; 16 to 64 cost about the same


@dataclass
class Config:
    """Shape of a model; n_kh = n_vh is required, since the exporter does not permute value heads."""

    n_vocab: int = 2048
    dim: int = 256
    n_layers: int = 4
    n_ff: int = 768
    n_qh: int = 2
    n_kvh: int = 1
    d_attn: int = 128
    n_kh: int = 4
    n_vh: int = 4
    d_delta: int = 64
    conv_k: int = 4
    rope_base: float = 10000.0
    interval: int = 4  # every interval-th layer attends, the others are DeltaNet
    eps: float = 1e-6
    mtp: bool = True

    def __post_init__(self):
        if self.n_kh != self.n_vh:
            raise ValueError(f"n_kh {self.n_kh} != n_vh {self.n_vh}: only equal numbers of heads are supported")
        if self.n_layers % self.interval:
            raise ValueError(f"n_layers {self.n_layers} is no multiple of interval {self.interval}")

    @property
    def n_rot(self):
        return self.d_attn // 4

    def as_dict(self):
        return asdict(self)


def rms(x, weight, eps):
    x = x.float()
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight


class Norm(nn.Module):
    """RMS norm whose weight is stored as its difference from one."""

    def __init__(self, n, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n))
        self.eps = eps

    def forward(self, x):
        return rms(x, 1 + self.weight, self.eps)


class GatedNorm(nn.Module):
    """Holds the plain weight of the norm behind the delta rule."""

    def __init__(self, n):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n))


def unit_lower_inverse(low):
    """Inverse of I + low, low strictly lower triangular [..., n, n], n a power of two.

    The inverse of [[A, 0], [B, D]] is [[A', 0], [-D'BA', D']]: blocks of 1 merge to 2, 4, ... n.
    """
    *batch, n, _ = low.shape
    inverse = torch.ones(*batch, n, 1, 1, dtype=low.dtype)
    size = 1
    while size < n:
        pairs = n // (2 * size)
        diagonal = torch.diagonal(low.reshape(*batch, pairs, 2 * size, pairs, 2 * size), dim1=-4, dim2=-2)
        below = diagonal[..., size:, :size, :].movedim(-1, -3)
        halves = inverse.reshape(*batch, pairs, 2, size, size)
        first, second = halves[..., 0, :, :], halves[..., 1, :, :]
        corner = -(second @ (below @ first))
        top = torch.cat([first, torch.zeros_like(first)], -1)
        inverse = torch.cat([top, torch.cat([corner.to(first.dtype), second], -1)], -2)
        size *= 2
    return inverse.reshape(*batch, n, n)


class SolveUnitLower(torch.autograd.Function):
    """x with (I + low) x = rhs.  Its gradient needs two products only, not those of every merging step."""

    @staticmethod
    def forward(ctx, low, rhs):
        inverse = unit_lower_inverse(low).to(rhs.dtype)
        x = inverse @ rhs
        ctx.save_for_backward(inverse, x)
        return x

    @staticmethod
    def backward(ctx, grad):
        inverse, x = ctx.saved_tensors
        grad_rhs = inverse.transpose(-1, -2) @ grad.to(inverse.dtype)
        return -(grad_rhs @ x.transpose(-1, -2)).tril(-1).float(), grad_rhs


def delta_rule(q, k, v, log_decay, beta, dtype):
    """q k v [rows, heads, tok, d], log_decay beta [rows, heads, tok] -> [rows, heads, tok, d].

    Chunked form: inside a chunk the writes solve a unit lower triangular system, between chunks a state [d, d] is
    carried.  Products run in dtype, decays, the system and the state in float32.
    """
    rows, heads, n_tok, d = q.shape
    n = n_tok // CHUNK
    q, k, v = (x.reshape(rows * heads, n, CHUNK, d) for x in (q, k, v))
    beta = beta.reshape(rows * heads, n, CHUNK, 1)
    total = log_decay.reshape(rows * heads, n, CHUNK).cumsum(-1)
    causal = torch.ones(CHUNK, CHUNK, dtype=torch.bool).tril()
    decay = (total[..., :, None] - total[..., None, :]).masked_fill(~causal, float("-inf")).exp()
    from_start, to_end = total.exp()[..., None], (total[..., -1:] - total).exp()[..., None]
    kt = k.to(dtype).transpose(-1, -2)
    low = (((k * beta).to(dtype) @ kt).float() * decay).tril(-1)
    solved = SolveUnitLower.apply(low, torch.cat([v * beta, k * beta * from_start], -1).to(dtype))
    values, keys = solved[..., :d], solved[..., d:]
    carried = (k * to_end).to(dtype).transpose(-1, -2)
    keep = from_start[:, :, -1:]
    state = torch.zeros(rows * heads, d, d)
    states, writes = [], []
    for i in range(n):
        old = state.to(dtype)
        write = values[:, i] - keys[:, i] @ old
        states.append(old)
        writes.append(write)
        if i + 1 < n:
            state = state * keep[:, i] + carried[:, i] @ write
    inside = ((q.to(dtype) @ kt).float() * decay).to(dtype)
    out = (q * from_start).to(dtype) @ torch.stack(states, 1) + inside @ torch.stack(writes, 1)
    return out.reshape(rows, heads, n_tok, d)


class Delta(nn.Module):
    """Gated DeltaNet mixer."""

    def __init__(self, c):
        super().__init__()
        self.c = c
        n_k, n_v = c.n_kh * c.d_delta, c.n_vh * c.d_delta
        channels = 2 * n_k + n_v
        self.in_proj_qkv = nn.Linear(c.dim, channels, bias=False)
        self.in_proj_z = nn.Linear(c.dim, n_v, bias=False)
        self.in_proj_b = nn.Linear(c.dim, c.n_vh, bias=False)
        self.in_proj_a = nn.Linear(c.dim, c.n_vh, bias=False)
        self.conv1d = nn.Conv1d(channels, channels, c.conv_k, groups=channels, bias=False)
        self.dt_bias = nn.Parameter(torch.ones(c.n_vh))
        self.A_log = nn.Parameter(torch.log(torch.empty(c.n_vh).uniform_(1, 16)))
        self.norm = GatedNorm(c.d_delta)
        self.out_proj = nn.Linear(n_v, c.dim, bias=False)

    def project(self, x):
        """One product for the four inputs: they are small, and the time goes into starting them."""
        parts = [self.in_proj_qkv.weight, self.in_proj_z.weight, self.in_proj_b.weight, self.in_proj_a.weight]
        return F.linear(x, torch.cat(parts)).split([len(p) for p in parts], -1)

    def convolve(self, u, pos):
        """Causal, and nothing from before the document's first token."""
        taps = self.conv1d.weight[:, 0]
        n_tok, last = u.shape[1], self.c.conv_k - 1
        padded = F.pad(u, (0, 0, last, 0))
        y = u.float() * taps[:, last]
        for back in range(1, last + 1):
            past = padded[:, last - back : last - back + n_tok].float() * taps[:, last - back]
            y = y + past * (pos >= back)[..., None]
        return F.silu(y)

    def forward(self, x, pos):
        c = self.c
        rows, n_tok, _ = x.shape
        u, z, b, a = self.project(x)
        u = self.convolve(u, pos).reshape(rows, n_tok, 3, c.n_kh, c.d_delta)
        q, k, v = u.permute(2, 0, 3, 1, 4)
        q = q * torch.rsqrt(q.square().sum(-1, keepdim=True) + 1e-6) * c.d_delta**-0.5
        k = k * torch.rsqrt(k.square().sum(-1, keepdim=True) + 1e-6)
        log_decay = -self.A_log.exp() * F.softplus(a.float() + self.dt_bias) - RESET * (pos == 0)[..., None]
        beta = b.float().sigmoid()
        o = delta_rule(q, k, v, log_decay.transpose(1, 2), beta.transpose(1, 2), x.dtype)
        o = rms(o.transpose(1, 2), self.norm.weight, c.eps) * F.silu(z.float().reshape(rows, n_tok, c.n_vh, -1))
        return self.out_proj(o.reshape(rows, n_tok, -1).to(x.dtype))


class Attention(nn.Module):
    """Full attention with an output gate; the first n_rot dimensions of a head are rotated."""

    def __init__(self, c):
        super().__init__()
        self.c = c
        self.q_proj = nn.Linear(c.dim, 2 * c.n_qh * c.d_attn, bias=False)
        self.k_proj = nn.Linear(c.dim, c.n_kvh * c.d_attn, bias=False)
        self.v_proj = nn.Linear(c.dim, c.n_kvh * c.d_attn, bias=False)
        self.o_proj = nn.Linear(c.n_qh * c.d_attn, c.dim, bias=False)
        self.q_norm = Norm(c.d_attn, c.eps)
        self.k_norm = Norm(c.d_attn, c.eps)

    def rotate(self, x, cos, sin):
        half = self.c.n_rot // 2
        a, b, rest = x.split([half, half, self.c.d_attn - 2 * half], -1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], -1)

    def forward(self, x, cos, sin, mask):
        c = self.c
        rows, n_tok, _ = x.shape
        q, gate = self.q_proj(x).reshape(rows, n_tok, c.n_qh, 2 * c.d_attn).chunk(2, -1)
        k = self.k_proj(x).reshape(rows, n_tok, c.n_kvh, c.d_attn)
        v = self.v_proj(x).reshape(rows, n_tok, c.n_kvh, c.d_attn)
        q, k = self.rotate(self.q_norm(q), cos, sin), self.rotate(self.k_norm(k), cos, sin)
        k, v = (t.repeat_interleave(c.n_qh // c.n_kvh, 2) for t in (k, v))
        q, k, v = (t.to(x.dtype).transpose(1, 2) for t in (q, k, v))
        o = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.o_proj((o.transpose(1, 2) * torch.sigmoid(gate)).reshape(rows, n_tok, -1))


class Mlp(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gate_proj = nn.Linear(c.dim, c.n_ff, bias=False)
        self.up_proj = nn.Linear(c.dim, c.n_ff, bias=False)
        self.down_proj = nn.Linear(c.n_ff, c.dim, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """The residual stream stays in float32; the mixer and the MLP work in the dtype of their weights."""

    def __init__(self, c, attends):
        super().__init__()
        self.attends = attends
        if attends:
            self.self_attn = Attention(c)
        else:
            self.linear_attn = Delta(c)
        self.mlp = Mlp(c)
        self.input_layernorm = Norm(c.dim, c.eps)
        self.post_attention_layernorm = Norm(c.dim, c.eps)

    def forward(self, x, pos, cos, sin, mask, dtype):
        n = self.input_layernorm(x).to(dtype)
        x = x + (self.self_attn(n, cos, sin, mask) if self.attends else self.linear_attn(n, pos))
        return x + self.mlp(self.post_attention_layernorm(x).to(dtype))


class Body(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embed_tokens = nn.Embedding(c.n_vocab, c.dim)
        self.layers = nn.ModuleList([Layer(c, (i + 1) % c.interval == 0) for i in range(c.n_layers)])
        self.norm = Norm(c.dim, c.eps)


class Mtp(nn.Module):
    """Draft head: from the hidden state at p and token p+1 to token p+2; embedding and output are the body's."""

    def __init__(self, c):
        super().__init__()
        self.pre_fc_norm_embedding = Norm(c.dim, c.eps)
        self.pre_fc_norm_hidden = Norm(c.dim, c.eps)
        self.fc = nn.Linear(2 * c.dim, c.dim, bias=False)
        self.layers = nn.ModuleList([Layer(c, True)])
        self.norm = Norm(c.dim, c.eps)

    def forward(self, hidden, embedded, cos, sin, mask, dtype):
        both = torch.cat([self.pre_fc_norm_embedding(embedded), self.pre_fc_norm_hidden(hidden)], -1)
        return self.norm(self.layers[0](self.fc(both.to(dtype)), None, cos, sin, mask, dtype))


class Model(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.model = Body(c)
        if c.mtp:
            self.mtp = Mtp(c)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=self.initial_std(name, p))

    def initial_std(self, name, p):
        """1/sqrt(inputs); what writes to the residual stream is scaled down so that depth does not raise it."""
        if "embed" in name:
            return 0.02
        writes = name.endswith(("out_proj.weight", "o_proj.weight", "down_proj.weight"))
        return p.shape[1] ** -0.5 * ((2 * self.c.n_layers) ** -0.5 if writes else 1.0)

    def rope(self, pos):
        """pos [rows, tok] -> cos, sin [rows, tok, 1, n_rot / 2]"""
        n_rot = self.c.n_rot
        angle = pos[..., None, None].float() * self.c.rope_base ** (-torch.arange(0, n_rot, 2).float() / n_rot)
        return angle.cos(), angle.sin()

    @staticmethod
    def mask(pos, dtype):
        """[rows, 1, tok, tok], 0 where a token may look: not ahead, and not into another document."""
        doc = (pos == 0).cumsum(1)
        n_tok = pos.shape[1]
        may = (doc[:, :, None] == doc[:, None, :]) & torch.ones(n_tok, n_tok, dtype=torch.bool).tril()
        return torch.zeros(may.shape, dtype=dtype).masked_fill(~may, -1e9)[:, None]

    def hidden(self, ids, pos, dtype):
        """ids, pos [rows, tok], pos starts again at 0 with each document -> [rows, tok, dim] after the last norm."""
        cos, sin = self.rope(pos)
        mask = self.mask(pos, dtype)
        x = self.model.embed_tokens(ids)
        for layer in self.model.layers:
            x = layer(x, pos, cos, sin, mask, dtype)
        return self.model.norm(x)

    def drafts(self, hidden, ids, pos, dtype):
        """hidden [rows, tok, dim] -> the draft head's, entry p standing at p + 1; a document's last entry is idle."""
        embedded = self.model.embed_tokens(torch.cat([ids[:, 1:], ids[:, :1]], 1)).detach()
        cos, sin = self.rope(pos + 1)
        return self.mtp(hidden, embedded, cos, sin, self.mask(pos, dtype), dtype)

    def head(self, hidden, dtype, detached=False):
        weight = self.model.embed_tokens.weight
        return F.linear(hidden.to(dtype), (weight.detach() if detached else weight).to(dtype)).float()

    def logits(self, ids):
        """ids [rows, tok], one document a row, tok a multiple of CHUNK -> [rows, tok, n_vocab], in float32"""
        pos = torch.arange(ids.shape[1]).expand(ids.shape)
        return self.head(self.hidden(ids, pos, torch.float32), torch.float32)


def loss_sum(logits, targets):
    return F.cross_entropy(logits, targets, reduction="sum")


def n_params(model):
    return sum(math.prod(p.shape) for p in model.parameters())
