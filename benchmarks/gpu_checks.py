"""That what is timed is right: kernels against their meaning, tokens against plain greedy, logits against transformers.

Each check gives a row with its value, the tolerance and whether it passed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu_models import Pair, pair
from shared.engines import static_ops
from shared.engines.cuda_decoding import StaticDecoder
from shared.engines.packed_encoder import encode_packed
from shared.engines.static_ops import Choice, Field
from shared.engines.torch_decoding import greedy
from shared.engines.torch_model import Norm
from shared.whisper_constants import DECODER_POSITIONS, ENCODER_POSITIONS, MAX_FIRST_STAMP, N_FRAMES_FULL

Row = dict[str, Any]
# ‖got − wanted‖ / ‖wanted‖. Half precision keeps 11 bits (bfloat16: 8), and rounding adds up over the layers.
OF_KERNELS = {torch.float32: 1e-5, torch.float16: 2e-3}
OF_NETWORK = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}
GAIN = 3.0  # weights so much larger than a fresh model's, so that attention and audio weigh in what is compared


def checks(device: str, compute_type: str, name: str, tokenizer: Path) -> Iterator[Row]:
    """Every check; the network's own in `compute_type` on the shape `name`."""
    if device == "cuda":
        for dtype in OF_KERNELS:
            yield from kernel_rows(dtype)
    with tempfile.TemporaryDirectory() as folder:
        both = pair("base" if device == "cuda" else name, tokenizer, Path(folder), device, "float32", gain=GAIN)
        yield from token_rows(both)
    del both
    with tempfile.TemporaryDirectory() as folder:
        both = pair(name, tokenizer, Path(folder), device, compute_type, gain=GAIN)
        yield from network_rows(both, compute_type, device)


def _row(check: str, value: float, tolerance: float, **more: Any) -> Row:
    return {"part": "check", "check": check, "value": value, "tolerance": tolerance,
            "passed": bool(value <= tolerance)} | more


def _error(got: Tensor, wanted: Tensor) -> float:
    """Relative, in float64; a number that is none fails every comparison."""
    got, wanted = got.double(), wanted.double()
    return float((got - wanted).norm() / wanted.norm())


def kernel_rows(dtype: torch.dtype) -> Iterator[Row]:
    """The Triton kernels against plain torch in float32, on random numbers of the same rounding."""
    from shared.engines import cuda_kernels

    parts = cuda_kernels.PROGRAMS
    for n_parts in (1, parts):  # with one piece a row, and with several
        cuda_kernels.PROGRAMS = n_parts
        wanted, got = (_outputs(ops, dtype, kept) for ops, kept in ((static_ops, torch.float32), (cuda_kernels, dtype)))
        for name, value in wanted.items():
            yield _row(f"kernel {name}", _error(got[name], value), OF_KERNELS[dtype], dtype=str(dtype))
    cuda_kernels.PROGRAMS = parts
    wrong = sum(_choices_differ(cuda_kernels, seed) for seed in range(40))
    yield _row("kernel choose", wrong, 0, dtype="float32")


def _outputs(ops: Any, rounding: torch.dtype, dtype: torch.dtype) -> dict[str, Tensor]:
    """What each operation makes of random input."""
    torch.manual_seed(1)
    width, n_heads, n_rows = 512, 8, 5

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, device="cuda").to(rounding).to(dtype)

    state = _state([0, 3, 70, -1, 130], 8)
    lengths = torch.tensor([ENCODER_POSITIONS, 220, 7, 300, 129], dtype=torch.int32, device="cuda")
    state[Field.PAST_START, :n_rows] = torch.arange(n_rows, dtype=torch.int32, device="cuda") * 200
    state[Field.CROSS_LENGTH, :n_rows] = lengths
    state[Field.CROSS_START, :n_rows] = (lengths.cumsum(0) - lengths).int()
    norm, x, h, later = Norm(random(width), random(width)), *(random(n_rows, width) for _ in range(3))
    ops.embed_norm(state, random(1000, width), random(DECODER_POSITIONS, width), norm, x, h)
    embedded = x.clone()
    ops.add_norm(x, random(n_rows, width), norm, later)
    past, starts, n_past = random(1000, 2 * width), state[Field.PAST_START], state[Field.N_PAST]
    attended = ops.attend_past(random(n_rows, 3 * width), past, starts, n_past, n_heads)
    crossed = ops.attend_cross(random(n_rows, width), random(2200, 2 * width), state[Field.CROSS_START],
                               state[Field.CROSS_LENGTH], n_past, n_heads)
    return {"embed_norm": h, "embedding": embedded, "add_norm": later, "sum": x, "attend_past": attended,
            "past": past, "attend_cross": crossed}


def _state(n_past: list[int], width: int) -> Tensor:
    state = torch.zeros((len(Field), width), dtype=torch.int32, device="cuda")
    state[Field.N_PAST] = -1
    state[Field.N_PAST, : len(n_past)] = torch.tensor(n_past, dtype=torch.int32, device="cuda")
    return state


