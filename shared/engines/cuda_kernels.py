"""The small operations of one decoder step on an NVIDIA GPU, each as one Triton kernel.

`static_ops` says in plain torch what each of them computes; the names and arguments are the same. They exist because a
decoder step is hundreds of small operations: fused, and with lengths read on the device, a whole step becomes one CUDA
graph that serves every mixture of clip lengths. Rows whose N_PAST is negative have ended: they cost nothing here.
"""

# Triton compiles the decorated functions: their arguments are pointers and numbers of its own, and no objects.
# ruff: noqa: ANN001, ANN202, PLR0913

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from shared.engines.static_ops import Choice, Field
from shared.engines.torch_model import Norm

PROGRAMS = 528  # attention programs that keep a large GPU busy: four for each of 132 multiprocessors
MAX_PARTS = 16  # pieces one row's positions are cut into where there are few rows
BLOCK_CROSS, BLOCK_PAST, BLOCK_VOCABULARY = 128, 64, 8192

N_PAST = tl.constexpr(int(Field.N_PAST))
TOKEN = tl.constexpr(int(Field.TOKEN))
PREVIOUS = tl.constexpr(int(Field.PREVIOUS))
N_TOKENS = tl.constexpr(int(Field.N_TOKENS))
LAST_STAMP = tl.constexpr(int(Field.LAST_STAMP))
LIMIT = tl.constexpr(int(Field.LIMIT))
FINISHED = tl.constexpr(int(Field.FINISHED))
LOWEST = tl.constexpr(-1.0e30)  # in place of -inf, so that differences of two stay numbers


def embed_norm(state: Tensor, embedding: Tensor, positions: Tensor, norm: Norm, x: Tensor, h: Tensor) -> None:
    n_rows, width = x.shape
    _embed_norm[(n_rows,)](state, state.stride(0), embedding, positions, norm.weight, norm.bias, x, h, width,
                           WIDTH=triton.next_power_of_2(width), num_warps=4)


def add_norm(x: Tensor, y: Tensor, norm: Norm, h: Tensor) -> None:
    n_rows, width = x.shape
    _add_norm[(n_rows,)](x, y, norm.weight, norm.bias, h, width, WIDTH=triton.next_power_of_2(width), num_warps=4)


def attend_past(qkv: Tensor, past: Tensor, starts: Tensor, n_past: Tensor, n_heads: int) -> Tensor:
    n_rows, width = len(qkv), past.shape[1] // 2
    out = torch.empty((n_rows, width), device=qkv.device, dtype=qkv.dtype)
    size = width // n_heads
    _attend_past[(n_rows, n_heads)](qkv, past, starts, n_past, out, width, size**-0.5, SIZE=size, BLOCK=BLOCK_PAST,
                                    num_warps=4)
    return out


