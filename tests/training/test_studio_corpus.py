"""The folder of sentences read aloud, and what the page says of its runs."""

from __future__ import annotations

import numpy as np
import pytest
from corpora import wav
from paths import DATA

from feature_pipeline.sources.folder import Folder
from shared.audio import load_audio
from shared.checkpoint import Checkpoint
from shared.errors import UserError
from shared.serving import Answer
from shared.transcript import Segment, Transcript
from shared.ui.server import kept, results
from training.studio import offered
from training.studio.corpus import Recordings
from training.studio.page import Studio, next_name, take_lines
from training.studio.runner import DATA as DATA_STAGE
from training.studio.runner import TRAINING, Plan, Runner, Status
from training.studio.view import status_html

CLIP = DATA / "it_vm-mailboxfull.flac"


def test_what_is_kept_is_what_the_pipeline_reads(tmp_path):
    recordings = Recordings(tmp_path / "mine")
    assert recordings.add(["  Uno   due.", "", "Tre, quattro!", "Uno due."]) == 2
    assert recordings.add(["Tre, quattro!", "Cinque."]) == 1
    seconds = recordings.keep(2, CLIP)
    assert seconds == pytest.approx(load_audio(CLIP).duration, abs=0.001)
    assert [(one.text, one.seconds) for one in recordings.sentences()] == [
        ("Uno due.", None), ("Tre, quattro!", pytest.approx(seconds, abs=0.001)), ("Cinque.", None)]
    (row,) = Folder(str(recordings.folder), "it").rows()
    assert (row.id, row.text, row.language) == ("0002.wav", "Tre, quattro!", "it")
    kept, given = load_audio(row.audio.path).samples, load_audio(CLIP).samples
    assert len(kept) == len(given) and np.abs(kept - given).max() < 1e-4
    recordings.forget(2)
    assert all(one.seconds is None for one in recordings.sentences())
    assert [path.name for path in recordings.folder.iterdir()] == ["sentences.txt"]


def tone(seconds: float, level: float) -> np.ndarray:
    return (level * np.sin(np.arange(int(16_000 * seconds)) * 0.2)).astype(np.float32)


@pytest.mark.parametrize(("samples", "reason"), [
    (tone(0.1, 0.3), "too short"), (tone(31, 0.3), "too long"), (tone(2, 0.0005), "Nothing can be heard"),
    (np.clip(tone(2, 3.0), -1, 1), "overdriven"),
])
def test_a_recording_that_teaches_nothing_is_refused(tmp_path, samples, reason):
    recordings = Recordings(tmp_path / "mine")
    recordings.add(["Uno."])
    good = tmp_path / "good.wav"
    good.write_bytes(wav(tone(1, 0.3)))
    recordings.keep(1, good)
    bad = tmp_path / "bad.wav"
    bad.write_bytes(wav(samples))
    with pytest.raises(UserError, match=reason):
        recordings.keep(1, bad)
    assert recordings.sentences()[0].seconds == pytest.approx(1.0)  # the earlier one stays


@pytest.mark.parametrize(("texts", "reason"), [([], "no sentence"), (["  "], "no sentence"), (["a" * 301], "too long"),
                                               ([str(n) for n in range(5001)], "too many")])
def test_sentences_that_cannot_be_read(tmp_path, texts, reason):
    recordings = Recordings(tmp_path / "mine")
    with pytest.raises(UserError, match=reason):
        recordings.add(texts)
    assert not recordings.folder.exists()


