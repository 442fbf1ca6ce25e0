"""Batches of several requests decoded as one: the same texts, and nobody's Stop or fault is another's."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from speech import clips

from shared.audio import load_audio
from shared.errors import Cancelled, UserError
from shared.wer import word_errors

SPOKEN = [*clips("it")[:3], clips("en")[0]]


@pytest.fixture
def gate(base_torch, monkeypatch):
    """The first batch is decoded when so many others wait. Gives (function that says how many, sizes of batches)."""
    decoder = base_torch.window_decoder
    real, sizes, wanted = decoder.decode_batch, [], [0]

    def decode_batch(batch, options, cancel):
        sizes.append(len(batch))
        while len(sizes) == 1 and len(decoder.together._waiting) < wanted[0]:
            time.sleep(0.01)
        return real(batch, options, cancel)

    monkeypatch.setattr(decoder, "decode_batch", decode_batch)
    return lambda n: wanted.__setitem__(0, n), sizes


def test_those_that_wait_are_decoded_as_one_and_the_texts_stay(base_torch, gate):
    alone = [base_torch.transcribe(clip.path, language=clip.language).text for clip in SPOKEN]
    wait_for, sizes = gate
    sizes.clear()
    wait_for(3)
    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(base_torch.transcribe, SPOKEN[0].path, language="it")
        while not sizes:
            time.sleep(0.01)
        others = [threads.submit(base_torch.transcribe, clip.path, language=clip.language) for clip in SPOKEN[1:]]
        assert [one.result().text for one in (first, *others)] == alone
    assert sorted(sizes) == [1, 1, 2]  # the two in Italian; English for itself


def test_each_of_many_has_its_text_and_batches_follow_from_the_recordings(base_torch, gate, tmp_path):
    italian = [clip for clip in SPOKEN if clip.language == "it"]
    (tmp_path / "broken.mp3").write_text("not a recording")
    _, sizes = gate
    sizes.clear()
    given = [italian[0].path, italian[1].path, load_audio(italian[2].path), tmp_path / "broken.mp3"]
    found = list(base_torch.transcribe_each(given, language="Italian"))
    assert sizes[0] == 3  # what was left unread of a window comes after
    for clip, one in zip(italian, found[:3], strict=True):
        alone = base_torch.transcribe(clip.path, language="it")
        assert word_errors(alone.text, one.text, "it").wer < 0.2 and one.duration == alone.duration
    assert isinstance(found[3], UserError) and "broken.mp3" in str(found[3])
    again = list(base_torch.transcribe_each(given, language="it"))
    assert [one.text for one in again[:3]] == [one.text for one in found[:3]]
    with pytest.raises(UserError, match="no such language"):
        next(base_torch.transcribe_each(given, language="tlh"))


def test_languages_are_detected_for_each_of_many(base_torch):
    found = list(base_torch.transcribe_each([clip.path for clip in SPOKEN]))
    assert [one.language for one in found] == [clip.language for clip in SPOKEN]
    assert all(one.segments[-1].end <= one.duration + 0.5 and not one.warnings for one in found)


def test_who_stops_while_waiting_stops_alone(base_torch, gate):
    wait_for, sizes = gate
    wait_for(2)
    cancel = threading.Event()
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(base_torch.transcribe, SPOKEN[0].path, language="it")
        while not sizes:
            time.sleep(0.01)
        stopped = threads.submit(base_torch.transcribe, SPOKEN[1].path, language="it", cancel=cancel)
        while not base_torch.window_decoder.together._waiting:
            time.sleep(0.01)
        cancel.set()
        with pytest.raises(Cancelled):
            stopped.result()
        assert not first.done()
        wait_for(1)
        last = threads.submit(base_torch.transcribe, SPOKEN[2].path, language="it")
        assert first.result().text and last.result().text


def test_a_fault_of_the_whole_is_not_the_fault_of_each(base_torch, gate, monkeypatch, caplog):
    wait_for, sizes = gate
    wait_for(2)
    decoder = base_torch.window_decoder
    gated = decoder.decode_batch

    def no_room(batch, options, cancel):
        if len(batch) > 1:
            sizes.append(len(batch))
            raise MemoryError
        return gated(batch, options, cancel)

    monkeypatch.setattr(decoder, "decode_batch", no_room)
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(base_torch.transcribe, SPOKEN[0].path, language="it")
        while not sizes:
            time.sleep(0.01)
        others = [threads.submit(base_torch.transcribe, clip.path, language="it") for clip in SPOKEN[1:3]]
        assert all(one.result().text for one in (first, *others))
    assert sizes == [1, 2, 1, 1] and "2 batches failed as one" in caplog.text
