"""Which windows are decoded together, and that it never shows in the text."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from speech import clips, joined

from shared.audio import SAMPLE_RATE, AudioSource
from shared.audio.windows import Window
from shared.errors import Cancelled
from shared.inference.batches import Batches, Found, InOrder, Job, grouped
from shared.options import Options
from shared.transcript import Segment


def job(transcriber, place: int, seconds: float, language: str = "en", *, is_rest: bool = False) -> Job:
    n_samples = int(seconds * SAMPLE_RATE)
    window = Window(np.zeros(n_samples, np.float32), ((0, place * 100 * SAMPLE_RATE, n_samples),))
    return Job(place, window, transcriber.window_decoder, language, is_rest=is_rest)


def test_groups_are_of_one_kind_and_like_length_within_the_engines_room(base_torch):
    engine = base_torch.engine
    jobs = [job(base_torch, n, 1 + n % 25, "en" if n % 3 else "it", is_rest=n % 5 == 0) for n in range(150)]
    groups = list(grouped(jobs))
    assert sorted(one.place for group, _ in groups for one in group) == list(range(150))
    for group, is_full in groups:
        assert len({(one.language, one.is_rest) for one in group}) == 1
        assert len(group) <= engine.batch_size
        assert len(group) * max(one.n_positions for one in group) <= engine.max_positions
        assert is_full or len(group) < engine.batch_size
    spans = [(min(one.n_positions for one in group), max(one.n_positions for one in group)) for group, _ in groups]
    assert sum(high - low for low, high in spans) < 0.2 * sum(high for _, high in spans)
    assert sum(is_full for _, is_full in groups) >= len(groups) - 4  # one of each kind has room left


def test_segments_are_given_in_order_and_as_soon_as_they_may(base_torch):
    def found(place: int, text: str, language: str = "en", *, left: bool = False) -> Found:
        one = job(base_torch, place, 10, language)
        return Found(one, [Segment(text, 0.0, 1.0)], one.window if left else None)

    order = InOrder()
    given = [[(language, [segment.text for segment in segments]) for language, segments in order.add(batch)]
             for batch in ([found(1, "b"), found(2, "c", "it")], [found(0, "a", left=True)], [found(3, "d", "it")],
                           [found(0, "a2")])]
    assert given == [[], [("en", ["a"])], [], [("en", ["a2", "b"]), ("it", ["c", "d"])]]
    assert order.n_done == 4 and order.reached == pytest.approx(310)


@pytest.mark.slow
def test_somebody_who_reads_along_gets_the_same_text_in_order(monkeypatch, base_torch):
    """Rounds and batches differ; and where nobody does, there are more rows to a call of the decoder."""
    audio = joined([clip.path for clip in clips("en") * 4], pause=1.5)
    options, texts, rows = Options("en"), [], []
    real = base_torch.engine.decode
    monkeypatch.setattr(base_torch.engine, "decode", lambda states, *more, **others: (
        rows[-1].append(len(states.lengths)), real(states, *more, **others))[1])
    for total in (None, lambda done, reached: None):
        rows.append([])
        parts = base_torch.windows(AudioSource(audio), options)
        found = list(base_torch.recognise(parts, options, total))
        texts.append([(segment.start, segment.end, segment.text) for _, _, new in found for segment in new.segments])
        assert found[-1][0] == found[-1][1]
        assert [new.duration for _, _, new in found] == sorted(new.duration for _, _, new in found)
    assert texts[0] == texts[1] == sorted(texts[0])
    alone, watched = (sum(calls) / len(calls) for calls in rows)
    assert alone > watched


def test_where_nobody_speaks_there_is_no_progress_to_tell(base_torch):
    for total in (None, lambda done, reached: None):
        assert list(base_torch.recognise([], Options(), total)) == []


def test_cancelled_between_two_batches(base_torch):
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        next(Batches([job(base_torch, 0, 1)]).decoded(Options("en"), cancel))
