"""shared.audio.features against the feature extractor of transformers, on real speech."""

from __future__ import annotations

import numpy as np
import pytest
from paths import DATA
from transformers import WhisperFeatureExtractor

from shared.audio import SAMPLE_RATE, load_audio
from shared.audio.features import HOP_LENGTH, N_FRAMES_FULL, log_mel, mel_filters, pad_or_trim

CLIPS = ["it_vm-mailboxfull.flac", "en_austen-0890.ogg", "ru_queue-youarenext.ogg"]


@pytest.fixture(scope="module", params=CLIPS)
def speech(request) -> np.ndarray:
    return load_audio(DATA / request.param).samples


def extractor(n_mels: int, samples: np.ndarray) -> np.ndarray:
    features = WhisperFeatureExtractor(feature_size=n_mels)(samples, sampling_rate=SAMPLE_RATE, return_tensors="np")
    return features.input_features[0]


@pytest.mark.parametrize("n_mels", [80, 128])
def test_the_padded_clip_equals_the_extractors(speech, n_mels):
    np.testing.assert_allclose(log_mel(speech, n_mels, N_FRAMES_FULL), extractor(n_mels, speech), atol=1e-4)


@pytest.mark.parametrize("n_samples", [30 * SAMPLE_RATE, 30 * SAMPLE_RATE - 70, 31 * SAMPLE_RATE])
def test_a_window_with_no_silence_after_it_equals_the_extractors(speech, n_samples):
    full = np.resize(speech, n_samples)
    np.testing.assert_allclose(log_mel(full, 80, N_FRAMES_FULL), extractor(80, full), atol=1e-4)


@pytest.mark.parametrize("n_mels", [80, 128])
def test_a_short_spectrogram_is_the_beginning_of_the_padded_one(speech, n_mels):
    short = log_mel(speech, n_mels)
    assert short.shape == (n_mels, -(-len(speech) // HOP_LENGTH)) and short.dtype == np.float32
    np.testing.assert_allclose(short, extractor(n_mels, speech)[:, : short.shape[1]], atol=1e-4)


def test_padding_afterwards_differs_only_at_the_seam(speech):
    full = log_mel(speech, 80, N_FRAMES_FULL)
    short = log_mel(speech)
    padded = pad_or_trim(short, N_FRAMES_FULL)
    end = short.shape[1]
    np.testing.assert_allclose(padded[:, end + 2 :], full[:, end + 2 :], atol=1e-5)
    assert pad_or_trim(full, 100).shape == (80, 100)


def test_the_filters_are_the_extractors():
    for n_mels in (80, 128):
        np.testing.assert_allclose(mel_filters(n_mels), WhisperFeatureExtractor(n_mels).mel_filters.T, atol=1e-7)


def test_the_shortest_clips_and_silence():
    assert log_mel(np.zeros(0, np.float32)).shape == (80, 1)
    assert log_mel(np.ones(1, np.float32)).shape == (80, 1)
    silence = log_mel(np.zeros(SAMPLE_RATE, np.float32), 80, N_FRAMES_FULL)
    np.testing.assert_allclose(silence, extractor(80, np.zeros(SAMPLE_RATE, np.float32)), atol=1e-5)
    np.testing.assert_allclose(pad_or_trim(silence[:, :10], 20), silence[:, :20], atol=1e-6)


def test_two_channels_are_refused():
    with pytest.raises(ValueError, match="n_samples"):
        log_mel(np.zeros((2, SAMPLE_RATE), np.float32))
