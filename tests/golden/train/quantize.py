"""Q4_K and Q6_K in numpy, for export.py; BF16 and Q8_0 come with the gguf package.

Block layouts as llama.cpp's ggml/src/ggml-common.h has them (block_q4_K, block_q6_K); which values are chosen is our
own: least squares over a few starting points, without an importance matrix.
"""

import numpy as np

SUPER = 256  # values of a block; a row must be a multiple of it
ROUNDS = 4  # alternations of rounding and fitting; the error stops falling after three
SHRINKS = np.linspace(0.75, 1.05, 13)  # starting scales, as shares of the one that just holds every value


def half(x):
    return x.astype("<f2").astype(np.float32)


def safe(x):
    """A divisor: zero becomes infinity, so that what is divided becomes zero."""
    return np.where(x == 0, np.float32(np.inf), x)


def fit_affine(x, weight, q):
    """Best scale >= 0 and low >= 0 of x ~ scale * q - low, along the last axis."""
    sw, sq, sqq = weight.sum(-1), (weight * q).sum(-1), (weight * q * q).sum(-1)
    sx, sqx = (weight * x).sum(-1), (weight * q * x).sum(-1)
    scale = (sw * sqx - sx * sq) / safe(sw * sqq - sq * sq)
    low = np.where(sqq == 0, -sx / safe(sw), (sq * sqx - sqq * sx) / safe(sw * sqq - sq * sq))
    only = sqx / safe(sqq)  # where the offset would have the wrong sign it is nought
    return np.maximum(np.where(low < 0, only, scale), 0), np.maximum(low, 0)


def search_affine(x, levels):
    """x [n, 32] -> scale, low [n]: the best of several starts."""
    weight = np.sqrt((x * x).mean(-1, keepdims=True)) + np.abs(x)  # large values matter more to a product
    low0 = np.maximum(-x.min(-1), 0)
    span = np.maximum(x.max(-1), 0) + low0
    best = np.full(len(x), np.inf, np.float32)
    out = np.zeros((2, len(x)), np.float32)
    for shrink in SHRINKS:
        scale, low = span * np.float32(shrink / levels), low0 * np.float32(shrink)
        for _ in range(ROUNDS):
            q = np.clip(np.rint((x + low[:, None]) / safe(scale)[:, None]), 0, levels)
            scale, low = fit_affine(x, weight, q)
            error = (weight * (scale[:, None] * q - low[:, None] - x) ** 2).sum(-1)
            better = error < best
            best = np.where(better, error, best)
            out = np.where(better, [scale, low], out)
    return out


def pack_q4_k(d, low, scales, lows, q):
    """q [n, 8, 32] of 4 bits, scales and lows [n, 8] of 6 bits -> [n, 144] bytes"""
    first, last = scales[:, :4] | (scales[:, 4:] >> 4) << 6, lows[:, :4] | (lows[:, 4:] >> 4) << 6
    packed = np.concatenate([first, last, (scales[:, 4:] & 15) | (lows[:, 4:] & 15) << 4], 1)
    pairs = q.reshape(-1, 4, 2, 32)
    nibbles = (pairs[:, :, 0] | pairs[:, :, 1] << 4).reshape(-1, 128)
    halves = np.stack([d, low], 1).astype("<f2").view(np.uint8)
    return np.concatenate([halves, packed, nibbles], 1, dtype=np.uint8)


def quantize_q4_k(x):
    """[..., n] float32 -> uint8 [..., n / 256 * 144]"""
    blocks = x.reshape(-1, 8, 32)
    scale, low = search_affine(blocks.reshape(-1, 32), 15).reshape(2, -1, 8)
    d, dlow = half(scale.max(1) / 63), half(low.max(1) / 63)
    scales = np.clip(np.rint(scale / safe(d)[:, None]), 0, 63).astype(np.uint8)
    lows = np.clip(np.rint(low / safe(dlow)[:, None]), 0, 63).astype(np.uint8)
    step, offset = d[:, None] * scales, dlow[:, None] * lows
    q = np.clip(np.rint((blocks + offset[..., None]) / safe(step)[..., None]), 0, 15).astype(np.uint8)
    return pack_q4_k(d, dlow, scales, lows, q).reshape(*x.shape[:-1], -1)


def search_symmetric(x, top):
    """x [n, 16] -> the scale [n] of either sign with the least error of scale * q, -top <= q < top."""
    peak = np.take_along_axis(x, np.abs(x).argmax(-1)[:, None], -1)[:, 0]
    weight = x * x
    best, out = np.full(len(x), np.inf, np.float32), np.zeros(len(x), np.float32)
    for shrink in SHRINKS:
        scale = -peak * np.float32(shrink / top)
        for _ in range(ROUNDS):
            q = np.clip(np.rint(x / safe(scale)[:, None]), -top, top - 1)
            scale = (weight * q * x).sum(-1) / safe((weight * q * q).sum(-1))
            error = (weight * (scale[:, None] * q - x) ** 2).sum(-1)
            out = np.where(error < best, scale, out)
            best = np.minimum(error, best)
    return out


def pack_q6_k(q, scales, d):
    """q [n, 256] of 6 bits, scales [n, 16] int8 -> [n, 210] bytes"""
    quarters = q.reshape(-1, 2, 4, 32)  # each half of the block: four runs of 32
    low, high = quarters & 15, quarters >> 4
    bottom = np.concatenate([low[:, :, 0] | low[:, :, 2] << 4, low[:, :, 1] | low[:, :, 3] << 4], -1)
    top = high[:, :, 0] | high[:, :, 1] << 2 | high[:, :, 2] << 4 | high[:, :, 3] << 6
    tail = [scales.view(np.uint8), d.astype("<f2").view(np.uint8).reshape(-1, 2)]
    return np.concatenate([bottom.reshape(-1, 128), top.reshape(-1, 64), *tail], 1, dtype=np.uint8)


def quantize_q6_k(x):
    """[..., n] float32 -> uint8 [..., n / 256 * 210]"""
    blocks = x.reshape(-1, 16, 16)
    scale = search_symmetric(blocks.reshape(-1, 16), 32).reshape(-1, 16)
    peak = np.take_along_axis(scale, np.abs(scale).argmax(1)[:, None], 1)[:, 0]
    d = half(-peak / 128)
    scales = np.clip(np.rint(scale / safe(d)[:, None]), -128, 127).astype(np.int8)
    step = d[:, None] * scales
    q = np.clip(np.rint(blocks / safe(step)[..., None]), -32, 31) + 32
    return pack_q6_k(q.astype(np.uint8).reshape(-1, SUPER), scales, d).reshape(*x.shape[:-1], -1)
