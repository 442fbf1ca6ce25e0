"""Batches of several requests decoded as one: the same texts, and nobody's Stop or fault is another's."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from speech import clips

from shared.audio import load_audio
from shared.errors import Cancelled, UserError

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


def test_each_of_many_has_the_text_that_it_has_alone(base_torch, gate, tmp_path):
    italian = [clip for clip in SPOKEN if clip.language == "it"]
    alone = [base_torch.transcribe(clip.path, language="it").text for clip in italian]
    (tmp_path / "broken.mp3").write_text("not a recording")
    wait_for, sizes = gate
    sizes.clear()
    wait_for(2)
    given = [italian[0].path, italian[1].path, load_audio(italian[2].path), tmp_path / "broken.mp3"]
    found = list(base_torch.transcribe_each(given, language="Italian"))
    assert [one.text for one in found[:3]] == alone
    assert isinstance(found[3], UserError) and "broken.mp3" in str(found[3])
    assert sizes == [1, 2]
    with pytest.raises(UserError, match="no such language"):
        next(base_torch.transcribe_each(given, language="tlh"))


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
