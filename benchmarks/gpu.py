"""Whisper on a GPU: our torch engine beside transformers' `generate`, same weights, same card, same run.

    python -m benchmarks.gpu --out gpu.json                  # at most 8 minutes on one GPU
    python -m benchmarks.gpu --out gpu.json --quick          # the same rows on a tiny shape, on any device

Random weights in the shapes of base, small, large-v3-turbo and large-v3, and a fixed number of tokens, so it measures
speed only; that both compute the same is checked first, and a failed check ends in exit code 1. The rows that matter
most come first, and it stops by itself when the time is up. Every row is written as soon as it is measured.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from benchmarks.gpu_checks import checks
from benchmarks.gpu_models import SHAPES, Pair, pair, saved
from benchmarks.gpu_timing import measured, wait
from shared.audio.features import frames_for, log_mel
from shared.checkpoint.embedded import embedded_base_transformers
from shared.engines import torch_features
from shared.engines.engine import Engine
from shared.engines.torch_decoding import greedy
from shared.whisper_constants import CROPPED_SILENCE_SECONDS, N_FRAMES_FULL, SAMPLE_RATE

Row = dict[str, Any]
CLIPS = {30.0: 100, 4.0: 16}  # seconds of audio → tokens of its text, some 3 to 4 a second


@dataclass(frozen=True)
class Plan:
    """What is measured: shapes, batch sizes (the first of each before the others), device and types."""

    device: str
    compute_type: str
    shapes: tuple[str, ...]
    batches: tuple[int, ...]
    trained: tuple[str, ...]
    tokens: dict[float, int]
    tokenizer: Path


def whole_plan(device: str, tokenizer: Path) -> Plan:
    return Plan(device, "float16", ("large-v3-turbo", "base", "large-v3", "small"), (16, 1, 64, 4),
                ("small", "large-v3-turbo"), CLIPS, tokenizer)


def quick_plan(device: str, tokenizer: Path) -> Plan:
    """The same on a shape that takes no time."""
    return Plan(device, "float16" if device == "cuda" else "float32", ("tiny",), (2, 1), ("tiny",),
                {30.0: 4, 4.0: 3}, tokenizer)


def rows(plan: Plan) -> Iterator[Row]:
    """Every measurement, those that matter most first."""
    yield from check_rows(plan)
    if plan.device == "cuda":
        yield bandwidth_row()
    for name in plan.shapes:
        yield from _guarded("inference", shape_rows(plan, name, plan.batches[:1], detailed=True))
    yield from feature_rows(plan)
    if plan.trained:
        yield from _guarded("training", train_rows(plan))
    for name in plan.shapes[:2]:
        yield from other_process_rows(plan, name)
    for name in plan.shapes:
        yield from _guarded("inference", shape_rows(plan, name, plan.batches[1:], detailed=False))


def check_rows(plan: Plan) -> Iterator[Row]:
    return _guarded("check", checks(plan.device, plan.compute_type, plan.shapes[0], plan.tokenizer))


def train_rows(plan: Plan) -> Iterator[Row]:
    from benchmarks.gpu_training import training_rows  # wants training's own requirements; the rest does not

    yield from training_rows(plan.trained, 16 if plan.device == "cuda" else 2, plan.device)


def shape_rows(plan: Plan, name: str, batches: tuple[int, ...], detailed: bool) -> Iterator[Row]:
    """One shape at several batch sizes, both lengths of clip, ours and transformers'."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _pair_rows(plan, pair(name, plan.tokenizer, Path(folder), plan.device, plan.compute_type), batches,
                              detailed)
    gc.collect()


def _pair_rows(plan: Plan, both: Pair, batches: tuple[int, ...], detailed: bool) -> Iterator[Row]:
    for batch in batches:
        for seconds, n_tokens in plan.tokens.items():
            mels = [clip(both.shape.n_mels, seconds, i) for i in range(batch)]
            cropped, audio = _at(mels, frames_for(seconds + CROPPED_SILENCE_SECONDS)), batch * seconds
            row = {"part": "inference", "model": both.name, "batch": batch, "clip_seconds": seconds,
                   "tokens": n_tokens, "compute_type": plan.compute_type}
            yield row | _attempt(ours, both.engine, both.prompt, cropped, audio, n_tokens)
            yield row | _attempt(theirs, both, _at(mels, N_FRAMES_FULL), audio, n_tokens, plan.device)
            if detailed:
                yield row | _attempt(before, both, cropped, audio, n_tokens)
    if detailed:
        yield {"part": "mixed lengths", "model": both.name, "batch": batches[0]} | _attempt(mixed, both, batches[0])


def clip(n_mels: int, seconds: float, seed: int) -> np.ndarray:
    """Noise in log-mel's range: float32 (n_mels, 100 × seconds)."""
    random = np.random.default_rng(seed)
    return random.uniform(-0.5, 1.0, (n_mels, int(100 * seconds))).astype(np.float32)


