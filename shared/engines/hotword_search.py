"""Greedy and beam search that follow hotwords: the search as it is, and beside it the texts that enter an entry.

A text that is in the middle of an entry is a candidate on the side: it pushes no other out, and it is followed as long
as the whole bonus of its entry could still make it the best. When the entry is complete the bonus is its own and it
competes; when it breaks off the candidate goes. So a list of words that nothing sounds like changes nothing, and a name
whose first token is unlikely is found all the same.

Knows nothing of engines; `torch_decoding` states Whisper's rules, which hold here too.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from shared.engines.engine import Decoded
from shared.engines.hotword_trie import HotwordTrie, Node, Progress, Walker
from shared.engines.spelling import BEGUN, CANDIDATES, Spelled
from shared.engines.torch_decoding import NEVER, Rules, prefill, rearrange
from shared.engines.torch_model import States, WhisperNetwork
from shared.errors import Cancelled

SMALLEST_GAIN = 1e-6  # bonuses are sums
MAX_ASIDE = 6  # candidates on the side of one clip, the most promising


@dataclass(frozen=True)
class _Text:
    """A beginning of a text. row: of the step's batch, from which it grew. logprob: the model's own. spelled: what its
    unknown words cost."""

    ids: tuple[int, ...]
    logprob: float
    progress: Progress
    row: int
    spelled: Spelled = BEGUN

    @property
    def score(self) -> float:
        return self.logprob + self.progress.earned - self.spelled.cost

    @property
    def hope(self) -> float:
        """Its score if all that it has begun were completed at no cost."""
        return self.score + max(self.progress.reach, 0.0)

    @property
    def mean(self) -> float:
        """As beams are judged, over tokens and end token."""
        return self.score / (len(self.ids) + 1)


@dataclass
class _Clip:
    """A clip being decoded. live: the search's own beams. aside: candidates in the middle of an entry."""

    at: int
    no_speech: float
    live: list[_Text]
    aside: list[_Text] = field(default_factory=list)
    ended: list[_Text] = field(default_factory=list)

    @property
    def texts(self) -> list[_Text]:
        return [*self.live, *self.aside]


@dataclass(frozen=True)
class _Step:
    """What the network says of every row, scores of the text so far and bonuses of complete words included.

    totals: (n_rows, n_vocabulary). logprobs: the model's own. best, tokens: the highest of each row, as lists; only
    those that earn something where the row is on the side.
    """

    totals: Tensor
    logprobs: Tensor
    best: list[list[float]]
    tokens: list[list[int]]


