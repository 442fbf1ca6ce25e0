"""Who answers: the fine-tuned checkpoint for its languages, the base for the rest, and a notice that says so."""

from __future__ import annotations

import pickle

import pytest
from speech import clips

from shared import serving as module
from shared.audio import load_audio
from shared.audio.windows import windows
from shared.checkpoint import Checkpoint
from shared.checkpoint.embedded import embedded_base, embedded_base_transformers
from shared.errors import UserError
from shared.options import Options
from shared.serving import Serving
from shared.wer import word_errors

ITALIAN, ENGLISH = clips("it"), clips("en")


@pytest.fixture(scope="module")
def pair() -> Serving:
    """The embedded pair, as on one's own machine."""
    return Serving("embedded:whisper-base", "embedded:whisper-base-it", max_seconds=600, max_bytes=50_000_000)


def test_the_fine_tuned_checkpoint_serves_its_language(pair):
    answer = pair.transcribe(ITALIAN[0].path, Options())
    assert answer.checkpoint.name == "whisper-base-it" and answer.notice is None
    assert word_errors(ITALIAN[0].text, answer.transcript.text, "it").wer < 0.3
    assert answer.seconds > 0 and answer.rtfx == pytest.approx(answer.transcript.duration / answer.seconds)


def test_other_languages_and_tasks_go_to_the_base(pair):
    heard = pair.transcribe(ENGLISH[1].path, Options())
    assert heard.checkpoint.name == "whisper-base" and heard.transcript.language == "en"
    assert heard.notice == "The fine-tuned model was tuned for Italian; this is English, so the base model answered."
    translated = pair.transcribe(ITALIAN[3].path, Options(language="it", task="translate"))
    assert translated.checkpoint.name == "whisper-base" and "translated" in translated.notice


def test_a_part_of_a_recording(pair):
    whole, part = (pair.transcribe(ITALIAN[0].path, Options(language="it"), **cut).transcript
                   for cut in ({}, {"start": 0.0, "end": 1.0}))
    assert part.duration == pytest.approx(1.0, abs=0.1) and len(part.text) < len(whole.text)


def test_limits_hold_for_what_a_visitor_sends(pair):
    strict = Serving("embedded:whisper-base", "embedded:whisper-base-it", max_seconds=1, max_bytes=50_000_000)
    with pytest.raises(UserError, match="too long"):
        strict.transcribe(ITALIAN[0].path, Options(language="it"))


def test_without_the_fine_tuned_checkpoint_the_base_goes_on_and_says_why(hub):
    alone = Serving("embedded:whisper-base", "nobody/nothing")
    assert alone.fine_tuned is None and "nobody/nothing is not available" in alone.problem
    answer = alone.transcribe(ITALIAN[0].path, Options(language="it"))
    assert answer.checkpoint.name == "whisper-base" and answer.notice == alone.problem
    assert "not available" in alone.line()


def test_without_the_base_nothing_starts(hub):
    with pytest.raises(UserError, match="no such model"):
        Serving("nobody/nothing", "embedded:whisper-base-it")


def test_exactly_this_checkpoint(pair):
    base, tuned = pair.base.checkpoint, pair.fine_tuned.checkpoint
    assert pair.transcribe_with(base, ITALIAN[0].path, Options(language="it")).checkpoint == base
    assert pair.transcribe_with(tuned, ENGLISH[1].path, Options(language="en")).checkpoint == tuned
    assert pair.transcriber(base) is pair.base and pair.transcriber(tuned) is pair.fine_tuned


def test_a_space_loads_only_what_its_owner_allowed():
    space = Serving("embedded:whisper-base", "embedded:whisper-base-it", allowed=("me/allowed",))
    folder = Checkpoint.parse(str(embedded_base_transformers()))
    for refused in (Checkpoint("someone/else"), folder):
        with pytest.raises(UserError, match="may not be loaded here"):
            space.transcriber(refused)


def test_guests_leave_when_others_come(pair, tmp_path):
    folders = []
    for i in range(module.MAX_GUESTS + 1):
        folder = tmp_path / f"guest{i}"
        folder.symlink_to(embedded_base())
        folders.append(Checkpoint(str(folder)))
    first, *others = [pair.transcriber(folder) for folder in folders]
    assert pair.transcriber(folders[-1]) is others[-1]
    assert pair.transcriber(folders[0]) is not first  # gone meanwhile, and loaded again
    assert pair.transcriber(pair.base.checkpoint) is pair.base


def test_what_crosses_to_the_gpu_process_survives_it(pair, monkeypatch):
    """On ZeroGPU the model runs in another process: windows and options go there, transcripts come back."""
    options = Options(language="it", words=True)
    parts = list(windows([load_audio(ITALIAN[0].path).samples]))
    sent, told = pickle.loads(pickle.dumps((parts, options)))
    assert told == options and [window.pieces for window in sent] == [window.pieces for window in parts]
    here = pair.transcribe(ITALIAN[0].path, options).transcript
    assert pickle.loads(pickle.dumps(here)) == here
    monkeypatch.setattr(module, "ON_ZERO_GPU", True)
    progress = []
    there = pair.transcribe(ITALIAN[0].path, options, progress=lambda *now: progress.append(now)).transcript
    assert there == here and progress[-1] == (1, 1)


def test_the_gpu_is_asked_for_by_the_length_of_the_audio(pair):
    one = list(windows([load_audio(ITALIAN[0].path).samples]))
    key = ("embedded:whisper-base", "ctranslate2")
    short, long = module._gpu_seconds(key, one), module._gpu_seconds(key, one * 100)
    assert module.GPU_START_SECONDS < short < 20 < long <= module.GPU_MOST_SECONDS
