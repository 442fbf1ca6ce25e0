"""Stock whisper-base on a clip and 5 s of silence in place of 30 s."""

from __future__ import annotations

import numpy as np
import pytest
from speech import clips

from shared import wer
from shared.audio import Waveform
from shared.checkpoint import Checkpoint
from shared.inference import Transcriber


@pytest.mark.slow
def test_stock_whisper_base_with_room_gives_the_same_text():
    base = Checkpoint.parse("embedded:whisper-base")
    cropping, full = (Transcriber(base, engine="torch", device="cpu", full_context=one) for one in (False, True))
    assert cropping.facts.short_context == "room"
    counted = {"cropping": [], "full": []}
    for clip in [one for code in ("it", "en", "es", "ru") for one in clips(code)[:2]]:
        for name, one in (("cropping", cropping), ("full", full)):
            text = one.transcribe(clip.path, language=clip.language).text
            counted[name].append(wer.word_errors(clip.text, text, clip.language))
    rates = {name: wer.pooled(errors).wer for name, errors in counted.items()}
    assert rates["cropping"] < rates["full"] + 0.05
    # Noise stays empty with less context as well.
    noise = np.random.default_rng(0).normal(0, 0.02, 16_000 * 4).astype(np.float32)
    assert cropping.transcribe(Waveform(noise), language="en", vad_onset=0.02).text == ""