class HotwordSearch:
    """One search over a network. prompt: token ids. max_tokens: to decode at most for a clip."""

    def __init__(self, network: WhisperNetwork, rules: Rules, trie: HotwordTrie, prompt: Sequence[int],
                 max_tokens: int, cancel: threading.Event | None) -> None:
        self._network, self._rules, self._trie = network, rules, trie
        self._prompt, self._max_tokens, self._cancel = prompt, max_tokens, cancel
        self._spelling = rules.spelling
        self._ids = rules.tokens
        self._stamps = rules.tokens.no_timestamps not in prompt
        self._walker = Walker(trie, rules.tokens.end, rules.tokens.first_stamp)
        device = network.device
        n_vocabulary = len(network.embedding)
        ends = torch.ones(n_vocabulary, dtype=torch.bool)
        if trie.has_spaces:
            goes_on = torch.from_numpy(trie.vocabulary.goes_on)
            ends[: len(goes_on)] = ~goes_on
        self._ends_word = ends.to(device)
        # Marks such as / and + are never written elsewhere; an entry that holds one asks for it.
        never = set(rules.never.tolist())
        self._lifted = torch.tensor(sorted(token for token in trie.tokens() if token in never), dtype=torch.long,
                                    device=device)
        self._tables: dict[int, tuple[Tensor, Tensor]] = {}

    def run(self, states: States, beam_size: int, plain: Sequence[Decoded]) -> list[Decoded]:
        """One `Decoded` for each clip; beam_size 1 decodes the clips together. Raises Cancelled.

        plain: what the search finds without hotwords. It stays where no entry came in: rows that are computed beside
        others are rounded otherwise in 8 bits, and a text may hang on that.
        """
        if beam_size == 1:
            led = self._run(states, 1)
        else:
            rows = [States(states.hidden[row : row + 1, :length], (length,)) for row, length in
                    enumerate(states.lengths)]
            led = [one for row in rows for one in self._run(row, beam_size)]
        return [other if earned > self._earned(one) + SMALLEST_GAIN else one
                for one, (other, earned) in zip(plain, led, strict=True)]

    def _earned(self, decoded: Decoded) -> float:
        progress = Progress()
        for token in [*decoded.tokens, *([self._ids.end] if decoded.finished else [])]:
            progress = self._walker.after(progress, token)
        return progress.earned

    def _run(self, states: States, width: int) -> list[tuple[Decoded, float]]:
        """For each clip the result and what its entries earned."""
        hidden, memory, no_speech = prefill(self._network, states, self._prompt, self._ids, self._max_tokens)
        clips = [_Clip(at, probability, [_Text((), 0.0, Progress(), at)]) for at, probability in enumerate(no_speech)]
        places = {clip.at: clip.at for clip in clips}
        done: dict[int, tuple[Decoded, float]] = {}
        n_tokens = 0
        while True:
            if self._cancel is not None and self._cancel.is_set():
                raise Cancelled
            step = self._step(self._network.logits(hidden[:, -1]), clips, self._n_best(width))
            row = 0
            for clip in clips:
                n_rows = len(clip.texts)
                self._choose(clip, range(row, row + n_rows), step, width)
                row += n_rows
            n_tokens += 1
            is_last = n_tokens >= self._max_tokens + (width > 1)
            done.update((clip.at, self._result(clip)) for clip in clips if is_last or not clip.texts)
            clips = [clip for clip in clips if clip.at not in done]
            if not clips:
                return [done[at] for at in range(len(states.lengths))]
            texts = [(text, clip.at) for clip in clips for text in clip.texts]
            rearrange(memory, places, [text.row for text, _ in texts], [at for _, at in texts])
            last = torch.tensor([text.ids[-1] for text, _ in texts], device=self._network.device)
            hidden, _ = self._network.step(last[:, None], memory)

    def _n_best(self, width: int) -> int:
        """How many of each text's next tokens are looked at."""
        return 1 if width == 1 else (2 if self._spelling is None else CANDIDATES) * width

    def _step(self, logits: Tensor, clips: Sequence[_Clip], n_best: int) -> _Step:
        texts = [text for clip in clips for text in clip.texts]
        aside = [is_aside for clip in clips for is_aside in [False] * len(clip.live) + [True] * len(clip.aside)]
        lifted = logits[:, self._lifted]
        self._rules.apply(logits, [text.ids for text in texts], self._stamps)
        every = logits.logsumexp(-1, keepdim=True)
        logprobs = logits - every
        totals = logprobs + torch.tensor([text.score for text in texts], device=logits.device)[:, None]
        for row, text in enumerate(texts):
            due, at_end = max(text.progress.due, 0.0), max(text.progress.due_at_end, 0.0)
            if due:
                totals[row] += due * self._ends_word
            totals[row, self._ids.end] += max(at_end - due, 0.0)
        best, tokens = self._earning(totals, texts, aside).topk(n_best)
        if len(self._lifted):
            words = (logprobs[:, : self._ids.end].amax(-1, keepdim=True) > NEVER).expand_as(lifted)
            logprobs[:, self._lifted] = (lifted - every).masked_fill(~words, NEVER)
            totals[:, self._lifted] = logprobs[:, self._lifted] + torch.tensor(
                [text.score for text in texts], device=logits.device)[:, None]
        return _Step(totals, logprobs, best.tolist(), tokens.tolist())

    def _earning(self, totals: Tensor, texts: Sequence[_Text], aside: Sequence[bool]) -> Tensor:
        """The totals, of rows on the side only those of tokens with which they earn something."""
        if not any(aside):
            return totals
        totals = totals.clone()
        for row, text in enumerate(texts):
            if aside[row] and text.progress.due > 0:
                totals[row].masked_fill_(~self._ends_word, NEVER)
            elif aside[row]:
                end = totals[row, self._ids.end].item() if text.progress.due_at_end > 0 else NEVER
                totals[row] = NEVER
                totals[row, self._ids.end] = end
        return totals

    def _choose(self, clip: _Clip, rows: range, step: _Step, width: int) -> None:
        """The clip's beams and candidates after one more token."""
        texts = clip.texts
        found = sorted(((total, row, token) for row in rows
                        for total, token in zip(step.best[row], step.tokens[row], strict=True) if total > NEVER),
                       reverse=True, key=lambda one: one[0])
        if self._spelling is not None:
            found = self._spelled(found[: self._n_best(width)], texts, rows[0])
        live: list[_Text] = []
        taken = set()
        for _, row, token in found[: 1 if width == 1 else 2 * width]:
            text = self._grown(texts[row - rows[0]], row, token, step)
            if token == self._ids.end:
                clip.ended.append(text)
            elif len(live) < width:
                live.append(text)
            taken.add((row, token))
        best = max((text.score for text in (*live, *clip.ended)), default=torch.inf)
        if len(clip.ended) >= width:  # the search is over, but for what an entry could still better
            best = max(text.score for text in clip.ended)
            live = [text for text in live if text.progress.earned and text.hope > best]
        clip.aside = self._on_the_side(texts, rows, len(clip.live), step, best, taken)
        clip.live = live

    def _spelled(self, found: Sequence[tuple[float, int, int]], texts: Sequence[_Text], first: int
                 ) -> list[tuple[float, int, int]]:
        """(total, row, token) by the totals once a word that ends there has been paid for. first: the clip's row."""
        assert self._spelling is not None
        paid = [(total - self._spelling.after(text.spelled, token).cost + text.spelled.cost, row, token)
                for total, row, token in found for text in [texts[row - first]]]
        return sorted(paid, reverse=True, key=lambda one: one[0])

    def _on_the_side(self, texts: Sequence[_Text], rows: range, n_live: int, step: _Step, best: float,
                     taken: set[tuple[int, int]]) -> list[_Text]:
        """Texts that go on in an entry, or begin one, and could be the best at its end."""
        found: list[_Text] = []
        for place, (text, row) in enumerate(zip(texts, rows, strict=True)):
            nodes = [(match.node, match.credit) for match in text.progress.matches if match.node.children]
            is_over = step.tokens[row][0] == self._ids.end  # what would come behind the end was not spoken
            if (place < n_live and not is_over) or text.progress.due > 0:
                nodes += [(root, 0.0) for root in self._walker.roots(text.progress) if root.children]
            for node, credit in nodes:
                tokens, reach = self._table(node)
                hopes = step.totals[row, tokens] + (reach - credit)
                for token in tokens[hopes > best].tolist():
                    if (row, token) not in taken:
                        taken.add((row, token))
                        found.append(self._grown(text, row, token, step))
        found = [text for text in found if text.hope > best and text.logprob > NEVER]
        return sorted(found, key=lambda text: -text.hope)[:MAX_ASIDE]

    def _table(self, node: Node) -> tuple[Tensor, Tensor]:
        """The tokens that go on from a node, and what each may come to earn."""
        if id(node) not in self._tables:
            children = node.children
            self._tables[id(node)] = (torch.tensor(list(children), device=self._network.device),
                                      torch.tensor([child.reach for child in children.values()],
                                                   device=self._network.device))
        return self._tables[id(node)]

    def _grown(self, text: _Text, row: int, token: int, step: _Step) -> _Text:
        logprob = text.logprob + step.logprobs[row, token].item()
        ids = text.ids if token == self._ids.end else (*text.ids, token)
        spelled = text.spelled if self._spelling is None else self._spelling.after(text.spelled, token)
        return _Text(ids, logprob, self._walker.after(text.progress, token), row, spelled)

    def _result(self, clip: _Clip) -> tuple[Decoded, float]:
        finished = bool(clip.ended)
        winner = max(clip.ended or clip.live, key=lambda text: text.mean)
        ids = winner.ids[: self._max_tokens]
        decoded = Decoded(ids, winner.logprob / (len(winner.ids) + 1), clip.no_speech, finished)
        return decoded, winner.progress.earned