def attend_cross(q: Tensor, cross: Tensor, starts: Tensor, lengths: Tensor, n_past: Tensor, n_heads: int) -> Tensor:
    n_rows, width = q.shape
    size = width // n_heads
    n_parts = max(1, min(MAX_PARTS, PROGRAMS // (n_rows * n_heads)))
    out = torch.empty_like(q)
    if n_parts == 1:
        _attend_cross[(n_rows, n_heads, 1)](q, cross, starts, lengths, n_past, out, out, width, size**-0.5, 1,
                                            SIZE=size, BLOCK=BLOCK_CROSS, num_warps=4)
        return out
    partial = torch.empty((n_rows, n_heads, n_parts, size), device=q.device, dtype=torch.float32)
    weights = torch.empty((n_rows, n_heads, n_parts, 2), device=q.device, dtype=torch.float32)
    _attend_cross[(n_rows, n_heads, n_parts)](q, cross, starts, lengths, n_past, partial, weights, width, size**-0.5,
                                              n_parts, SIZE=size, BLOCK=BLOCK_CROSS, num_warps=4)
    _merge_parts[(n_rows, n_heads)](partial, weights, out, width, n_parts, SIZE=size, PARTS=MAX_PARTS, num_warps=1)
    return out


def choose(logits: Tensor, state: Tensor, choice: Choice) -> None:
    n_rows, n_vocabulary = logits.shape
    _choose[(n_rows,)](logits, state, state.stride(0), choice.forbidden, choice.logprobs, choice.tokens,
                       choice.tokens.stride(0), n_vocabulary, choice.end, choice.first_stamp, choice.max_first_stamp,
                       STAMPS=choice.stamps, BLOCK=BLOCK_VOCABULARY, num_warps=16)


@triton.jit
def _normed(x, at, kept, weight, bias, n):
    mean = tl.sum(x, 0) / n
    centred = tl.where(kept, x - mean, 0.0)
    scale = tl.rsqrt(tl.sum(centred * centred, 0) / n + 1e-5)
    weights, shift = tl.load(weight + at, kept, 0.0).to(tl.float32), tl.load(bias + at, kept, 0.0).to(tl.float32)
    return centred * scale * weights + shift


@triton.jit
def _embed_norm(state, stride, embedding, positions, weight, bias, x_out, h_out, n, WIDTH: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    token = tl.load(state + TOKEN * stride + row).to(tl.int64)
    place = tl.maximum(tl.load(state + N_PAST * stride + row), 0).to(tl.int64)
    at = tl.arange(0, WIDTH)
    kept = at < n
    x = tl.load(embedding + token * n + at, kept, 0.0).to(tl.float32)
    x += tl.load(positions + place * n + at, kept, 0.0).to(tl.float32)
    rounded = x.to(x_out.dtype.element_ty)
    tl.store(x_out + row * n + at, rounded, kept)
    h = _normed(rounded.to(tl.float32), at, kept, weight, bias, n)
    tl.store(h_out + row * n + at, h.to(h_out.dtype.element_ty), kept)


@triton.jit
def _add_norm(x_in, y_in, weight, bias, h_out, n, WIDTH: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, WIDTH)
    kept = at < n
    x = tl.load(x_in + row * n + at, kept, 0.0).to(tl.float32)
    x += tl.load(y_in + row * n + at, kept, 0.0).to(tl.float32)
    rounded = x.to(x_in.dtype.element_ty)
    tl.store(x_in + row * n + at, rounded, kept)
    h = _normed(rounded.to(tl.float32), at, kept, weight, bias, n)
    tl.store(h_out + row * n + at, h.to(h_out.dtype.element_ty), kept)


@triton.jit
def _one_block(q, kv, begin, end, first, width, at, best, total, summed, BLOCK: tl.constexpr):
    """Online softmax over positions begin … begin + BLOCK (before `end`) of one head; `first`: the row's start."""
    place = begin + tl.arange(0, BLOCK)
    kept = place < end
    address = kv + (first + place.to(tl.int64))[:, None] * (2 * width) + at[None, :]
    keys = tl.load(address, kept[:, None], 0.0).to(tl.float32)
    values = tl.load(address + width, kept[:, None], 0.0).to(tl.float32)
    scores = tl.where(kept, tl.sum(keys * q[None, :], 1), LOWEST)
    higher = tl.maximum(best, tl.max(scores, 0))
    shrink = tl.exp(best - higher)
    weights = tl.where(kept, tl.exp(scores - higher), 0.0)
    return higher, total * shrink + tl.sum(weights, 0), summed * shrink + tl.sum(weights[:, None] * values, 0)


@triton.jit
def _attend_past(qkv, past, starts, n_pasts, out, width, scale, SIZE: tl.constexpr, BLOCK: tl.constexpr):
    row, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    n_past = tl.load(n_pasts + row)
    at = head * SIZE + tl.arange(0, SIZE)
    if n_past < 0:
        tl.store(out + row * width + at, tl.zeros((SIZE,), tl.float32).to(out.dtype.element_ty))
        return
    first = tl.load(starts + row).to(tl.int64)
    q = tl.load(qkv + row * 3 * width + at).to(tl.float32) * scale
    key = tl.load(qkv + row * 3 * width + width + at)
    value = tl.load(qkv + row * 3 * width + 2 * width + at)
    address = past + (first + n_past) * (2 * width) + at
    tl.store(address, key)
    tl.store(address + width, value)
    best = tl.sum(key.to(tl.float32) * q, 0)
    total, summed = best * 0.0 + 1.0, value.to(tl.float32)
    for begin in range(0, n_past, BLOCK):
        best, total, summed = _one_block(q, past, begin, n_past, first, width, at, best, total, summed, BLOCK)
    tl.store(out + row * width + at, (summed / total).to(out.dtype.element_ty))


@triton.jit
def _attend_cross(q_in, cross, starts, lengths, n_pasts, out, weights_out, width, scale, n_parts,
                  SIZE: tl.constexpr, BLOCK: tl.constexpr):
    row, head, part = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.program_id(2)
    n_heads = tl.num_programs(1)
    length = tl.where(tl.load(n_pasts + row) < 0, 0, tl.load(lengths + row))
    first = tl.load(starts + row).to(tl.int64)
    at = head * SIZE + tl.arange(0, SIZE)
    q = tl.load(q_in + row * width + at).to(tl.float32) * scale
    each = tl.cdiv(tl.cdiv(length, n_parts), BLOCK) * BLOCK
    begin, end = part * each, tl.minimum(length, part * each + each)
    best = tl.sum(q, 0) * 0.0 + LOWEST
    total, summed = best * 0.0, q * 0.0
    for place in range(begin, end, BLOCK):
        best, total, summed = _one_block(q, cross, place, end, first, width, at, best, total, summed, BLOCK)
    if n_parts == 1:
        tl.store(out + row * width + at, (summed / tl.maximum(total, 1e-30)).to(out.dtype.element_ty))
    else:
        piece = (row * n_heads + head) * n_parts + part
        tl.store(out + piece * SIZE + tl.arange(0, SIZE), summed)
        tl.store(weights_out + piece * 2, best)
        tl.store(weights_out + piece * 2 + 1, total)


@triton.jit
def _merge_parts(partial, weights, out, width, n_parts, SIZE: tl.constexpr, PARTS: tl.constexpr):
    row, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    part = tl.arange(0, PARTS)
    kept = part < n_parts
    piece = (row * tl.num_programs(1) + head) * n_parts + part
    best = tl.load(weights + piece * 2, kept, LOWEST)
    total = tl.load(weights + piece * 2 + 1, kept, 0.0)
    factor = tl.exp(best - tl.max(best, 0))
    inner = tl.arange(0, SIZE)
    summed = tl.load(partial + piece[:, None] * SIZE + inner[None, :], kept[:, None], 0.0)
    value = tl.sum(summed * factor[:, None], 0) / tl.maximum(tl.sum(total * factor, 0), 1e-30)
    tl.store(out + row * width + head * SIZE + inner, value.to(out.dtype.element_ty))


@triton.jit
def _likeliest(logits, forbidden, begin, end, banned_bits, BLOCK: tl.constexpr):
    """Largest logit of ids begin … end, its id (the lowest of equals), and the logarithm of the summed exponentials."""
    lane = tl.arange(0, BLOCK)
    best = tl.full((BLOCK,), LOWEST, tl.float32)
    where = tl.full((BLOCK,), 2147483647, tl.int32)
    total = tl.zeros((BLOCK,), tl.float32)
    for place in range(begin, end, BLOCK):
        ids = place + lane
        inside = ids < end
        x = tl.load(logits + ids, inside, LOWEST).to(tl.float32)
        banned = (tl.load(forbidden + ids, inside, 1).to(tl.int32) & banned_bits) != 0
        allowed = inside & (banned == 0)
        x = tl.where(allowed, x, LOWEST)
        higher = tl.maximum(best, x)
        total = total * tl.exp(best - higher) + tl.where(allowed, tl.exp(x - higher), 0.0)
        where = tl.where(x > best, ids, where)
        best = higher
    top = tl.max(best, 0)
    token = tl.min(tl.where(best == top, where, 2147483647), 0)
    return top, token, top + tl.log(tl.maximum(tl.sum(total * tl.exp(best - top), 0), 1e-37))


@triton.jit
def _choose(logits, state, stride, forbidden, logprobs, tokens, tokens_stride, n_vocabulary, end, first_stamp,
            max_first_stamp, STAMPS: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    mine = state + row
    n_past = tl.load(mine + N_PAST * stride)
    if n_past < 0:
        return
    n_tokens = tl.load(mine + N_TOKENS * stride)
    token = tl.load(mine + TOKEN * stride)
    last_stamp = tl.load(mine + LAST_STAMP * stride)
    text_from, stamp_from, stamp_to = 0, first_stamp, n_vocabulary
    if STAMPS:
        previous = tl.load(mine + PREVIOUS * stride)
        after_stamp = (n_tokens > 0) & (token >= first_stamp)
        closed = after_stamp & (previous < first_stamp)  # words, then a time: the next opening one, or the end
        text_from = tl.where(n_tokens == 0, first_stamp, tl.where(closed, end, 0))
        stamp_from = tl.where(last_stamp < 0, first_stamp, last_stamp + tl.where(closed, 0, 1))
        stamp_to = tl.where(n_tokens == 0, tl.minimum(n_vocabulary, first_stamp + max_first_stamp + 1), n_vocabulary)
        stamp_to = tl.where(after_stamp & (previous >= first_stamp), stamp_from, stamp_to)
    bits = tl.where(n_tokens == 0, 3, 1)
    mine_logits = logits + row * n_vocabulary
    text_best, text_token, text_sum = _likeliest(mine_logits, forbidden, text_from, first_stamp, bits, BLOCK)
    stamp_best, stamp_token, stamp_sum = _likeliest(mine_logits, forbidden, stamp_from, stamp_to, bits, BLOCK)
    take_stamp = stamp_best > text_best
    higher = tl.maximum(text_sum, stamp_sum)
    whole = higher + tl.log(tl.exp(text_sum - higher) + tl.exp(stamp_sum - higher))
    if STAMPS:  # times are likelier together than any one word: words are out
        likelier = stamp_sum > text_best
        take_stamp = take_stamp | likelier
        whole = tl.where(likelier, stamp_sum, whole)
    chosen = tl.where(take_stamp, stamp_token, text_token)
    chosen = tl.where(chosen < n_vocabulary, chosen, end)  # nothing was allowed, or no logit was a number
    best = tl.where(take_stamp, stamp_best, text_best)
    tl.store(logprobs + row, tl.load(logprobs + row) + best - whole)
    ended = chosen == end
    if ended == 0:
        tl.store(tokens + row * tokens_stride + n_tokens, chosen)
        tl.store(mine + N_TOKENS * stride, n_tokens + 1)
    tl.store(mine + PREVIOUS * stride, tl.where(n_tokens == 0, first_stamp, token))
    tl.store(mine + TOKEN * stride, chosen)
    tl.store(mine + LAST_STAMP * stride, tl.where(chosen >= first_stamp, tl.maximum(chosen, last_stamp), last_stamp))
    tl.store(mine + FINISHED * stride, ended.to(tl.int32))
    over = ended | (n_tokens + 1 >= tl.load(mine + LIMIT * stride))
    tl.store(mine + N_PAST * stride, tl.where(over, -1, n_past + 1))
