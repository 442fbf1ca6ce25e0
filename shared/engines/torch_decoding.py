"""From encoder states to tokens: Whisper's rules, greedy search and beam search over `torch_model`.

Enters: states and a prompt. Leaves: `Decoded` rows. Rows leave the batch as they end, so a batch costs what its
clips say, not its longest one times their number.
Rules after section "Decoding" of Whisper's reference decoder (openai/whisper, decoding.py).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from shared.checkpoint.tokenizer import Tokens
from shared.engines.engine import Decoded
from shared.engines.spelling import BEGUN, CANDIDATES, Spelled, Spelling
from shared.engines.torch_model import Memory, States, WhisperNetwork
from shared.errors import Cancelled
from shared.whisper_constants import MAX_FIRST_STAMP

SHRINK_BELOW = 0.75  # of the rows still open: fewer, and the others are let go (copying the rest costs a step)
BEAM_ROWS = 40  # texts of beams that are decoded side by side
BEAM_BYTES = 500_000_000  # which the decoder may keep of them: 45 of whisper-base for 30 s, 3 of large-v3
NEVER = -torch.inf


@dataclass(frozen=True)
class Rules:
    """Which tokens may not come, and what unknown words cost. never, never_first: token ids."""

    tokens: Tokens
    never: Tensor
    never_first: Tensor
    no_repeat_ngram: int = 0
    spelling: Spelling | None = None

    def apply(self, logits: Tensor, ids_so_far: Sequence[Sequence[int]], stamps: bool) -> None:
        """Set what is forbidden to -inf, in place. logits: (batch, n_vocabulary). ids_so_far: of each row."""
        logits.index_fill_(1, self.never, NEVER)
        if not ids_so_far[0]:
            logits.index_fill_(1, self.never_first, NEVER)
        if self.no_repeat_ngram:
            for row, ids in enumerate(ids_so_far):
                logits[row, _repeats(ids, self.no_repeat_ngram)] = NEVER
        if stamps:
            self._apply_stamps(logits, ids_so_far)

    def _apply_stamps(self, logits: Tensor, ids_so_far: Sequence[Sequence[int]]) -> None:
        """Timestamps come in pairs, never go back, and come where they are likelier together than any one word."""
        first, end = self.tokens.first_stamp, self.tokens.end
        for row, ids in enumerate(ids_so_far):
            if not ids:
                logits[row, :first] = NEVER
                logits[row, first + MAX_FIRST_STAMP + 1 :] = NEVER
                continue
            if ids[-1] >= first:
                if len(ids) < 2 or ids[-2] >= first:
                    logits[row, first:] = NEVER  # after a pair, or the opening one: words
                else:
                    logits[row, :end] = NEVER  # after a closing one: the next opening one, or the end
            last = max((i for i in ids if i >= first), default=None)
            if last is not None:  # a pair may share its time at a seam, a piece may not be empty
                opened = ids[-1] >= first and len(ids) > 1 and ids[-2] < first
                logits[row, first : last + (0 if opened else 1)] = NEVER
        likelier = logits[:, first:].logsumexp(-1) > logits[:, :first].amax(-1)
        for row in torch.nonzero(likelier).flatten().tolist():
            logits[row, :first] = NEVER


def _repeats(ids: Sequence[int], n: int) -> list[int]:
    """Tokens that would complete a run of n tokens that came before."""
    before = tuple(ids[len(ids) - n + 1 :])
    return [ids[i + n - 1] for i in range(len(ids) - n + 1) if tuple(ids[i : i + n - 1]) == before]


@dataclass
class _Row:
    """A clip being decoded greedily."""

    at: int  # its place in the batch as it was given
    no_speech: float
    ids_so_far: list[int] = field(default_factory=list)
    logprob: float = 0.0


def no_speech_probabilities(network: WhisperNetwork, hidden: Tensor, prompt: Sequence[int], tokens: Tokens) -> Tensor:
    """hidden: decoder output over the prompt (batch, n_prompt, d_model) → (batch,): <|nospeech|> right after start."""
    return network.logits(hidden[:, list(prompt).index(tokens.start)]).softmax(-1)[:, tokens.no_speech]


def greedy(
    network: WhisperNetwork, states: States, prompt: Sequence[int], rules: Rules, max_tokens: int,
    cancel: threading.Event | None,
) -> list[Decoded]:
    """The likeliest token at each step."""
    tokens, stamps = rules.tokens, rules.tokens.no_timestamps not in prompt
    hidden, memory, no_speech = prefill(network, states, prompt, tokens, max_tokens)
    rows = [_Row(at, probability) for at, probability in enumerate(no_speech)]
    done: dict[int, Decoded] = {}
    while True:
        if cancel is not None and cancel.is_set():
            raise Cancelled
        logits = network.logits(hidden[:, -1])
        rules.apply(logits, [row.ids_so_far for row in rows], stamps)
        best, chosen = logits.max(-1)
        logprobs = (best - logits.logsumexp(-1)).tolist()
        choice = chosen.tolist()
        for row, token, logprob in zip(rows, choice, logprobs, strict=True):
            if row.at in done:
                continue
            row.logprob += logprob
            if token != tokens.end:
                row.ids_so_far.append(token)
            if token == tokens.end or len(row.ids_so_far) >= max_tokens:
                done[row.at] = Decoded(tuple(row.ids_so_far), row.logprob / (len(row.ids_so_far) + 1), row.no_speech,
                                       token == tokens.end)
        left = [i for i, row in enumerate(rows) if row.at not in done]
        if not left:
            return [done[at] for at in range(len(states.lengths))]
        if len(left) < SHRINK_BELOW * len(rows):
            memory.pick(torch.tensor(left, device=network.device))
            rows, choice = [rows[i] for i in left], [choice[i] for i in left]
        hidden, _ = network.step(torch.tensor(choice, device=network.device)[:, None], memory)


def prefill(network: WhisperNetwork, states: States, prompt: Sequence[int], tokens: Tokens, max_tokens: int
             ) -> tuple[Tensor, Memory, list[float]]:
    """The decoder over the prompt: its output, the memory of the batch, and each row's probability of no speech."""
    memory = network.memory(states, len(prompt) + max_tokens + 1)
    ids = torch.tensor([list(prompt)] * len(states.lengths), device=network.device)
    hidden, _ = network.step(ids, memory)
    return hidden, memory, no_speech_probabilities(network, hidden, prompt, tokens).tolist()