def test_a_corrected_transcript_becomes_sentences(tmp_path):
    recordings = Recordings(tmp_path / "mine")
    recordings.add(["Uno."])
    segments = [Segment(" La casella  vocale", 0.0, 1.5), Segment("x", 1.5, 1.6), Segment(" ", 2.0, 3.0)]
    assert recordings.keep_segments(CLIP, segments) == (1, 2)
    one, two = recordings.sentences()
    assert one.seconds is None and (two.text, two.seconds) == ("La casella vocale", pytest.approx(1.5))
    kept = load_audio(recordings.folder / "0002.wav").samples
    assert np.abs(kept - load_audio(CLIP).samples[: len(kept)]).max() < 1e-4
    again = [Segment("La cassetta vocale", 0.0, 1.5), Segment("e poi", 1.25, 2.25)]  # corrected; and one that overlaps
    assert recordings.keep_segments(CLIP, again) == (2, 0)
    assert [one.text for one in recordings.sentences()] == ["Uno.", "La cassetta vocale", "e poi"]
    assert (recordings.folder / "0002.txt").read_text() == "La cassetta vocale\n"
    later = load_audio(recordings.folder / "0003.wav").samples
    assert np.abs(later - load_audio(CLIP).samples[20_000:36_000]).max() < 1e-4
    assert recordings.keep_segments(CLIP, again) == (2, 0) and len(recordings.sentences()) == 3
    with pytest.raises(UserError, match="too many sentences"):
        recordings.keep_segments(CLIP, [Segment("x", 0.0, 1.0)] * 5000)
    assert len(recordings.sentences()) == 3


def test_a_translation_is_no_text_to_train_on(tmp_path):
    transcript = Transcript((Segment("The mailbox is full", 0.0, 4.0),), "it", 4.0)
    answer = Answer(transcript, Checkpoint.parse("embedded:whisper-base"), None, 1.0)
    for task in ("translate", "transcribe"):
        result = results.make(answer, results.Recording(CLIP, task=task))
        if task == "translate":
            with pytest.raises(UserError, match="translation"):
                take_lines(result, Studio(tmp_path))
            assert not list(tmp_path.iterdir())
        else:
            done = take_lines(result, Studio(tmp_path))
            assert "1 line is" in done.text and "Italian" in done.text and done.address.endswith("language=it")
        kept.forget(result)


def test_it_is_offered_on_ones_own_machine_only():
    assert offered({}) and offered({"GRADIO_SERVER_NAME": "localhost"})
    assert not offered({"SPACE_ID": "me/app"}) and not offered({"GRADIO_SERVER_NAME": "0.0.0.0"})


def test_names_of_runs(tmp_path):
    studio = Studio(tmp_path)
    assert studio.plan("it", "", None).name == "it-1"
    (tmp_path / "runs/it-1/evaluation").mkdir(parents=True)
    (tmp_path / "runs/it-1/evaluation/scores.json").write_text("{}")
    assert next_name(tmp_path / "runs", "it") == "it-2" and studio.plan("it", None, 5).max_steps == 5
    for name in ("../x", "a b", "x" * 61):
        with pytest.raises(UserError, match="no name for a run"):
            studio.plan("it", name, None)
    with pytest.raises(UserError, match="steps is out of range"):
        studio.plan("it", "a", -3)


def test_a_run_that_has_begun_keeps_its_data(tmp_path):
    plan = Plan("a", tmp_path / "recordings", "it", place=tmp_path)
    assert plan.commands()[0][0] == DATA_STAGE
    whole = plan.run / "checkpoint-5"
    whole.mkdir(parents=True)
    (whole / "complete").touch()
    assert plan.commands()[0][0] == TRAINING


def test_what_a_command_refuses_is_reported(tmp_path):
    runner = Runner()
    runner.start(Plan("a", tmp_path / "nothing here", "it", place=tmp_path))
    with pytest.raises(UserError, match="running already"):
        runner.start(Plan("b", tmp_path, "it", place=tmp_path))
    runner._thread.join(120)
    status = runner.status()
    assert status.state == "failed" and "There is no such folder" in status.problem
    assert "There is no such folder" in status_html(status, runner.plan)


def test_what_commands_print_is_no_markup(tmp_path):
    status = Status("failed", TRAINING, lines=("<img src=x>",), problem="<b>no</b>")
    shown = status_html(status, Plan("a", tmp_path, "it", place=tmp_path))
    assert "<img src=x>" not in shown and "<b>no" not in shown and "&lt;img" in shown
