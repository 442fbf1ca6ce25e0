"""The benchmark hears what no checkpoint learnt from, and scores it prompt by prompt."""

from __future__ import annotations

import io
import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from speech import clips

from benchmarks.peers import sets
from benchmarks.peers.convert import _quantise
from benchmarks.peers.report import by_part, summary
from benchmarks.peers.sets import SETS, BenchSet, Clip, bench_set, joined, sentence_digest, trained_rows
from benchmarks.peers.systems import SYSTEMS
from benchmarks.peers.worker import PeerFailed, Worker
from shared.audio import SAMPLE_RATE, Waveform, load_audio
from shared.checkpoint import MODELS
from shared.errors import UserError
from shared.inference import Transcriber
from shared.wer import pooled, word_errors

CHOSEN = json.loads((sets.HERE / "sets.json").read_text(encoding="utf-8"))
TRAINED = json.loads((sets.HERE / "trained.json").read_text(encoding="utf-8"))


def built(name: str) -> Path:
    folder = sets.DATA / name
    if not (folder / "manifest.json").is_file():
        pytest.skip(f"{folder} is not built: make features FEATURES=feature_pipeline/configs/{name}.yaml")
    return folder


def learnt_from(checkpoint: str) -> dict[str, set[str]]:
    """The ids and sentences in the data sets that a shipped checkpoint's run names."""
    run = json.loads((MODELS / checkpoint / "run.json").read_text(encoding="utf-8"))
    found: dict[str, set[str]] = {"ids": set(), "sentences": set()}
    for source in run["config"]["data"]:
        name = Path(source["path"]).name
        rows = TRAINED[name] if name in TRAINED else trained_rows(built(name))
        for key, known in found.items():
            known.update(rows[key])
    return found


@pytest.mark.parametrize("checkpoint", [path.parent.name for path in MODELS.glob("*/run.json")])
@pytest.mark.parametrize("name", SETS)
def test_nothing_in_the_bench_was_trained_on(checkpoint: str, name: str) -> None:
    learnt = learnt_from(checkpoint)
    assert len(learnt["ids"]) > 100
    assert not learnt["ids"] & {clip["id"] for clip in CHOSEN[name]["clips"]}
    assert not learnt["sentences"] & {clip["sentence"] for clip in CHOSEN[name]["clips"]}


@pytest.mark.parametrize("name", TRAINED)
def test_the_list_of_what_was_trained_on_is_that_of_the_data_set(name: str) -> None:
    assert trained_rows(built(name)) == TRAINED[name]


def test_the_sets_are_as_large_as_they_should_be() -> None:
    assert sum(chosen["words"] for chosen in CHOSEN.values()) >= 3000
    for name, chosen in CHOSEN.items():
        if name.startswith("short"):
            assert len({clip["id"] for clip in chosen["clips"]}) == len(chosen["clips"]) >= 60


@pytest.mark.parametrize("name", SETS)
def test_the_audio_is_that_of_the_list(name: str) -> None:
    built(SETS[name][0])
    made = bench_set(name)
    durations = [load_audio(clip.path).duration for clip in made.clips]
    assert durations == pytest.approx([clip.seconds for clip in made.clips], abs=0.001)
    assert [sentence_digest(part, made.language) for clip in made.clips for part in clip.parts] == [
        clip["sentence"] for clip in CHOSEN[name]["clips"]]
    if made.kind == "short":
        assert min(durations) >= sets.SHORT_SECONDS[0] and max(durations) <= sets.SHORT_SECONDS[1]
    else:
        assert durations[0] == pytest.approx(sets.LONG_SECONDS, rel=0.05)


def test_a_data_set_that_changed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not there"):
        bench_set("short-it", data=tmp_path)


