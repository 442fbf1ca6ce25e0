"""Who answers: the fine-tuned checkpoint for its languages, the base for the rest, and a notice that says so."""

from __future__ import annotations

import json
import pickle
import threading
import time
from dataclasses import replace
from itertools import chain

import pytest
from speech import clips, joined

from shared.audio import load_audio
from shared.audio.windows import windows
from shared.checkpoint import Checkpoint
from shared.checkpoint.embedded import embedded_base, embedded_base_transformers
from shared.errors import UserError
from shared.inference import WATCHED, in_groups
from shared.options import Options
from shared.serving import Limits, Request, Serving, kind_of, zero_gpu
from shared.serving.loaded import MAX_EXTRA
from shared.wer import word_errors

ITALIAN, ENGLISH = clips("it"), clips("en")


@pytest.fixture(scope="module")
def pair() -> Serving:
    """The embedded pair, as on one's own machine."""
    return Serving("embedded:whisper-base", "embedded:whisper-base-it",
                   limits=Limits(max_seconds=600, max_bytes=50_000_000))


def test_the_fine_tuned_checkpoint_serves_its_language(pair):
    answer = pair.transcribe(Request(ITALIAN[0].path))
    assert answer.checkpoint.name == "whisper-base-it" and answer.notice is None
    assert word_errors(ITALIAN[0].text, answer.transcript.text, "it").wer < 0.3
    assert answer.seconds > 0 and answer.rtfx == pytest.approx(answer.transcript.duration / answer.seconds)


def test_other_languages_and_tasks_go_to_the_base(pair):
    answer = pair.transcribe(Request(ENGLISH[1].path, Options()))
    assert answer.checkpoint.name == "whisper-base" and answer.transcript.language == "en"
    assert answer.notice == "The fine-tuned model was tuned for Italian; this is English, so the base model answered."
    translated = pair.transcribe(Request(ITALIAN[3].path, Options(language="it", task="translate")))
    assert translated.checkpoint.name == "whisper-base" and "translated" in translated.notice


def test_a_part_of_a_recording(pair):
    whole, part = (pair.transcribe(Request(ITALIAN[0].path, Options(language="it"), **cut)).transcript
                   for cut in ({}, {"start": 0.0, "end": 1.0}))
    assert part.duration == pytest.approx(1.0, abs=0.1) and len(part.text) < len(whole.text)


def test_short_recordings_are_answered_as_one_as_each_is_alone(pair, tmp_path):
    """Each by the checkpoint of its language, with the same words about it."""
    (tmp_path / "broken.mp3").write_text("not a recording")
    given = [ITALIAN[0], ENGLISH[1], ITALIAN[3]]
    requests = [Request(path, Options()) for path in (*(clip.path for clip in given), tmp_path / "broken.mp3")]
    *found, broken = pair.transcribe_each(requests)
    assert isinstance(broken, UserError) and "broken.mp3" in str(broken)
    for clip, request, answer in zip(given, requests, found, strict=False):
        alone = pair.transcribe(request)
        assert (answer.checkpoint, answer.notice) == (alone.checkpoint, alone.notice)
        assert answer.transcript.language == clip.language and answer.transcript.duration == alone.transcript.duration
        assert word_errors(alone.transcript.text, answer.transcript.text, clip.language).wer < 0.2
        assert answer.seconds > 0
    named = list(pair.transcribe_each([replace(one, checkpoint="base") for one in requests[:2]]))
    assert [one.checkpoint.name for one in named] == ["whisper-base"] * 2


def test_what_may_be_decoded_together(tmp_path):
    short, options = Request(ITALIAN[0].path), Options(language="it")
    assert kind_of(short) == kind_of(Request(ENGLISH[0].path)) is not None
    assert kind_of(replace(short, options=options)) not in (None, kind_of(short))
    for apart in (replace(short, options=Options(speakers=True)), replace(short, start=1.0),
                  Request(joined([ITALIAN[0].path] * 12)), Request(tmp_path / "not there.wav")):
        assert kind_of(apart) is None
    numbers = [2, 4, 7, *range(10, 42, 2)]  # even ones go together
    groups = list(in_groups(numbers, lambda n: "even" if n % 2 == 0 else None, WATCHED))
    assert [len(group) for group in groups] == [2, 1, 16] and [*chain(*groups)] == numbers
    assert [len(group) for group in in_groups(range(200), lambda n: "all", WATCHED)] == [
        8, 16, 32, 64, 64, 16]


