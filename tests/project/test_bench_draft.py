"""The benchmark of draft and verify: what it counts, how a draft goes on, and that both kinds of head learn."""

from __future__ import annotations

import itertools
import json
import math
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from speech import clips

from benchmarks import draft
from benchmarks.draft_heads import CtcHead, Example, LayerHead, behind, collapsed
from shared.checkpoint import weight_files
from shared.checkpoint.embedded import embedded_base_transformers
from shared.checkpoint.tokenizer import tokens_of

FOLDER = embedded_base_transformers()
TOKENS = tokens_of(FOLDER)
LENGTH, WORDS = 60, (400, 500, 600, 700)


def test_replay_keeps_what_agrees_and_the_decoders_own_token() -> None:
    drafts = {0: [1, 2, 9, 9], 3: [4, 5, 6]}
    found = draft.replay([1, 2, 3, 4, 5, 6], lambda so_far: drafts[len(so_far)])
    assert found == draft.Replay(steps=6, drafts=((4, 2), (3, 3)))


@pytest.mark.parametrize("guess", [[], [7], [1, 2, 3, 4]], ids=["none", "wrong", "more than there is"])
def test_replay_ends_whatever_is_drafted(guess: list[int]) -> None:
    found = draft.replay([1, 2, 3], lambda so_far: guess[len(so_far) :])
    assert found.steps == 3 and 1 <= len(found.drafts) <= 3


def scores(path: list[int], n_listed: int = 5) -> np.ndarray:
    """Log-probabilities of a head that is nearly sure of `path`, but takes token 2 for 5 now and then."""
    chances = np.full((len(path), n_listed + 1), 0.01)
    chances[range(len(path)), path] = 1 - 0.01 * n_listed
    chances[[place == 2 for place in path], 5] = 0.4
    return np.log(chances)


def test_a_path_collapses_as_ctc_says() -> None:
    assert collapsed([0, 1, 1, 0, 1, 2, 2]) == [1, 1, 2]
    assert collapsed([1, 1, 2], before=1) == [2]


@pytest.mark.parametrize(("text", "rest"), [
    ([], [1, 2, 3, 4]), ([1], [2, 3, 4]), ([1, 2], [3, 4]), ([1, 5], [3, 4]), ([1, 2, 3, 4], []), ([1, -1, 2, 3], [4]),
], ids=["all", "one", "two", "another token", "nothing left", "one that is not listed"])
def test_a_draft_goes_on_behind_the_text(text: list[int], rest: list[int]) -> None:
    assert behind(scores([0, 1, 1, 0, 2, 0, 3, 3, 0, 4, 0]), text) == rest


def test_the_alignment_is_the_best_of_all_paths() -> None:
    """Against every path of a short clip, tried one by one."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        logprobs = np.log(rng.dirichlet(np.ones(3), size=6))
        text = [int(i) for i in rng.integers(1, 3, size=2)]

        def of(path: tuple[int, ...], logprobs: np.ndarray = logprobs) -> float:
            return float(sum(logprobs[i, place] for i, place in enumerate(path)))

        best, wanted = -math.inf, [[0]]
        for n in range(1, 7):
            rest = logprobs[n:].max(1).sum()
            for path in itertools.product(range(3), repeat=n):
                if path[-1] and collapsed(path) == text and of(path) + rest > best:
                    best, wanted = of(path) + rest, collapsed(logprobs[n:].argmax(1).tolist(), text[-1])
        assert behind(logprobs, text) == wanted


def known() -> list[Example]:
    """Four words that can be read from the states: each has a direction of its own."""
    rng = torch.Generator().manual_seed(1)
    found = []
    for i in range(16):
        said = [WORDS[(i + k * (1 + i % 3)) % 4] for k in range(3)]
        states = 0.1 * torch.randn(LENGTH, 512, generator=rng)
        for k, word in enumerate(said):
            states[10 + 15 * k : 18 + 15 * k, 64 * WORDS.index(word) : 64 * WORDS.index(word) + 64] += 3.0
        prompt = TOKENS.prompt("en", "transcribe", timestamps=True)
        stamps = TOKENS.first_stamp, TOKENS.first_stamp + LENGTH - 6
        found.append(Example(states.half(), tuple(prompt), (stamps[0], *said, stamps[1])))
    return found


@pytest.mark.parametrize(("kind", "steps"), [("ctc", 60), ("layer", 25)])
def test_a_head_learns_to_draft(kind: str, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft, "WARM_UP", 5)
    torch.manual_seed(1)
    head = draft.new_head(kind, FOLDER, TOKENS, known(), (1, 64))
    assert isinstance(head, CtcHead if kind == "ctc" else LayerHead)
    before = draft.measured(head.eval(), known())
    optimiser = torch.optim.AdamW(head.parameters(), lr=3e-3 if kind == "ctc" else 3e-4)
    head.train()
    for _ in range(steps):
        loss = head.loss(known())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    after = draft.measured(head.eval(), known())
    assert after["steps"] == before["steps"] == 16 * 6
    assert after["drafted_share"] > max(0.7, before["drafted_share"])
    assert after["passes"] < 40


def test_the_command_measures_a_real_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"audio": {"bytes": clip.path.read_bytes(), "path": clip.path.name}, "text": clip.text,
             "language": clip.language} for clip in clips("en")[:2]]
    (tmp_path / "set" / "data").mkdir(parents=True)
    for split in ("train", "test"):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "set" / "data" / f"{split}-00000-of-00001.parquet")
    out = tmp_path / "draft.json"
    words = f"draft embedded:whisper-base {tmp_path / 'set'} --width 64 --layers 1 --copies 0 --seconds 1 --clips 1"
    monkeypatch.setattr(sys, "argv", [*words.split(), "--out", str(out)])
    draft.main()
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["clips"] == 1 and 1 <= found["passes"] <= found["steps"] and found["losses"]
    head = load_file(out.with_suffix(".safetensors"))
    assert len(head["listed"]) == len(head["bias"])


def test_a_layer_begins_as_the_checkpoints_first_one() -> None:
    weights = {name: tensor for path in weight_files(FOLDER) for name, tensor in load_file(path).items()}
    head = LayerHead(weights, TOKENS, [400, TOKENS.end], 8)
    name = "model.decoder.layers.0.encoder_attn.v_proj.weight"
    assert torch.equal(head.parts["encoder_attn_v_proj"].weight, weights[name].float())
