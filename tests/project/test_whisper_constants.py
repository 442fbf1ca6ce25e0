"""Whisper's numbers stand in `shared.whisper_constants` and nowhere else, and are transformers' own defaults."""

from __future__ import annotations

import tokenize

import pytest
from paths import ROOT

from shared import whisper_constants as whisper

# 30 s, 0.02 s and 0.4 s are also other things' numbers; these are nobody else's.
OWN = {str(number) for number in (
    whisper.SAMPLE_RATE, whisper.WINDOW_SAMPLES, whisper.N_FRAMES_FULL, whisper.ENCODER_POSITIONS, whisper.N_STAMPS,
    whisper.DECODER_POSITIONS, whisper.MAX_NEW_TOKENS, whisper.MAX_PROMPT_TOKENS)}
OTHER_ENVIRONMENTS = ("benchmarks/peers/workers/", "benchmarks/word_times_peer.py")  # they import nothing of ours


def numbers(path):
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.NUMBER:
                yield token.start[0], token.string.replace("_", "")


@pytest.mark.parametrize("folder", ["shared", "training", "feature_pipeline", "benchmarks", "spaces"])
def test_no_other_file_writes_whispers_numbers(folder):
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    written = [f"{name}:{line}: {number}" for path in files
               if (name := path.relative_to(ROOT).as_posix()) != "shared/whisper_constants.py"
               and not name.startswith(OTHER_ENVIRONMENTS) for line, number in numbers(path) if number in OWN]
    assert written == []


def test_they_are_those_of_transformers():
    from transformers import WhisperConfig, WhisperFeatureExtractor

    config, extractor = WhisperConfig(), WhisperFeatureExtractor()
    assert config.max_source_positions == whisper.ENCODER_POSITIONS
    assert config.max_target_positions == whisper.DECODER_POSITIONS
    assert extractor.nb_max_frames == whisper.N_FRAMES_FULL and extractor.n_samples == whisper.WINDOW_SAMPLES
    assert extractor.sampling_rate == whisper.SAMPLE_RATE and extractor.hop_length == whisper.HOP_LENGTH
    assert extractor.n_fft == whisper.N_FFT and extractor.chunk_length == whisper.WINDOW_SECONDS
    derived = (whisper.POSITION_SECONDS, whisper.MAX_PROMPT_TOKENS, whisper.MAX_NEW_TOKENS)
    assert derived == (0.02, 223, 224)