@dataclass(frozen=True)
class _Beam:
    """A beginning of a text. logprob: the model's own. spelled: what its unknown words cost."""

    ids_so_far: tuple[int, ...] = ()
    logprob: float = 0.0
    spelled: Spelled = BEGUN

    @property
    def total(self) -> float:
        return self.logprob - self.spelled.cost

    @property
    def score(self) -> float:
        """Mean over tokens: without it short answers win."""
        return self.total / (len(self.ids_so_far) + 1)

    @property
    def mean_logprob(self) -> float:
        return self.logprob / (len(self.ids_so_far) + 1)


@dataclass
class _Search:
    """A clip being decoded by beam search. at: its place in the batch. beams: texts side by side, the best first."""

    at: int
    no_speech: float
    beams: list[_Beam] = field(default_factory=lambda: [_Beam()])
    ended: list[_Beam] = field(default_factory=list)

    def grow(self, logprobs: Tensor, rules: Rules, beam_size: int) -> list[int]:
        """One token on; of each new beam the one it grew from. logprobs: (n_beams, n_vocabulary)."""
        chosen: list[tuple[int, _Beam]] = []
        for parent, token, grown in _grown(self.beams, logprobs, rules, beam_size):
            if token == rules.tokens.end:
                self.ended.append(grown)
            elif len(chosen) < beam_size and grown.logprob > NEVER:
                chosen.append((parent, grown))
        if chosen:
            self.beams = [one for _, one in chosen]
        return [parent for parent, _ in chosen]

    def result(self, max_tokens: int) -> Decoded:
        """A beam still open is judged by its mean so far as well, once it may grow no more."""
        winner = max(self.ended or self.beams, key=lambda one: one.score)
        return Decoded(winner.ids_so_far[:max_tokens], winner.mean_logprob, self.no_speech, finished=bool(self.ended))


def beam(
    network: WhisperNetwork, states: States, prompt: Sequence[int], rules: Rules, max_tokens: int, beam_size: int,
    cancel: threading.Event | None,
) -> list[Decoded]:
    """Beam search: of each clip `beam_size` candidates side by side until as many have ended; a few clips at once."""
    found = []
    at_once = clips_at_once(network, len(prompt) + max_tokens + 1, beam_size)
    for i in range(0, len(states.lengths), at_once):
        lengths = states.lengths[i : i + at_once]
        part = States(states.hidden[i : i + at_once, : max(lengths)], lengths)
        found += _beams(network, part, prompt, rules, max_tokens, beam_size, cancel)
    return found


