"""Which audio track is taken, and how its channels become one."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
from media_files import PICTURE, QUIET, TONE, ffmpeg, sounding, sources

from shared.audio import SAMPLE_RATE, AudioSource, ffmpeg_executable, load_audio, probe
from shared.audio.batch import Part, load_parts
from shared.audio.media import _n_channels, _parsed
from shared.audio.mixing import channel_weights, to_mono
from shared.audio.structure import Structure
from shared.errors import UserError

HIGH = "sine=frequency=880:sample_rate=16000:duration=3"


def two_tracks(path, first, second, *options):
    ffmpeg(*sources(PICTURE.format(3), first, second), "-map", "0", "-map", "1", "-map", "2", *options, path)
    return path


def pitch(samples: np.ndarray) -> int:
    """Hz of the loudest tone."""
    spectrum = np.abs(np.fft.rfft(samples[SAMPLE_RATE : 2 * SAMPLE_RATE]))
    return int(np.argmax(spectrum))


def read(path, **options) -> tuple[np.ndarray, list[str], int]:
    source = AudioSource(path, **options)
    return np.concatenate(list(source)), source.warnings, source.track.number


DEFAULT_SECOND = ("-disposition:a:0", "0", "-disposition:a:1", "default")


@pytest.mark.parametrize("kind", ["mkv", "mp4", "mov", "ts"])
def test_a_silent_first_track_is_passed_over(tmp_path, kind):
    samples, warnings, number = read(two_tracks(tmp_path / f"two.{kind}", QUIET, TONE, "-ar", "44100"))
    assert number == 2 and pitch(samples) == 440
    assert len(warnings) == 1 and "2 audio tracks; track 2 was taken (track 1 is silent)" in warnings[0]


@pytest.mark.parametrize("kind", ["mkv", "mp4"])
def test_the_default_track_is_taken(tmp_path, kind):
    samples, warnings, number = read(two_tracks(tmp_path / f"two.{kind}", TONE, HIGH, *DEFAULT_SECOND))
    assert number == 2 and pitch(samples) == 880 and "track 2 was taken" in warnings[0]
    samples, warnings, number = read(tmp_path / f"two.{kind}", track=1)
    assert number == 1 and pitch(samples) == 440 and warnings == []


def test_a_silent_default_track_is_passed_over(tmp_path):
    samples, _, number = read(two_tracks(tmp_path / "two.mkv", TONE, QUIET, *DEFAULT_SECOND))
    assert number == 1 and pitch(samples) == 440


def test_a_track_of_an_unknown_codec_is_passed_over(tmp_path):
    path = two_tracks(tmp_path / "two.mkv", TONE, HIGH, "-c:a", "flac")
    data = path.read_bytes()
    assert data.count(b"A_FLAC") == 2
    path.write_bytes(data.replace(b"A_FLAC", b"A_XYZZ", 1))
    samples, warnings, number = read(path)
    assert number == 2 and pitch(samples) == 880 and "track 1 cannot be decoded" in warnings[0]
    with pytest.raises(UserError, match="cannot be decoded"):
        load_audio(path, track=1)
    path.write_bytes(data.replace(b"A_FLAC", b"A_XYZZ"))
    with pytest.raises(UserError, match="cannot be decoded"):
        load_audio(path)


def test_a_track_that_is_not_there_is_refused(tmp_path):
    path = two_tracks(tmp_path / "two.mkv", TONE, HIGH)
    for track, limit in ((0, "1 to 2"), (3, "1 to 2")):
        with pytest.raises(UserError, match=rf"no such audio track.*Limit: {limit}"):
            AudioSource(path, track=track)


def test_all_tracks_silent_is_an_error(tmp_path):
    _, warnings, _ = read(two_tracks(tmp_path / "two.mkv", QUIET, QUIET))
    assert "all of them are silent" in warnings[0]


def test_a_file_is_probed_once(tmp_path, monkeypatch):
    """ffmpeg starts twice for a file: once for the header, once to decode; once if the header is known."""
    ffmpeg(*sources(TONE), tmp_path / "a.flac")
    ffmpeg_executable()
    begun = []
    popen = subprocess.Popen

    class Counted(popen):
        def __init__(self, command, *arguments, **options):
            begun.append(command)
            super().__init__(command, *arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", Counted)
    list(AudioSource(tmp_path / "a.flac"))
    assert len(begun) == 2
    info = probe(tmp_path / "a.flac")
    begun.clear()
    list(AudioSource(info))
    load_audio(info)
    assert len(begun) == 2


MIXES = {
    "stereo opposite": ("stereo", "c0=c0|c1=-1*c0"), "stereo nearly opposite": ("stereo", "c0=c0|c1=-0.8*c0"),
    "left only": ("stereo", "c0=c0|c1=0*c0"), "right only": ("stereo", "c0=0*c0|c1=c0"),
    "5.1 opposite fronts": ("5.1", "c0=c0|c1=-1*c0"), "5.1 centre": ("5.1", "c2=c0"),
    "5.1 opposite centre": ("5.1", "c0=c0|c2=-1*c0"), "quad opposite": ("quad", "c0=c0|c1=-1*c0|c2=c0|c3=-1*c0"),
    "ten": ("10c", "c9=c0"), "7.1": ("7.1", "c6=c0|c7=-1*c0"),
}


@pytest.mark.parametrize("name", MIXES)
def test_channels_never_cancel(tmp_path, name):
    layout, mix = MIXES[name]
    path = tmp_path / "mix.wav"
    ffmpeg(*sources(TONE), "-af", f"volume=6,pan={layout}|{mix}", path)
    samples = load_audio(path).samples
    assert len(samples) == 3 * SAMPLE_RATE and np.abs(samples).max() > 0.03 and len(sounding(samples, 0.02)) == 1


def test_polarity_is_found_as_it_changes_and_blocks_do_not_matter(tmp_path):
    rng = np.random.default_rng(0)
    speech = rng.standard_normal(4 * SAMPLE_RATE).astype(np.float32) * 0.1
    other = np.concatenate([speech[: 2 * SAMPLE_RATE], -speech[2 * SAMPLE_RATE :]])
    np.testing.assert_allclose(to_mono(np.stack([speech, other], axis=1)), speech, atol=1e-6)
    independent = rng.standard_normal((SAMPLE_RATE, 2)).astype(np.float32)
    np.testing.assert_allclose(to_mono(independent), independent.mean(axis=1), atol=1e-6)


def test_channel_counts_and_weights():
    names = {"mono": 1, "stereo": 2, "5.1(side)": 6, "7.1.4": 12, "quad": 4, "10 channels (FL+FR)": 10, "2.1": 3}
    assert {name: _n_channels(name) for name in names} == names
    assert channel_weights(6, "5.1(side)")[3] == 0 and channel_weights(3, "2.1")[2] == 0
    assert channel_weights(4, "quad") == pytest.approx(0.25)


def test_a_track_that_changes_its_channels_is_read_to_its_end(tmp_path):
    """A broadcast that goes from one channel to two, as MPEG-TS may."""
    for n in (1, 2):
        ffmpeg(*sources(TONE), "-ar", "48000", "-ac", n, "-c:a", "mp2", tmp_path / f"{n}.ts")
    both = tmp_path / "both.ts"
    both.write_bytes((tmp_path / "1.ts").read_bytes() + (tmp_path / "2.ts").read_bytes())
    assert load_audio(both).duration == pytest.approx(6, abs=0.4)


CLICK = "aevalsrc='if(between(t,0.5,0.502),0.5,0)':d=3:s=16000"
CONSTANT = "aevalsrc='0.3':d=3:s=16000"


@pytest.mark.parametrize("silent", [CLICK, CONSTANT], ids=["a click", "a constant"])
def test_a_track_without_speech_is_passed_over_though_it_is_not_all_zeros(tmp_path, silent):
    samples, warnings, number = read(two_tracks(tmp_path / "two.mkv", silent, TONE, "-c:a", "flac"))
    assert number == 2 and pitch(samples) == 440 and "track 1 is silent" in warnings[0]


def test_streams_that_are_listed_by_programme_are_counted_once_in_their_order(tmp_path):
    """A transport stream whose programmes share a track, in the form that ffmpeg prints."""
    listing = ("Input #0, mpegts, from 'x':\n  Duration: 00:00:02.92, start: 1.4, bitrate: 188 kb/s\n  Program 2 \n"
               "  Stream #0:2[0x102]: Audio: ac3, 48000 Hz, stereo, fltp, 192 kb/s\n"
               "  Stream #0:0[0x100]: Audio: mp2, 32000 Hz, mono, fltp, 64 kb/s\n  Program 1 \n"
               "  Stream #0:0[0x100]: Audio: mp2, 32000 Hz, mono, fltp, 64 kb/s\n"
               "  Stream #0:1[0x101]: Video: h264, 1920x1080\n")
    tracks = _parsed(listing, tmp_path / "x.ts", Structure()).tracks
    assert [(track.number, track.codec) for track in tracks] == [(1, "mp2"), (2, "ac3")]


@pytest.mark.parametrize("codec, scale", [("pcm_f32le", 2**15), ("pcm_f64le", 2**15), ("pcm_f32le", 2**31)])
def test_integers_that_were_written_as_floats_are_not_clipped(tmp_path, codec, scale):
    path = tmp_path / "integers.wav"
    ffmpeg(*sources(f"aevalsrc='{scale}*0.5*sin(2*PI*440*t)':d=3:s=16000"), "-c:a", codec, path)
    expected = load_audio(path).samples
    assert np.abs(expected).max() == pytest.approx(0.5, abs=0.01)
    (part,) = load_parts([Part(path, 0.0, 3.0)], tmp_path)
    np.testing.assert_allclose(part.samples, expected, atol=1e-6)
    loud = tmp_path / "loud.wav"  # a mix that is a little too loud is clipped, as players do it
    ffmpeg(*sources("aevalsrc='1.8*sin(2*PI*440*t)':d=3:s=16000"), "-c:a", codec, loud)
    assert np.abs(load_audio(loud).samples).max() == 1.0