def _choices_differ(ops: Any, seed: int) -> bool:
    """Random scores and random histories: whether the kernel's choice or table is another than the plain one's."""
    random = np.random.default_rng(seed)
    n_rows, n_vocabulary, end, first = 6, 5200, 3600, 3700
    state = _state([int(random.choice([5, 9, -1])) for _ in range(n_rows)], 8)
    for row in range(n_rows):
        ids = [int(random.choice([random.integers(end), first + random.integers(1000)]))
               for _ in range(random.choice([0, 1, 2, 4]))]
        state[Field.N_TOKENS, row], state[Field.TOKEN, row] = len(ids), ids[-1] if ids else 7
        state[Field.PREVIOUS, row] = ids[-2] if len(ids) > 1 else first
        state[Field.LAST_STAMP, row] = max((i for i in ids if i >= first), default=-1)
    state[Field.LIMIT] = 5
    torch.manual_seed(seed)
    logits = torch.randn(n_rows, n_vocabulary, device="cuda") * float(random.choice([0.3, 3]))
    logits[:, first:] += float(random.choice([-4, 0, 2]))
    logits[:, end] += float(random.choice([0, 8]))
    forbidden = torch.zeros(n_vocabulary, dtype=torch.uint8, device="cuda")
    forbidden[torch.randperm(3500, device="cuda")[:300]] = 3
    forbidden[end + 1 : first], forbidden[end] = 3, 2
    found = []
    for chosen in (static_ops, ops):
        table, tokens = state.clone(), torch.zeros((8, 10), dtype=torch.int32, device="cuda")
        logprobs = torch.zeros(8, device="cuda")
        how = Choice(forbidden, logprobs, tokens, end, first, MAX_FIRST_STAMP, bool(seed % 2))
        chosen.choose(logits.clone(), table, how)
        found.append((table, tokens, logprobs))
    (table, tokens, logprobs), (other, others, sums) = found
    same = torch.equal(table, other) and torch.equal(tokens, others)
    return not (same and torch.allclose(logprobs, sums, atol=1e-3))


@torch.inference_mode()
def token_rows(both: Pair) -> Iterator[Row]:
    """In float32, the graph's tokens are those of plain greedy: mixed lengths, with and without timestamps."""
    engine = both.engine
    static = StaticDecoder(engine._network, engine._rules(0))
    mels = [_noise(both.shape.n_mels, n, i) for i, n in enumerate((N_FRAMES_FULL, 440, 800, 200, 1200))]
    states = engine.join([engine.encode([mel]) for mel in mels])
    for stamps in (False, True):
        prompt = both.tokens.prompt("en", "transcribe", timestamps=stamps)
        for batch in (states, engine.row(states, 1)):
            wanted = greedy(engine._network, batch, prompt, engine._rules(0), 24, None)
            found = static.greedy(batch, prompt, 24)
            wrong = sum(a != b for one, other in zip(found, wanted, strict=True)
                        for a, b in zip(one.tokens, other.tokens, strict=True))
            yield _row("tokens that differ from plain greedy", wrong, 0, timestamps=stamps, rows=len(batch.lengths),
                       distinct=len({i for one in found for i in one.tokens}))


@torch.inference_mode()
def network_rows(both: Pair, compute_type: str, device: str) -> Iterator[Row]:
    """Encoder states, logits, and the graph's log-probabilities, against transformers on the same weights."""
    engine, model, tolerance = both.engine, both.reference, OF_NETWORK[compute_type]
    mels = [_noise(both.shape.n_mels, N_FRAMES_FULL, i) for i in range(3)]
    given = torch.from_numpy(np.stack(mels)).to(device, model.dtype)
    states = engine.encode(mels)
    hidden = model.model.encoder(given).last_hidden_state
    yield _row("encoder states", _error(states.hidden, hidden), tolerance)
    static = StaticDecoder(engine._network, engine._rules(0))
    short = [mel[:, :n] for mel, n in zip(mels, (440, 1000, 200), strict=True)]
    packed = encode_packed(engine._network, short, static.ops)
    yield _row("encoder states, packed", max(
        _error(packed.hidden[i, : mel.shape[1] // 2], engine.encode([mel]).hidden[0]) for i, mel in enumerate(short)
    ), tolerance)
    found = static.greedy(states, both.prompt, 12)
    ids = torch.tensor([[*both.prompt, *one.tokens] for one in found], device=device)
    wanted = model(encoder_outputs=(hidden,), decoder_input_ids=ids).logits
    got, _ = engine._network.step(ids, engine._network.memory(states, ids.shape[1]))
    yield _row("logits", _error(engine._network.logits(got), wanted), tolerance)
    scores = wanted[:, len(both.prompt) - 1 : -1].float()
    scores[:, :, engine._rules(0).never] = -torch.inf
    scores[:, 0, engine._rules(0).never_first] = -torch.inf
    logprobs = scores.log_softmax(-1)
    chosen = logprobs.gather(2, ids[:, len(both.prompt) :, None])[..., 0]
    yield _row("log-probability of the graph's tokens", max(
        abs(float(row.sum()) / 13 - one.avg_logprob) for row, one in zip(chosen, found, strict=True)), tolerance)
    yield _row("how far the graph's tokens are from transformers' best", float(
        (logprobs.amax(-1) - chosen).max()), tolerance * float(scores[torch.isfinite(scores)].std()) * 2)


def _noise(n_mels: int, n_frames: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 1.0, (n_mels, n_frames)).astype(np.float32)