def clips_at_once(network: WhisperNetwork, n_room: int, beam_size: int) -> int:
    """Of how many clips beams are decoded side by side. n_room: positions that each text has room for."""
    bytes_per_text = 2 * network.n_layers * network.d_model * network.dtype.itemsize * n_room
    return max(1, min(BEAM_ROWS, BEAM_BYTES // bytes_per_text) // beam_size)


def _beams(network: WhisperNetwork, states: States, prompt: Sequence[int], rules: Rules, max_tokens: int,
           beam_size: int, cancel: threading.Event | None) -> list[Decoded]:
    stamps = rules.tokens.no_timestamps not in prompt
    hidden, memory, no_speech = prefill(network, states, prompt, rules.tokens, max_tokens)
    open_ones = [_Search(at, probability) for at, probability in enumerate(no_speech)]
    places = {one.at: one.at for one in open_ones}
    done: dict[int, Decoded] = {}
    for n in range(max_tokens + 1):
        if cancel is not None and cancel.is_set():
            raise Cancelled
        logits = network.logits(hidden[:, -1])
        rules.apply(logits, [text.ids_so_far for one in open_ones for text in one.beams], stamps)
        logprobs = logits.log_softmax(-1)
        rows, owners, left, first = [], [], [], 0
        for one in open_ones:
            n_beams = len(one.beams)
            parents = one.grow(logprobs[first : first + n_beams], rules, beam_size)
            if len(one.ended) >= beam_size or not parents or n == max_tokens:
                done[one.at] = one.result(max_tokens)
            else:
                left.append(one)
                rows += [first + parent for parent in parents]
                owners += [one.at] * len(parents)
            first += n_beams
        open_ones = left
        if not open_ones:
            break
        rearrange(memory, places, rows, owners)
        last = torch.tensor([text.ids_so_far[-1] for one in open_ones for text in one.beams], device=network.device)
        hidden, _ = network.step(last[:, None], memory)
    return [done[at] for at in range(len(states.lengths))]


def rearrange(memory: Memory, places: dict[int, int], rows: Sequence[int], owners: Sequence[int]) -> None:
    """The memory for the next step, where several texts of a clip stand side by side.

    Clips that are done leave it once they are many.

    Args:
        memory: of the batch.
        places: for each clip where its encoder states lie; brought up to date.
        rows: for each text the row of the last step from which it grew.
        owners: for each text its clip.
    """
    device = memory.keys[0].device
    clips = list(dict.fromkeys(owners))
    if len(clips) < SHRINK_BELOW * len(places):
        memory.pick_clips(torch.tensor([places[clip] for clip in clips], device=device))
        places.clear()
        places.update((clip, place) for place, clip in enumerate(clips))
    if list(rows) != list(range(len(memory.past_keys[0]))):
        memory.pick(torch.tensor(rows, device=device), encoder=False)
    memory.share([places[clip] for clip in owners])


def _grown(beams: Sequence[_Beam], logprobs: Tensor, rules: Rules, beam_size: int) -> list[tuple[int, int, _Beam]]:
    """The best texts one token on, twice as many as the beam holds: which beam each grew from, its token, itself.

    logprobs: (n_beams, n_vocabulary), of the next token.
    """
    spelling, end = rules.spelling, rules.tokens.end
    totals = logprobs + torch.tensor([one.total for one in beams], device=logprobs.device)[:, None]
    best, places = totals.flatten().topk((2 if spelling is None else CANDIDATES) * beam_size)
    found = []
    for total, place in zip(best.tolist(), places.tolist(), strict=True):
        parent, token = divmod(place, totals.shape[1])
        before = beams[parent]
        ids = before.ids_so_far if token == end else (*before.ids_so_far, token)
        spelled = before.spelled if spelling is None or total == NEVER else spelling.after(before.spelled, token)
        found.append((parent, token, _Beam(ids, total + before.spelled.cost, spelled)))
    if spelling is not None:
        found.sort(key=lambda one: -one[2].total)
    return found[: 2 * beam_size]
