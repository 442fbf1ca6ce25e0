"""Draft heads: small networks on Whisper's frozen encoder states that guess the text the decoder will choose.

Two kinds. `CtcHead`: some transformer layers over pairs of states, trained with CTC; it guesses a whole clip at once
and goes on behind any text by aligning it. `LayerHead`: one decoder layer of its own, trained on the decoder's choices;
it guesses token by token. Both score only the tokens seen in training, by the decoder's own embedding of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from shared.checkpoint.tokenizer import Tokens

Drafter = Callable[[Sequence[int]], list[int]]  # the tokens so far (no prompt) → those that may follow, end token too
HEAD_SIZE = 64
UNSEEN = -14.0  # log-probability at which a token that the head does not know is aligned
BLANK = 0
NO_GOAL = -100  # at positions where nothing is to be learned


@dataclass(frozen=True, eq=False)
class Example:
    """One clip. states: float16 (n_positions, d_model), n_positions even. tokens: what greedy search chose, without the
    end token."""

    states: Tensor
    prompt: tuple[int, ...]
    tokens: tuple[int, ...]


def padded(examples: Sequence[Example], device: torch.device) -> tuple[Tensor, Tensor]:
    """States as float32 (batch, n_positions, d_model), and the positions of each."""
    rows = [example.states.to(device).float() for example in examples]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True), torch.tensor([len(row) for row in rows], device=device)


def _disturbed(states: Tensor) -> Tensor:
    """For training: noise on all positions, and two short stretches of each row left out."""
    batch, n, _ = states.shape
    keep = torch.ones(batch, n, device=states.device)
    place = torch.arange(n, device=states.device)
    for _ in range(2):
        start, width = (torch.rand(batch, 1, device=states.device) * most for most in (n, min(24, n / 5)))
        keep = keep * ~((place >= start) & (place < start + width))
    return (states + 0.1 * states.std() * torch.randn_like(states)) * keep[..., None]


class Block(nn.Module):
    """A transformer layer that attends to all positions within a row's length."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // HEAD_SIZE
        self.norm, self.ffn_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.ffn = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(0.1), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, inside: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, HEAD_SIZE)).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=inside[:, None, None])
        x = x + functional.dropout(self.out(attended.transpose(1, 2).flatten(2)), 0.1, self.training)
        return x + functional.dropout(self.ffn(self.ffn_norm(x)), 0.1, self.training)


