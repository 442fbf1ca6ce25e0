"""What each operation of the static decoder computes, in plain torch: the meaning of `cuda_kernels`, and their test.

Rows of a batch live in a table of integers, `state` (one line for each `Field`, one column for each row), on the
device, so that no step waits for the host. Keys and values lie one position after the other, (n_positions,
2 × d_model), keys before values, every row at its own start: rows of any length share one buffer without padding.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from shared.engines.torch_model import Norm

NEVER = -torch.inf


class Field(enum.IntEnum):
    """The lines of `state`."""

    N_PAST = 0  # decoder positions kept so far; -1: the row has ended
    TOKEN = 1  # the token read next, which is the last one chosen
    PREVIOUS = 2  # the one chosen before it; the first timestamp where there is none
    N_TOKENS = 3  # how many were chosen
    LAST_STAMP = 4  # the highest timestamp chosen, -1 before the first
    LIMIT = 5  # of N_TOKENS
    FINISHED = 6  # 1: ended by the end token
    PAST_START = 7  # first position of the row in the buffers of self-attention
    CROSS_START = 8  # and in those of cross-attention
    CROSS_LENGTH = 9  # encoder positions of the row


@dataclass(frozen=True)
class Choice:
    """How the next token is chosen and where it goes.

    forbidden: uint8 (n_vocabulary,), 1 never allowed, 2 not as the first token. logprobs: float32 (n_rows,), summed.
    tokens: int32 (n_rows, n_room). stamps: whether Whisper's rules for timestamps hold.
    """

    forbidden: Tensor
    logprobs: Tensor
    tokens: Tensor
    end: int
    first_stamp: int
    max_first_stamp: int
    stamps: bool


def embed_norm(state: Tensor, embedding: Tensor, positions: Tensor, norm: Norm, x: Tensor, h: Tensor) -> None:
    """The next token's embedding plus its position's into x, its layer norm into h; both (n_rows, d_model)."""
    tokens, places = state[Field.TOKEN, : len(x)].long(), state[Field.N_PAST, : len(x)].clamp(min=0).long()
    x.copy_(embedding[tokens] + positions[places])
    h.copy_(norm(x))


def add_norm(x: Tensor, y: Tensor, norm: Norm, h: Tensor) -> None:
    """x += y; h = layer norm of x."""
    h.copy_(norm(x.add_(y)))


def attend_past(qkv: Tensor, past: Tensor, starts: Tensor, n_past: Tensor, n_heads: int) -> Tensor:
    """Self-attention of one new position per row, whose key and value are kept in `past`.

    qkv: (n_rows, 3 × d_model). starts, n_past: (n_rows,). Returns (n_rows, d_model), zeros where a row has ended.
    """
    q, kv = qkv.split([qkv.shape[1] // 3, 2 * qkv.shape[1] // 3], dim=1)
    out = torch.zeros_like(q)
    for row, (start, n) in enumerate(zip(starts.tolist(), n_past[: len(q)].tolist(), strict=False)):
        if n >= 0:
            past[start + n] = kv[row]
            out[row] = _attended(q[row], past[start : start + n + 1], n_heads)
    return out


def attend_cross(q: Tensor, cross: Tensor, starts: Tensor, lengths: Tensor, n_past: Tensor, n_heads: int) -> Tensor:
    """Attention of one position per row, q (n_rows, d_model), over the row's encoder positions in `cross`."""
    out = torch.zeros_like(q)
    rows = zip(starts.tolist(), lengths.tolist(), n_past.tolist(), strict=True)
    for row, (start, length, n) in zip(range(len(q)), rows, strict=False):
        if n >= 0:
            out[row] = _attended(q[row], cross[start : start + length], n_heads)
    return out


def _attended(q: Tensor, kv: Tensor, n_heads: int) -> Tensor:
    """q (d_model,), kv (n, 2 × d_model) → (d_model,)."""
    keys, values = (x.unflatten(1, (n_heads, -1)).transpose(0, 1) for x in kv.chunk(2, dim=1))
    heads = q.view(n_heads, 1, -1)
    return functional.scaled_dot_product_attention(heads[None], keys[None], values[None]).flatten()


def choose(logits: Tensor, state: Tensor, choice: Choice) -> None:
    """The likeliest allowed token of each open row: kept, counted, its log-probability added, the row perhaps ended."""
    line = state[:, : len(logits)]
    is_open, n_tokens, token = line[Field.N_PAST] >= 0, line[Field.N_TOKENS], line[Field.TOKEN]
    scores = logits.float().masked_fill(choice.forbidden & 1 > 0, NEVER)
    scores.masked_fill_((n_tokens == 0)[:, None] & (choice.forbidden & 2 > 0), NEVER)
    if choice.stamps:
        _apply_stamp_rules(scores, line, choice)
    best, chosen = scores.max(-1)
    logprob = best - scores.logsumexp(-1)
    ended = chosen == choice.end
    for row in torch.nonzero(is_open).flatten().tolist():
        choice.logprobs[row] += logprob[row]
        if not ended[row]:
            choice.tokens[row, n_tokens[row]] = chosen[row]
    chosen = chosen.to(state.dtype)
    stamp = torch.where(chosen >= choice.first_stamp, torch.maximum(chosen, line[Field.LAST_STAMP]),
                        line[Field.LAST_STAMP])
    over = ended | (n_tokens + 1 >= line[Field.LIMIT])
    new = {
        Field.PREVIOUS: torch.where(n_tokens == 0, choice.first_stamp, token), Field.TOKEN: chosen,
        Field.LAST_STAMP: stamp, Field.FINISHED: ended.to(state.dtype),
        Field.N_TOKENS: n_tokens + (~ended).to(state.dtype),
        Field.N_PAST: torch.where(over, -1, line[Field.N_PAST] + 1),
    }
    for field, values in new.items():
        line[field] = torch.where(is_open, values, line[field])


def _apply_stamp_rules(scores: Tensor, line: Tensor, choice: Choice) -> None:
    """As `torch_decoding.Rules`: in pairs, never back, and where they are likelier together than any one word."""
    first, ids = choice.first_stamp, torch.arange(scores.shape[1], device=scores.device)
    begins = (line[Field.N_TOKENS] == 0)[:, None]
    after_stamp = ~begins & (line[Field.TOKEN] >= first)[:, None]
    after_words = (line[Field.PREVIOUS] < first)[:, None]
    closed, last = after_stamp & after_words, line[Field.LAST_STAMP][:, None]
    is_stamp = ids >= first
    scores.masked_fill_(begins & (~is_stamp | (ids > first + choice.max_first_stamp)), NEVER)
    scores.masked_fill_(after_stamp & ~after_words & is_stamp, NEVER)
    scores.masked_fill_(closed & (ids < choice.end), NEVER)
    scores.masked_fill_((last >= 0) & is_stamp & (ids < last + torch.where(closed, 0, 1)), NEVER)
    likelier = scores[:, first:].logsumexp(-1) > scores[:, :first].amax(-1)
    scores[:, :first] = scores[:, :first].masked_fill(likelier[:, None], NEVER)