def test_the_list_names_files_not_what_a_decoder_makes_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last bit of decoded samples differs between processors; whichever split a clip is in, it is found."""
    folder, clip = tmp_path / "asterisk-en" / "data", clips("en")[0]
    folder.mkdir(parents=True)
    source = clip.path.read_bytes()
    for split in sets.SPLITS:
        row = {"id": f"{split}/a", "text": clip.text, "audio": {"bytes": source, "path": None}}
        pq.write_table(pa.Table.from_pylist([row]), folder / f"{split}-00000-of-00001.parquet")
    listed = {"language": "en", "clips": [{"id": "train/a", "source": sets.digest(source), "sentence": ""}]}
    (tmp_path / "sets.json").write_text(json.dumps({"short-en": listed}))
    monkeypatch.setattr(sets, "HERE", tmp_path)
    plain = load_audio(source)
    for shift in (0.0, 1e-4):
        monkeypatch.setattr(sets, "load_audio", lambda data, shift=shift: Waveform(plain.samples + np.float32(shift)))
        assert [one.id for one in bench_set("short-en", data=tmp_path).clips] == ["train/a"]
    listed["clips"][0]["source"] = sets.digest(source + b"more")
    (tmp_path / "sets.json").write_text(json.dumps({"short-en": listed}))
    with pytest.raises(UserError, match="not the one"):
        bench_set("short-en", data=tmp_path)


def speech() -> list[np.ndarray]:
    return [np.round(load_audio(clip.path).samples * 32767).astype(np.int16) for clip in clips()[:4]]


def test_joined_audio_lasts_as_long_as_its_parts_and_the_gaps() -> None:
    parts = speech()
    sound, places = joined(parts)
    edges = [0, *(edge for place in places for edge in place), len(sound)]
    gaps = np.diff(edges)[::2] / SAMPLE_RATE
    assert len(gaps) == len(parts) + 1
    assert gaps.min() >= sets.GAP_SECONDS[0] - 1e-3 and gaps.max() <= sets.GAP_SECONDS[1]
    assert len(sound) == sum(map(len, parts)) + round(gaps.sum() * SAMPLE_RATE)
    noise = 32768 * 10 ** (sets.NOISE_DBFS / 20)
    for (start, end), part in zip(places, parts, strict=True):
        assert np.std(sound[start:end].astype(float) - part) == pytest.approx(noise, rel=0.05)
    silence = sound[: places[0][0]].astype(float)
    assert 20 * np.log10(np.std(silence) / 32768) == pytest.approx(sets.NOISE_DBFS, abs=0.5)


def test_the_seed_decides_the_gaps_and_the_noise() -> None:
    parts = speech()
    assert np.array_equal(joined(parts, 3)[0], joined(parts, 3)[0])
    assert len(joined(parts, 3)[0]) != len(joined(parts, 4)[0])


PARTS = ("Press one.", "Goodbye.", "The number you have dialled is busy.")


@pytest.mark.parametrize(("hypothesis", "errors"), [
    ("Press one. Goodbye. The number you have dialled is busy.", [0, 0, 0]),
    ("Press won. Goodbye. The number you have dialled is", [1, 0, 1]),
    ("Press one. Good bye. The big number you dialled is busy.", [None, None, None]),
    ("", [2, 1, 7]),
])
def test_errors_of_a_long_recording_fall_to_their_prompts(hypothesis: str, errors: list) -> None:
    counts = by_part(PARTS, hypothesis, "en")
    assert [count.reference_length for count in counts] == [2, 1, 7]
    assert pooled(counts) == replace(word_errors(" ".join(PARTS), hypothesis, "en"), alignment=())
    if errors[0] is not None:
        assert [count.errors for count in counts] == errors


def test_quantised_weights_are_near_the_originals() -> None:
    """A GGML file of one matrix and one vector, as whisper.cpp reads it (Q8_0: 34 bytes for 32 weights)."""
    weights = np.random.default_rng(1).normal(size=(4, 64)).astype(np.float16)
    bias = np.ones(4, np.float32)
    head = struct.pack("<12i", 0x67676D6C, *range(10), 1) + struct.pack("<2i", 1, 2) + bytes(8)
    tokens = struct.pack("<i", 1) + struct.pack("<i", 2) + b"ab"
    tensors = (struct.pack("<3i", 2, 1, 1) + struct.pack("<2i", 64, 4) + b"w" + weights.tobytes()
               + struct.pack("<3i", 1, 1, 0) + struct.pack("<i", 4) + b"b" + bias.tobytes())
    out = io.BytesIO()
    _quantise(io.BytesIO(head + tokens + tensors), out)
    written = out.getvalue()
    assert struct.unpack("<i", written[44:48]) == (2007,)
    data = written[len(head + tokens) :]
    assert struct.unpack("<3i2i", data[:20]) == (2, 1, 8, 64, 4)
    blocks = np.frombuffer(data[21 : 21 + 8 * 34], np.uint8).reshape(8, 34)
    scales = blocks[:, :2].copy().view("<f2").astype(np.float32)
    back = (blocks[:, 2:].view(np.int8) * scales).reshape(4, 64)
    assert np.abs(back - weights.astype(np.float32)).max() < 0.02
    assert data[21 + 8 * 34 :].endswith(bias.tobytes())


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> BenchSet:
    """Two English clips of tests/data as a set."""
    folder = tmp_path_factory.mktemp("bench")
    english = [clip for clip in clips() if clip.language == "en"][:2]
    made = []
    for clip in english:
        samples = np.round(load_audio(clip.path).samples * 32767).astype(np.int16)
        sets._write("short", [sets.Row(clip.path.stem, clip.text, samples, "")], folder)
        path = (folder / "000.wav").rename(folder / f"{clip.path.stem}.wav")
        made.append(Clip(clip.path.stem, path, len(samples) / SAMPLE_RATE, (clip.text,)))
    return BenchSet("short-en", "en", tuple(made))


def test_a_worker_transcribes_as_the_transcriber_does(spoken: BenchSet, base: Transcriber) -> None:
    worker = Worker(SYSTEMS["ours-ctranslate2"], "embedded:whisper-base", threads=2)
    try:
        single = worker.run(spoken, "single", tries=1)
        batch = worker.run(spoken, "batch", tries=1)
    finally:
        worker.close()
    expected = [base.transcribe(Waveform(load_audio(clip.path).samples), language="en").text for clip in spoken.clips]
    assert single["texts"] == batch["texts"] == expected
    assert len(single["seconds"]) == len(single["first"]) == 2 and len(batch["seconds"]) == 1
    assert all(0 < first <= took for first, took in zip(single["first"], single["seconds"], strict=True))
    assert single["peak_mb"] > 100
    errors = pooled(word_errors(clip.reference, text, "en")
                    for clip, text in zip(spoken.clips, single["texts"], strict=True))
    assert errors.wer < 0.3


def test_a_peer_that_cannot_load_says_why() -> None:
    broken = replace(SYSTEMS["ours"], options={"engine": "abacus", "compute_type": "auto"})
    with pytest.raises(PeerFailed, match="no such engine"):
        Worker(broken, "embedded:whisper-base", threads=1)


def test_the_report_takes_medians_and_leaves_disturbed_runs_out(monkeypatch, spoken: BenchSet) -> None:
    references = [clip.reference for clip in spoken.clips]
    monkeypatch.setattr("benchmarks.peers.report.bench_set", lambda name, limit: spoken)

    def run(system: str, seconds: float, others: float, texts: list[str]) -> dict:
        return {"system": system, "set": "short-en", "mode": "single", "limit": None, "audio_seconds": 10.0,
                "seconds": [seconds / 2] * 2, "first": [0.1, 0.2], "cpu_seconds": 1.0, "peak_mb": 100,
                "others": others, "texts": texts}

    runs = [run("ours", 1.0, 0.0, references), run("ours", 2.0, 0.0, "as before"), run("ours", 50.0, 0.9, "as before"),
            run("ours", 1.25, 0.0, "as before"), run("whisper-cpp", 5.0, 0.5, ["", references[1]])]
    rows = summary({"runs": runs}, "short-en", "single")
    assert [row["system"] for row in rows] == ["ours", "whisper-cpp"]
    assert (rows[0]["rtfx"], rows[0]["slowest"], rows[0]["rounds"], rows[0]["disturbed"]) == (8.0, 5.0, 3, False)
    assert rows[0]["wer"] == 0 and rows[1]["disturbed"]
    assert rows[1]["ours"].difference == -rows[1]["wer"] < 0
    assert summary({"runs": runs}, "short-en", "single", extras=True) == []
    runs.append(run("ours-words", 2.5, 0.0, references))
    assert [row["system"] for row in summary({"runs": runs}, "short-en", "single")] == ["ours", "whisper-cpp"]
    more = summary({"runs": runs}, "short-en", "single", extras=True)
    assert [row["system"] for row in more] == ["ours", "ours-words"]