def _at(mels: list[np.ndarray], n_frames: int) -> list[np.ndarray]:
    return [np.pad(mel, ((0, 0), (0, n_frames - mel.shape[1]))) for mel in mels]


def ours(engine: Engine, prompt: list[int], mels: list[np.ndarray], audio: float, n_tokens: int) -> Row:
    """An engine of ours: the encoder, the decoder, and half as many tokens, from which follows what one step takes.
    audio: seconds, of all clips."""
    if hasattr(engine, "_static"):
        engine._static = None  # buffers and graphs of the last row: this one's memory is its own
    encoder = measured(lambda: engine.encode(mels), engine.device)
    states = engine.encode(mels)
    found: list[Any] = []

    def decode(n: int) -> None:
        found[:] = engine.decode(states, prompt, beam_size=1, max_tokens=n)

    decoder = measured(lambda: decode(n_tokens), engine.device)
    half = measured(lambda: decode(n_tokens // 2), engine.device)
    decode(n_tokens)
    if {len(one.tokens) for one in found} != {n_tokens}:
        raise RuntimeError(f"{n_tokens} tokens were asked for, got {[len(one.tokens) for one in found]}")
    step = (decoder.median - half.median) / (n_tokens - n_tokens // 2)
    return {"system": f"whisper-spaces {engine.name}", "step_ms": 1e3 * step} | _summary(
        audio, encoder, decoder.median, max(encoder.peak_gb, decoder.peak_gb), decoder.spread)


def before(both: Pair, mels: list[np.ndarray], audio: float, n_tokens: int) -> Row:
    """Our engine without graphs: each operation started by the host, each token waited for."""
    engine = both.engine
    encoder = measured(lambda: engine.encode(mels), engine.device)
    states, rules = engine.encode(mels), engine._rules(0)

    @torch.inference_mode()
    def decode() -> None:
        greedy(engine._network, states, both.prompt, rules, n_tokens, None)

    decoder = measured(decode, engine.device)
    return {"system": "whisper-spaces torch, no graph"} | _summary(
        audio, encoder, decoder.median, max(encoder.peak_gb, decoder.peak_gb), decoder.spread)


@torch.inference_mode()
def theirs(both: Pair, mels: list[np.ndarray], audio: float, n_tokens: int, device: str) -> Row:
    """transformers, whose input is always 30 s. The decoder's time is what `generate` takes beyond the encoder's."""
    model = both.reference

    def given() -> torch.Tensor:
        return torch.from_numpy(np.stack(mels)).to(device, model.dtype)

    encoder = measured(lambda: model.model.encoder(given()), device)
    whole = measured(lambda: model.generate(given(), language="en", task="transcribe", min_new_tokens=n_tokens,
                                            max_new_tokens=n_tokens), device)
    return {"system": "transformers generate"} | _summary(
        audio, encoder, whole.median - encoder.median, whole.peak_gb, whole.spread)


def _summary(audio: float, encoder: Any, decoder: float, peak_gb: float, spread: float) -> Row:
    whole = encoder.median + decoder
    return {"encoder_seconds": encoder.median, "decoder_seconds": decoder, "audio_per_second": audio / whole,
            "decoder_audio_per_second": audio / decoder, "peak_gb": peak_gb, "spread": spread}


def mixed(both: Pair, batch: int) -> Row:
    """Clips of 2 to 6 s, no two alike: the encoder packed against one clip after the other."""
    engine, wanted = both.engine, np.linspace(2.0, 6.0, batch)
    mels = [clip(both.shape.n_mels, round(float(seconds), 2), i) for i, seconds in enumerate(wanted)]
    mels = [mel[:, : mel.shape[1] // 2 * 2] for mel in mels]
    packed = measured(lambda: engine.encode(mels), engine.device)
    single = measured(lambda: [engine.encode([mel]) for mel in mels], engine.device)
    decoder = measured(lambda: engine.decode(engine.encode(mels), both.prompt, beam_size=1, max_tokens=8),
                       engine.device)
    return {"system": "whisper-spaces torch", "packed_seconds": packed.median, "one_by_one_seconds": single.median,
            "encode_and_decode_seconds": decoder.median}


def feature_rows(plan: Plan) -> Iterator[Row]:
    """Log-mel of one clip: numpy on the CPU, torch on the device."""
    device = torch.device(plan.device)
    for seconds in plan.tokens:
        samples = np.random.default_rng(1).normal(0, 0.1, int(SAMPLE_RATE * seconds)).astype(np.float32)
        for name, run in (("numpy", lambda samples=samples: log_mel(samples, 128)),
                          ("torch", lambda samples=samples: torch_features.log_mel(samples, 128, device))):
            yield {"part": "log-mel", "system": name, "clip_seconds": seconds,
                   "milliseconds": 1e3 * measured(run, plan.device).median}


def bandwidth_row() -> Row:
    """What the card's memory gives: a large copy, bytes read and written."""
    source = torch.empty(2**30, dtype=torch.float32, device="cuda").normal_()
    target = torch.empty_like(source)
    timed = measured(lambda: target.copy_(source), "cuda")
    return {"part": "bandwidth", "terabytes_per_second": 2 * source.nbytes / timed.median / 1e12}


def other_process_rows(plan: Plan, name: str) -> Iterator[Row]:
    """CTranslate2 in a process of its own: where its libraries are missing, or end it, the row says so."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--ctranslate2", name, "--device", plan.device,
               "--tokenizer", str(plan.tokenizer), *(["--quick"] if "tiny" in plan.shapes else [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        failed = [] if done.returncode == 0 else [f"exit code {done.returncode}: {last[:300]}"]
    except subprocess.TimeoutExpired:
        lines, failed = [], ["took longer than 90 s"]
    yield from lines
    yield from ({"part": "inference", "model": name, "system": "ctranslate2", "failed": why} for why in failed)


def ctranslate2_rows(plan: Plan, name: str) -> Iterator[Row]:
    """The same shape, prompt and clips on CTranslate2, which is what faster-whisper runs on."""
    from shared.checkpoint.to_ctranslate2 import to_ctranslate2
    from shared.engines.ctranslate2_engine import CTranslate2Engine

    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as converted:
        both = pair(name, plan.tokenizer, Path(folder), plan.device, plan.compute_type)
        to_ctranslate2(saved(both), Path(converted), plan.compute_type)
        prompt, n_mels = both.prompt, both.shape.n_mels
        del both
        gc.collect()
        engine = CTranslate2Engine(Path(converted), device=plan.device, compute_type=plan.compute_type)
        for batch in plan.batches[:2]:
            for seconds, n_tokens in plan.tokens.items():
                row = {"part": "inference", "model": name, "batch": batch, "clip_seconds": seconds,
                       "tokens": n_tokens, "compute_type": plan.compute_type}
                padded = _at([clip(n_mels, seconds, i) for i in range(batch)], N_FRAMES_FULL)
                yield row | ours(engine, prompt, padded, batch * seconds, n_tokens) | {
                    "system": "ctranslate2, padded to 30 s"}


def _attempt(measure: Callable[..., Row], *given: Any) -> Row:
    """A measurement, or why there is none: what a library of another version raises must not end the others."""
    try:
        return measure(*given)
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {str(error)[:300]}"}


def _guarded(part: str, measurements: Iterator[Row]) -> Iterator[Row]:
    """The same for a whole part. A check that cannot be done has not passed."""
    try:
        yield from measurements
    except Exception as error:
        traceback.print_exc()
        yield {"part": part, "failed": f"{type(error).__name__}: {str(error)[:300]}", "passed": part != "check"}


def machine(device: str) -> Row:
    """Where this was measured."""
    found: Row = {"device": device, "torch": torch.__version__, "transformers": transformers.__version__,
                  "python": platform.python_version(), "date": time.strftime("%Y-%m-%d")}
    if device == "cuda":
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        listed = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
        found |= {"card": torch.cuda.get_device_name(), "nvidia_smi": listed, "cuda": torch.version.cuda}
    return found


def main(arguments: list[str] | None = None) -> int:
    transformers.logging.set_verbosity_error()  # it warns of its own defaults at every call
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="JSON file for the rows")
    parser.add_argument("--seconds", type=float, default=440, help="begin no new row after so long")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--quick", action="store_true", help="a tiny shape, to try the script itself")
    parser.add_argument("--no-training", action="store_true", help="leave out the rows of training")
    parser.add_argument("--checks", action="store_true", help="only the checks")
    parser.add_argument("--tokenizer", type=Path, help="a folder with a Whisper tokenizer; else the embedded one")
    parser.add_argument("--ctranslate2", metavar="SHAPE", choices=list(SHAPES), help="only these rows, to the output")
    given = parser.parse_args(arguments)
    plan = (quick_plan if given.quick else whole_plan)(given.device, given.tokenizer or embedded_base_transformers())
    if given.no_training:
        plan = replace(plan, trained=())
    if given.ctranslate2:
        for row in ctranslate2_rows(plan, given.ctranslate2):
            print(json.dumps(row), flush=True)
        return 0
    begun, kept, where = time.monotonic(), [], machine(given.device)
    for row in check_rows(plan) if given.checks else rows(plan):
        kept.append(row | {"at": round(time.monotonic() - begun, 1)})
        print(json.dumps(kept[-1]), flush=True)
        if given.out:
            given.out.write_text(json.dumps({"machine": where, "rows": kept}, indent=1) + "\n", encoding="utf-8")
        if time.monotonic() - begun > given.seconds:
            print("The time is up; what is missing was not measured.", file=sys.stderr)
            break
    wait(given.device)
    return int(any(row.get("passed") is False for row in kept))


if __name__ == "__main__":
    sys.exit(main())