def test_limits_hold_for_what_a_visitor_sends(pair):
    strict = Serving("embedded:whisper-base", "embedded:whisper-base-it", limits=Limits(max_seconds=1))
    with pytest.raises(UserError, match="too long"):
        strict.transcribe(Request(ITALIAN[0].path, Options(language="it")))


def test_without_the_fine_tuned_checkpoint_the_base_goes_on_and_says_why(hub):
    alone = Serving("embedded:whisper-base", "nobody/nothing")
    assert alone.fine_tuned is None and "nobody/nothing is not available" in alone.problem
    answer = alone.transcribe(Request(ITALIAN[0].path, Options(language="it")))
    assert answer.checkpoint.name == "whisper-base" and answer.notice == alone.problem
    assert "not available" in alone.line()


def test_without_the_base_nothing_starts(hub):
    with pytest.raises(UserError, match="no such model"):
        Serving("nobody/nothing", "embedded:whisper-base-it")


def test_exactly_this_checkpoint(pair):
    base, tuned = pair.base.checkpoint, pair.fine_tuned.checkpoint
    assert pair.transcribe_with(base, Request(ITALIAN[0].path, Options(language="it"))).checkpoint == base
    assert pair.transcribe_with(tuned, Request(ENGLISH[1].path, Options(language="en"))).checkpoint == tuned
    assert pair.transcriber(base) is pair.base and pair.transcriber(tuned) is pair.fine_tuned


def test_a_space_loads_only_what_its_owner_allowed():
    space = Serving("embedded:whisper-base", "embedded:whisper-base-it", limits=Limits(allowed=("me/allowed",)))
    folder = Checkpoint.parse(str(embedded_base_transformers()))
    for refused in (Checkpoint("someone/else"), folder):
        with pytest.raises(UserError, match="may not be loaded here"):
            space.transcriber(refused)


SECRET, ADAPTER = "tester/secret", "tester/adapter"


@pytest.fixture
def secret(hub) -> str:
    """A private checkpoint of this machine's owner, who is logged in, and a public adapter that names it as its base.

    Gives the commit of the first. Their weights are not whole, so neither can be used even where it can be fetched.
    """
    adapter = {"peft_type": "LORA", "r": 4, "lora_alpha": 4, "base_model_name_or_path": SECRET}
    hub.add("model", ADAPTER, {"adapter_config.json": json.dumps(adapter).encode(),
                               "adapter_model.safetensors": b"some bytes"})
    return hub.add("model", SECRET, {"config.json": b'{"model_type": "whisper"}', "model.safetensors": b"some bytes"},
                   private=True)


@pytest.mark.parametrize("allowed", [None, (SECRET, ADAPTER)])
def test_what_a_visitor_names_is_read_without_the_owners_token(hub, secret, pair, allowed):
    limits = Limits(allowed=allowed)
    serving = Serving("embedded:whisper-base", "embedded:whisper-base-it", limits=limits)
    for name in (SECRET, f"{SECRET}@{secret}", ADAPTER):
        if allowed is None or name in allowed:
            with pytest.raises(UserError, match=f"not public.*{SECRET}.*ALLOWED_CHECKPOINTS"):
                serving.transcriber(Checkpoint.parse(name))
    assert hub.downloads(SECRET) == []


def test_what_the_owner_lists_is_read_with_the_token_and_not_given_to_others(hub, secret, pair):
    pair_again = Serving("embedded:whisper-base", "embedded:whisper-base-it", limits=Limits(listed=(SECRET,)))
    with pytest.raises(UserError, match="weights are damaged"):
        pair_again.transcriber(Checkpoint(SECRET))
    assert hub.downloads(SECRET) == ["config.json", "model.safetensors"]
    for name in (SECRET, f"{SECRET}@{secret}"):  # in the cache by now
        with pytest.raises(UserError, match="not public"):
            pair.transcriber(Checkpoint.parse(name))


