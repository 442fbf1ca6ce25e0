"""Greedy search on a GPU: every step one CUDA graph, the rules on the card, nothing waited for but the rows' ends.

Enters: encoder states and a prompt, as for `torch_decoding.greedy`, whose tokens it gives. A step there is hundreds of
small operations, each started by the host, and then a wait for the token; here the host starts one graph and reads,
one step late, which rows are still open. Keys and values lie in buffers that stay where they are, each row at a start
that the graph reads from the card, so one graph for a number of rows serves clips of every length.

The code runs without a GPU as well, with `static_ops` in place of the kernels and no graph: that is how it is tested.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from shared.engines import static_ops
from shared.engines.engine import Decoded
from shared.engines.static_ops import Choice, Field
from shared.engines.torch_decoding import Rules, no_speech_probabilities
from shared.engines.torch_model import States, WhisperNetwork
from shared.errors import Cancelled
from shared.whisper_constants import MAX_FIRST_STAMP

BUCKETS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128)  # numbers of rows that a graph is made for; above: whole 64s
ROOM = 1.25  # a buffer that is outgrown is made so much larger than what is asked for
SHORT_PROMPT = 8  # tokens; up to so many are read step by step, which is quicker than starting each operation
WARM_UP = 2  # runs of a step before it is captured, in which libraries set themselves up


class StaticDecoder:
    """Greedy search over one network. Calls may come from several threads; one decodes at a time."""

    def __init__(self, network: WhisperNetwork, rules: Rules) -> None:
        """rules: which tokens are never chosen; its no_repeat_ngram is not applied, so it must be 0."""
        self._network, self._rules = network, rules
        self._on_gpu = network.device.type == "cuda"
        self.ops: Any = static_ops
        if self._on_gpu:
            from shared.engines import cuda_kernels

            self.ops = cuda_kernels
        self._lock = threading.Lock()
        self._forbidden = self._forbidden_tokens()
        self._past: list[Tensor] = []
        self._cross: list[Tensor] = []
        self._n_rows = 0
        self._graphs: dict[tuple[int, bool | None], Callable[[], Tensor]] = {}
        self._pool: Any = None  # the graphs' own memory, shared
        self._drop_graphs()

    @torch.inference_mode()
    def greedy(self, states: States, prompt: Sequence[int], max_tokens: int, cancel: threading.Event | None = None
               ) -> list[Decoded]:
        """The likeliest token at each step.

        Args: states: a batch of any lengths. prompt: token ids every row starts from. max_tokens: of one row.
        Returns: one `Decoded` for each row. Raises: Cancelled.
        """
        with self._lock:
            stamps = self._rules.tokens.no_timestamps not in prompt
            n_room = min(len(prompt) + max_tokens, self._network.n_context)
            self._reserve(len(states.lengths), n_room, sum(states.lengths))
            self._place(states, n_room, len(prompt), min(max_tokens, n_room - len(prompt)))
            if len(prompt) <= SHORT_PROMPT:
                no_speech = self._read_short_prompt(len(states.lengths), prompt)
            else:
                no_speech = self._read_prompt(states, prompt, n_room, stamps)
            self._run(len(states.lengths), stamps, cancel)
            return self._results(len(states.lengths), no_speech)

    def prepare(self) -> None:
        """Build the kernels, some seconds the first time on a machine. Raises whatever a missing compiler raises."""
        with self._lock, torch.inference_mode():
            self._reserve(1, 1, 1)
            self._state[Field.N_PAST] = -1
            for stamps in (None, False, True):
                self._step_of(1, stamps)()

    def _forbidden_tokens(self) -> Tensor:
        forbidden = torch.zeros(len(self._network.embedding), dtype=torch.uint8, device=self._network.device)
        forbidden[self._rules.never_first] = 2
        forbidden[self._rules.never] = 3
        return forbidden

    def _reserve(self, n_rows: int, n_room: int, n_positions: int) -> None:
        """Buffers for so many rows, tokens a row and encoder positions in all. New ones make the graphs void."""
        network = self._network
        if _bucket(n_rows) > self._n_rows:
            self._n_rows = _bucket(n_rows)
            self._drop_graphs()
            width = max(self._n_rows, 4)  # lines that begin at 16 bytes: a kernel is built for each alignment
            self._state = torch.zeros((len(Field), width), dtype=torch.int32, device=network.device)
            self._logprobs = torch.zeros(self._n_rows, device=network.device)
            self._tokens = torch.zeros((self._n_rows, network.n_context), dtype=torch.int32, device=network.device)
            self._open = torch.zeros(width, dtype=torch.int32, pin_memory=self._on_gpu)
        for buffers, needed in ((self._past, n_rows * n_room), (self._cross, n_positions)):
            if not buffers or len(buffers[0]) < needed:
                self._drop_graphs()
                n_kept = int(needed * ROOM) if buffers else needed
                buffers.clear()
                buffers += [torch.empty((n_kept, 2 * network.d_model), device=network.device, dtype=network.dtype)
                            for _ in range(network.n_layers)]

    def _drop_graphs(self) -> None:
        """Forget all graphs, and take new memory for the next ones: torch gives a pool back with the last graph that
        used it, and capturing into it again then ends in an internal error (seen with torch 2.11)."""
        self._graphs.clear()
        self._pool = torch.cuda.graph_pool_handle() if self._on_gpu else None

    def _place(self, states: States, n_room: int, n_prompt: int, limit: int) -> None:
        """Every row's line in the table, and its cross-attention keys and values in the buffers."""
        n, lengths = len(states.lengths), torch.tensor(states.lengths)
        table = torch.zeros(self._state.shape, dtype=torch.int32)
        table[Field.N_PAST], table[Field.N_PAST, :n] = -1, n_prompt - 1  # choosing a token goes one position on
        table[Field.PREVIOUS], table[Field.LAST_STAMP], table[Field.LIMIT] = self._rules.tokens.first_stamp, -1, limit
        table[Field.PAST_START, :n] = torch.arange(n) * n_room
        table[Field.CROSS_START, :n], table[Field.CROSS_LENGTH, :n] = lengths.cumsum(0) - lengths, lengths
        self._state.copy_(table)
        self._logprobs.zero_()
        packed = pack(states)
        for layer, kept in zip(self._network.decoder, self._cross, strict=True):
            kept[: len(packed)] = layer["cross_kv"](packed)

    def _read_short_prompt(self, n: int, prompt: Sequence[int]) -> Tensor:
        """Run the decoder over the prompt token by token, but for the last one, which the first step reads; (n_rows,)
        probability of no speech."""
        tokens, no_speech = self._rules.tokens, torch.empty(0)
        for place, token in enumerate(prompt):
            self._state[Field.N_PAST, :n] = place
            self._state[Field.TOKEN, :n] = token
            if place < len(prompt) - 1 or token == tokens.start:
                hidden = self._step_of(_bucket(n), None)()
            if token == tokens.start:
                no_speech = self._network.logits(hidden[:n]).softmax(-1)[:, tokens.no_speech]
        return no_speech

    def _read_prompt(self, states: States, prompt: Sequence[int], n_room: int, stamps: bool) -> Tensor:
        """Run the decoder over the prompt and choose each row's first token; (n_rows,) probability of no speech."""
        network, n = self._network, len(states.lengths)
        ids = torch.tensor([list(prompt)] * n, device=network.device)
        x = (network.embedding[ids] + network.positions[: len(prompt)]).to(network.dtype)
        for i, layer in enumerate(network.decoder):
            q, k, v = layer["qkv"](layer["norm"](x)).chunk(3, dim=-1)
            past = self._past[i][: n * n_room].view(n, n_room, -1)[:, : len(prompt)]
            past[..., : network.d_model], past[..., network.d_model :] = k, v
            x = x + layer["out"](self._attend(q, k, v, is_causal=True))
            q = layer["cross_q"](layer["cross_norm"](x))
            x = x + layer["cross_out"](self._attend_states(q, self._cross[i], states.lengths))
            x = x + layer["down"](functional.gelu(layer["up"](layer["ffn_norm"](x))))
        hidden = network.decoder_norm(x)
        no_speech = no_speech_probabilities(network, hidden, prompt, self._rules.tokens)
        self.ops.choose(network.vocabulary(hidden[:, -1].contiguous()), self._state, self._choice(stamps))
        return no_speech

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        """(n_rows, n, d_model) each → (n_rows, n_queries, d_model)."""
        q, k, v = (x.unflatten(-1, (self._network.n_heads, -1)).transpose(1, 2) for x in (q, k, v))
        attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=is_causal)
        return attended.transpose(1, 2).flatten(2)

    def _attend_states(self, q: Tensor, cross: Tensor, lengths: Sequence[int]) -> Tensor:
        """q (n_rows, n_prompt, d_model) over every row's own encoder positions."""
        n, longest = len(lengths), max(lengths)
        if min(lengths) == longest:
            keys, values = cross[: n * longest].view(n, longest, -1).chunk(2, dim=-1)
            return self._attend(q, keys, values)
        counts = torch.tensor(lengths, device=q.device)[:, None]
        place, starts = torch.arange(longest, device=q.device), self._state[Field.CROSS_START, :n, None]
        inside = place < counts
        keys, values = cross[torch.where(inside, starts + place, 0)].chunk(2, dim=-1)
        return self._attend(q, keys, values, mask=inside[:, None, None])

    def _run(self, n_rows: int, stamps: bool, cancel: threading.Event | None) -> None:
        """Steps until every row has ended. The host looks at the rows of the step before, so the card never waits."""
        step = self._step_of(_bucket(n_rows), stamps)  # captured, if need be, before anything waits
        seen: list[Any] = []
        self._open.zero_()
        while True:
            if cancel is not None and cancel.is_set():
                if self._on_gpu:  # what is under way still writes to the buffers
                    torch.cuda.current_stream().synchronize()
                raise Cancelled
            self._open.copy_(self._state[Field.N_PAST], non_blocking=True)
            if self._on_gpu:
                seen.append(torch.cuda.Event())
                seen[-1].record()
                if len(seen) > 1:
                    seen.pop(0).synchronize()
            if not bool((self._open[:n_rows] >= 0).any()):
                return
            step()

    def _step_of(self, n_rows: int, stamps: bool | None) -> Callable[[], Tensor]:
        """One step over the first n_rows rows of the table: a graph on a GPU, the plain function elsewhere. It gives
        the decoder's output (n_rows, d_model), to be used before the next step. stamps: None to choose no token."""
        if not self._on_gpu:
            return lambda: self._step(n_rows, stamps)
        if (n_rows, stamps) not in self._graphs:
            self._graphs[n_rows, stamps] = self._captured(n_rows, stamps)
        return self._graphs[n_rows, stamps]

    def _captured(self, n_rows: int, stamps: bool | None) -> Callable[[], Tensor]:
        kept = self._state.clone(), self._logprobs.clone()
        self._state[Field.N_PAST] = -1  # nothing is open: warming up and capturing change no row
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._step(n_rows, stamps)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            hidden = self._step(n_rows, stamps)
        self._state.copy_(kept[0])
        self._logprobs.copy_(kept[1])

        def replay() -> Tensor:
            graph.replay()
            return hidden

        return replay

    def _step(self, n_rows: int, stamps: bool | None) -> Tensor:
        """Read each open row's last token and choose the next one. Rows that have ended stay as they are."""
        network, ops, state = self._network, self.ops, self._state
        n_past, heads = state[Field.N_PAST], network.n_heads
        x, h = (torch.empty((n_rows, network.d_model), device=network.device, dtype=network.dtype) for _ in range(2))
        norms = [layer["norm"] for layer in network.decoder[1:]] + [network.decoder_norm]
        ops.embed_norm(state, network.embedding, network.positions, network.decoder[0]["norm"], x, h)
        for i, (layer, following) in enumerate(zip(network.decoder, norms, strict=True)):
            attended = ops.attend_past(layer["qkv"](h), self._past[i], state[Field.PAST_START], n_past, heads)
            ops.add_norm(x, layer["out"](attended), layer["cross_norm"], h)
            attended = ops.attend_cross(layer["cross_q"](h), self._cross[i], state[Field.CROSS_START],
                                        state[Field.CROSS_LENGTH], n_past, heads)
            ops.add_norm(x, layer["cross_out"](attended), layer["ffn_norm"], h)
            ops.add_norm(x, layer["down"](functional.gelu(layer["up"](h))), following, h)
        if stamps is not None:
            ops.choose(network.vocabulary(h), state, self._choice(stamps))
        return h

    def _choice(self, stamps: bool) -> Choice:
        ids = self._rules.tokens
        return Choice(self._forbidden, self._logprobs, self._tokens, ids.end, ids.first_stamp, MAX_FIRST_STAMP, stamps)

    def _results(self, n_rows: int, no_speech: Tensor) -> list[Decoded]:
        state, tokens = self._state[:, :n_rows].tolist(), self._tokens[:n_rows].tolist()
        rows = zip(tokens, state[Field.N_TOKENS], state[Field.FINISHED], self._logprobs.tolist(), no_speech.tolist(),
                   strict=False)
        return [Decoded(tuple(ids[:n]), logprob / (n + 1), silent, bool(finished))
                for ids, n, finished, logprob, silent in rows]


def pack(states: States) -> Tensor:
    """(n_positions of all rows, d_model): the rows one after the other, without what fills them up."""
    longest = states.hidden.shape[1]
    flat = states.hidden.flatten(0, 1)
    if min(states.lengths) == longest:
        return flat
    inside = torch.arange(longest) < torch.tensor(states.lengths)[:, None]
    return flat[torch.nonzero(inside.flatten()).flatten().to(flat.device)]


def _bucket(n_rows: int) -> int:
    """The number of rows a graph is made for that so many fit."""
    return next((size for size in BUCKETS if size >= n_rows), -(-n_rows // 64) * 64)
