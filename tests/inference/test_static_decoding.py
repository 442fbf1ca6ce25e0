"""The decoder and the encoder that a GPU runs, on the CPU: the same code without graphs, against the plain ones."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from speech import clips

from shared.audio import load_audio
from shared.audio.features import log_mel, pad_or_trim
from shared.checkpoint.embedded import embedded_base_transformers
from shared.checkpoint.tokenizer import tokens_of
from shared.engines import static_ops, torch_features
from shared.engines.cuda_decoding import StaticDecoder, pack
from shared.engines.packed_encoder import encode_packed
from shared.engines.torch_engine import TorchEngine
from shared.engines.torch_model import States
from shared.errors import Cancelled

ITALIAN, ENGLISH = clips("it"), clips("en")
FOLDER = embedded_base_transformers()
TOKENS = tokens_of(FOLDER)


def mel(clip, n_frames: int) -> np.ndarray:
    return pad_or_trim(log_mel(load_audio(clip.path).samples), n_frames)


FEATURES = [mel(clip, n) for clip, n in ((ENGLISH[0], 900), (ITALIAN[0], 800), (ITALIAN[1], 600))]


@pytest.fixture(scope="module")
def engine() -> TorchEngine:
    return TorchEngine(FOLDER, compute_type="float32")


@pytest.fixture(scope="module")
def static(engine) -> StaticDecoder:
    return StaticDecoder(engine._network, engine._rules(0))


@pytest.fixture(scope="module")
def states(engine) -> States:
    return engine.encode(FEATURES)


def prompts() -> dict[str, list[int]]:
    def of(**how) -> list[int]:
        return TOKENS.prompt("en", "transcribe", **how)

    return {"text": of(timestamps=False), "timestamps": of(timestamps=True),
            "earlier text": of(timestamps=True, initial_prompt="Sense and Sensibility, by Jane Austen.")}


@pytest.mark.parametrize(("kind", "max_tokens"), [("text", 12), ("timestamps", 24), ("earlier text", 6)])
def test_the_tokens_are_those_of_plain_greedy(engine, static, states, kind, max_tokens):
    """A batch of three lengths, then one row alone in the buffers that the batch has left full."""
    for batch in (states, engine.row(states, 2)):
        wanted = engine.decode(batch, prompts()[kind], beam_size=1, max_tokens=max_tokens)
        found = static.greedy(batch, prompts()[kind], max_tokens)
        assert [one.tokens for one in found] == [one.tokens for one in wanted]
        assert [one.finished for one in found] == [one.finished for one in wanted]
        for one, other in zip(found, wanted, strict=True):
            assert one.avg_logprob == pytest.approx(other.avg_logprob, abs=1e-4)
            assert one.no_speech_prob == pytest.approx(other.no_speech_prob, abs=1e-4)


def test_timestamp_rules_hold_for_any_scores(engine):
    """Rules against rules on random scores, where every branch is taken: pairs, order, the first second, the end."""
    rules, n_rows, n_tokens = engine._rules(0), 64, 12
    static = StaticDecoder(engine._network, rules)
    static._reserve(n_rows, n_tokens + 2, n_rows)
    static._place(States(torch.zeros(n_rows, 1, engine._network.d_model), (1,) * n_rows), n_tokens + 2, 1, n_tokens)
    random, first = torch.Generator().manual_seed(1), TOKENS.first_stamp
    tokens: list[list[int]] = [[] for _ in range(n_rows)]
    is_open = [True] * n_rows
    for _ in range(n_tokens):
        scores = torch.randn(n_rows, len(engine._network.embedding), generator=random)
        scores[:, first:] += torch.randint(-6, 4, (n_rows, 1), generator=random)
        scores[:, TOKENS.end] += torch.randint(0, 6, (n_rows,), generator=random)
        static.ops.choose(scores.clone(), static._state, static._choice(True))
        for row in range(n_rows):
            if is_open[row]:
                one = scores[row : row + 1].clone()
                rules.apply(one, [tokens[row]], True)
                chosen = int(one.argmax())
                is_open[row] = chosen != TOKENS.end and len(tokens[row]) + 1 < n_tokens
                tokens[row] += [chosen] if chosen != TOKENS.end else []
    found = static._results(n_rows, torch.zeros(n_rows))
    assert [list(one.tokens) for one in found] == tokens
    assert [one.finished for one in found] == [len(row) < n_tokens for row in tokens]
    assert {len(row) for row in tokens} > {2, n_tokens}  # some ended early, some at the limit


def test_a_bigger_batch_gets_bigger_buffers(engine, states):
    static = StaticDecoder(engine._network, engine._rules(0))
    alone = engine.row(states, 2)
    wanted = engine.decode(alone, prompts()["text"], beam_size=1, max_tokens=6)[0].tokens
    for n_rows in (1, 5, 2):
        found = static.greedy(engine.join([alone] * n_rows), prompts()["text"], 6)
        assert [one.tokens for one in found] == [wanted] * n_rows


def test_stopping(static, states):
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        static.greedy(states, prompts()["text"], 20, stop)


def test_clips_encoded_without_padding_are_as_each_alone(engine, states):
    found = encode_packed(engine._network, FEATURES, static_ops)
    assert found.lengths == states.lengths
    torch.testing.assert_close(found.hidden, states.hidden, atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(pack(found), torch.cat(
        [row[:length] for row, length in zip(found.hidden, found.lengths, strict=True)]))


@pytest.mark.parametrize("seconds", [0.001, 2.0, 29.993, 30.0, 31.0])
@pytest.mark.parametrize("n_mels", [80, 128])
def test_log_mel_on_torch_is_log_mel(seconds, n_mels):
    samples = np.random.default_rng(1).normal(0, 0.1, int(16000 * seconds)).astype(np.float32)
    found = torch_features.log_mel(samples, n_mels, torch.device("cpu"))
    np.testing.assert_allclose(found, log_mel(samples, n_mels), atol=1e-4)