class CtcHead(nn.Module):
    """25 guesses a second: blank or a listed token. And where the last timestamp lies, to 20 ms."""

    embedding: Tensor

    def __init__(self, weights: Mapping[str, Tensor], tokens: Tokens, listed: Sequence[int], n_layers: int, width: int
                 ) -> None:
        """weights: of the checkpoint, by transformers' names. listed: token ids of text."""
        super().__init__()
        self.tokens, self.listed = tokens, list(listed)
        self.place = {token: place for place, token in enumerate(self.listed, 1)}
        embedding = weights["model.decoder.embed_tokens.weight"][self.listed].float()
        self.register_buffer("embedding", 4 * functional.normalize(embedding, dim=-1), persistent=False)
        d_model = embedding.shape[1]
        self.norm, self.join = nn.LayerNorm(d_model), nn.Linear(2 * d_model, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(n_layers))
        self.last, self.project = nn.LayerNorm(width), nn.Linear(width, d_model)
        self.blank, self.stamp = nn.Linear(width, 1), nn.Linear(width, 2)
        self.bias = nn.Parameter(torch.zeros(len(self.listed)))

    def forward(self, states: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities (batch, n_positions / 2, 1 + listed), blank first; logits of the last timestamp
        (batch, n_positions)."""
        x = self.norm(states)
        x = self.join((_disturbed(x) if self.training else x).unflatten(1, (-1, 2)).flatten(2))
        inside = torch.arange(x.shape[1], device=x.device) < (lengths // 2)[:, None]
        for block in self.blocks:
            x = block(x, inside)
        x = self.last(x)
        logits = torch.cat([self.blank(x), self.project(x) @ self.embedding.T + self.bias], -1)
        stamps = self.stamp(x).flatten(1).float().masked_fill(~inside.repeat_interleave(2, 1), -1e4)
        return logits.float().log_softmax(-1), stamps

    def loss(self, examples: Sequence[Example]) -> Tensor:
        device = self.embedding.device
        states, lengths = padded(examples, device)
        logprobs, stamps = self(states, lengths)
        texts = [[self.place[token] for token in example.tokens if token < self.tokens.end] for example in examples]
        sizes = torch.tensor([len(text) for text in texts], device=device)
        flat = torch.tensor([place for text in texts for place in text], device=device)
        ctc = functional.ctc_loss(logprobs.transpose(0, 1), flat, lengths // 2, sizes, BLANK, "none",
                                  zero_infinity=True)
        last = [example.tokens[-1] - self.tokens.first_stamp if example.tokens else -1 for example in examples]
        goal = torch.minimum(torch.tensor(last, device=device), lengths - 1)
        loss = (ctc / sizes.clamp(min=1)).mean()
        known = goal >= 0
        return loss + 0.3 * functional.cross_entropy(stamps[known], goal[known]) if bool(known.any()) else loss

    @torch.inference_mode()
    def drafter(self, example: Example) -> Drafter:
        logprobs, stamps = self(*padded([example], self.embedding.device))
        scores, stamp = logprobs[0].cpu().numpy(), self.tokens.first_stamp + int(stamps[0].argmax())
        with_stamps = self.tokens.no_timestamps not in example.prompt

        def draft(so_far: Sequence[int]) -> list[int]:
            first, text = self.tokens.first_stamp, [token for token in so_far if token < self.tokens.end]
            rest = [self.listed[place - 1] for place in behind(scores, [self.place.get(token, -1) for token in text])]
            if not with_stamps:
                return [*rest, self.tokens.end]
            if not so_far:
                return [first, *rest, stamp, self.tokens.end]
            closed = so_far[-1] >= first and len(so_far) > 1 and so_far[-2] < self.tokens.end
            if closed and not rest:
                return [self.tokens.end]
            last = max((token for token in so_far if token >= first), default=first)
            return [*([last] if closed else []), *rest, max(stamp, last + 1), self.tokens.end]

        return draft


def collapsed(path: Sequence[int], before: int = BLANK) -> list[int]:
    """CTC's rule: repeats are one, blanks are none. before: what stood just before the path."""
    pairs = itertools.pairwise([before, *path])
    return [place for last, place in pairs if place not in (last, BLANK)]


def behind(logprobs: np.ndarray, text: Sequence[int]) -> list[int]:
    """What the likeliest path says behind `text`, where the text ends at the likeliest position for both.

    logprobs: (n_positions, 1 + n_listed), blank first. text, and what is given: places in it; -1: not listed.
    """
    best = logprobs.argmax(1).tolist()
    if not text:
        return collapsed(best)
    n, width = len(logprobs), 2 * len(text) + 1  # blank, token, blank, token, …, blank
    emitted = np.full((n, width), UNSEEN)
    emitted[:, ::2] = logprobs[:, :1]
    known = [i for i, place in enumerate(text) if place > 0]
    emitted[:, [2 * i + 1 for i in known]] = logprobs[:, [text[i] for i in known]]
    may_skip = np.full(width, -np.inf)  # from one token to the next without a blank, unless they are the same
    may_skip[[2 * i + 1 for i in range(1, len(text)) if text[i] != text[i - 1]]] = 0.0
    rest = np.append(np.cumsum(logprobs.max(1)[::-1])[::-1], 0.0)  # of the likeliest path from each position on
    score, highest, where = np.full(width, -np.inf), -np.inf, n - 1
    for i in range(n):
        entered = score.copy()
        entered[1:] = np.maximum(entered[1:], score[:-1])
        entered[2:] = np.maximum(entered[2:], score[:-2] + may_skip[2:])
        if i == 0:
            entered[:2] = 0.0
        score = entered + emitted[i]
        if score[-2] + rest[i + 1] > highest:
            highest, where = score[-2] + rest[i + 1], i
    return collapsed(best[where + 1 :], text[-1])


class LayerHead(nn.Module):
    """One layer of a Whisper decoder, begun from the checkpoint's first one."""

    embedding: Tensor
    positions: Tensor
    output: Tensor

    def __init__(self, weights: Mapping[str, Tensor], tokens: Tokens, listed: Sequence[int], n_heads: int) -> None:
        """listed: token ids, timestamps and the end token among them."""
        super().__init__()
        self.tokens, self.listed, self.n_heads = tokens, list(listed), n_heads
        self.place = {token: place for place, token in enumerate(self.listed)}
        decoder = {name.removeprefix("model.decoder."): tensor.float() for name, tensor in weights.items()
                   if name.startswith("model.decoder.")}
        self.register_buffer("embedding", decoder["embed_tokens.weight"], persistent=False)
        self.register_buffer("positions", decoder["embed_positions.weight"], persistent=False)
        self.register_buffer("output", decoder["embed_tokens.weight"][self.listed], persistent=False)
        self.parts = nn.ModuleDict()
        for name in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj",
                     "encoder_attn.q_proj", "encoder_attn.k_proj", "encoder_attn.v_proj", "encoder_attn.out_proj",
                     "fc1", "fc2"):
            self.parts[name.replace(".", "_")] = _linear(decoder, f"layers.0.{name}")
        for name in ("self_attn_layer_norm", "encoder_attn_layer_norm", "final_layer_norm"):
            self.parts[name] = _norm(decoder, f"layers.0.{name}")
        self.last, self.bias = _norm(decoder, "layer_norm"), nn.Parameter(torch.zeros(len(self.listed)))

    def forward(self, ids: Tensor, states: Tensor, lengths: Tensor) -> Tensor:
        """ids (batch, n) → logits of the listed tokens behind each (batch, n, listed)."""
        parts = self.parts
        if self.training:
            states = _disturbed(states)
        inside = (torch.arange(states.shape[1], device=states.device) < lengths[:, None])[:, None, None]
        x = self.embedding[ids] + self.positions[: ids.shape[1]]
        h = parts["self_attn_layer_norm"](x)
        q, k, v = (self._split(parts[f"self_attn_{name}_proj"](h)) for name in "qkv")
        x = x + self._out("self_attn", functional.scaled_dot_product_attention(q, k, v, is_causal=True))
        q = self._split(parts["encoder_attn_q_proj"](parts["encoder_attn_layer_norm"](x)))
        k, v = (self._split(parts[f"encoder_attn_{name}_proj"](states)) for name in "kv")
        x = x + self._out("encoder_attn", functional.scaled_dot_product_attention(q, k, v, attn_mask=inside))
        h = parts["fc2"](functional.gelu(parts["fc1"](parts["final_layer_norm"](x))))
        return self.last(x + functional.dropout(h, 0.1, self.training)) @ self.output.T + self.bias

    def loss(self, examples: Sequence[Example]) -> Tensor:
        device, end = self.bias.device, self.tokens.end
        rows = [torch.tensor([*example.prompt, *example.tokens], device=device) for example in examples]
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=end)
        texts = [[self.place[token] for token in (*example.tokens, end)] for example in examples]
        goals = [torch.tensor([NO_GOAL] * (len(example.prompt) - 1) + text, device=device)
                 for example, text in zip(examples, texts, strict=True)]
        goal = nn.utils.rnn.pad_sequence(goals, batch_first=True, padding_value=NO_GOAL)
        logits = self(ids, *padded(examples, device))
        return functional.cross_entropy(logits.float().flatten(0, 1), goal.flatten(), ignore_index=NO_GOAL,
                                        label_smoothing=0.02)

    @torch.inference_mode()
    def drafter(self, example: Example) -> Drafter:
        states, lengths = padded([example], self.bias.device)
        limit = len(self.positions)

        @torch.inference_mode()
        def draft(so_far: Sequence[int]) -> list[int]:
            ids, found = [*example.prompt, *so_far], list[int]()
            while len(ids) < limit and (not found or found[-1] != self.tokens.end):
                logits = self(torch.tensor([ids], device=states.device), states, lengths)
                found.append(self.listed[int(logits[0, -1].argmax())])
                ids.append(found[-1])
                if len(found) > 2 * states.shape[1]:
                    break
            return found

        return draft

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)

    def _out(self, name: str, attended: Tensor) -> Tensor:
        out = self.parts[f"{name}_out_proj"](attended.transpose(1, 2).flatten(2))
        return functional.dropout(out, 0.1, self.training)


def _linear(weights: Mapping[str, Tensor], name: str) -> nn.Linear:
    """Whisper's keys have no bias; the copy has one, of zeros."""
    weight = weights[f"{name}.weight"]
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.data, layer.bias.data = weight.clone(), weights.get(f"{name}.bias", torch.zeros(len(weight))).clone()
    return layer


def _norm(weights: Mapping[str, Tensor], name: str) -> nn.LayerNorm:
    layer = nn.LayerNorm(len(weights[f"{name}.weight"]))
    layer.weight.data, layer.bias.data = weights[f"{name}.weight"].clone(), weights[f"{name}.bias"].clone()
    return layer