def test_a_visitors_adapter_opens_no_folder_of_this_machine(hub, pair, tmp_path):
    adapter = {"peft_type": "LORA", "r": 4, "lora_alpha": 4, "base_model_name_or_path": str(embedded_base())}
    hub.add("model", ADAPTER, {"adapter_config.json": json.dumps(adapter).encode(),
                               "adapter_model.safetensors": b"some bytes"})
    with pytest.raises(UserError, match="names no base checkpoint on the Hub"):
        pair.transcriber(Checkpoint(ADAPTER))


def test_a_download_keeps_only_those_waiting_who_want_the_same(hub, secret, pair):
    hub.fail(f"api/models/{SECRET}", delay=3.0)

    def ask() -> None:
        with pytest.raises(UserError, match="not public"):
            pair.transcriber(Checkpoint(SECRET))

    slow = threading.Thread(target=ask)
    slow.start()
    time.sleep(0.2)
    assert pair.transcriber(pair.base.checkpoint, pair.base.engine.name) is pair.base
    assert pair.transcriber(pair.fine_tuned.checkpoint) is pair.fine_tuned
    assert slow.is_alive()
    slow.join()


def test_extra_checkpoints_leave_when_others_come(pair, tmp_path):
    folders = []
    for i in range(MAX_EXTRA + 1):
        folder = tmp_path / f"extra{i}"
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
    sent, received = pickle.loads(pickle.dumps((parts, options)))
    assert received == options and [window.pieces for window in sent] == [window.pieces for window in parts]
    here = pair.transcribe(Request(ITALIAN[0].path, options)).transcript
    assert pickle.loads(pickle.dumps(here)) == here
    monkeypatch.setattr(zero_gpu, "ON_ZERO_GPU", True)
    progress = []
    there = pair.transcribe(Request(ITALIAN[0].path, options), progress=lambda *now: progress.append(now)).transcript
    assert there == here and progress[-1] == (1, 1)


def test_the_gpu_is_asked_for_by_the_length_of_the_audio(pair):
    one = list(windows([load_audio(ITALIAN[0].path).samples]))
    key = ("embedded:whisper-base", "ctranslate2")
    short, long = zero_gpu._gpu_seconds(key, one), zero_gpu._gpu_seconds(key, one * 100)
    assert zero_gpu.GPU_START_SECONDS < short < 20 < long <= zero_gpu.GPU_MOST_SECONDS


@pytest.mark.parametrize(("engine", "order", "pause"), [("torch", "en it", 4.0), ("ctranslate2", "it en", 0.5)])
def test_each_part_of_a_recording_is_answered_by_the_checkpoint_of_its_language(pair, engine, order, pause):
    spoken = [clip for code in order.split() for clip in {"en": ENGLISH[:2], "it": ITALIAN[:2]}[code]]
    audio = joined([clip.path for clip in spoken], pause=pause)
    answer = pair.transcribe(Request(audio, engine=engine))
    assert "English 0:" in answer.transcript.warnings[0] and "Italian 0:" in answer.transcript.warnings[0]
    assert answer.notice.endswith("tuned for Italian; what is English was answered by the base model.")
    text = answer.transcript.text
    assert word_errors(" ".join(clip.text for clip in spoken), text, None).wer < 0.3


def test_a_recording_in_one_language_gets_what_the_checkpoint_of_that_language_gives(pair):
    audio = joined([clip.path for clip in ITALIAN[:3]], pause=1.5)
    blocks = (audio.samples[i : i + 8000] for i in range(0, len(audio.samples), 8000))
    answer = pair.transcribe(Request(blocks))  # blocks come once: nothing may be taken off for a look ahead
    assert answer.checkpoint == pair.fine_tuned.checkpoint and answer.notice is None
    assert answer.transcript == pair.fine_tuned.transcribe(audio, language="it")
