from shared.audio.decoding import (
    CONTAINERS,
    SAMPLE_RATE,
    Waveform,
    ffmpeg_executable,
    load_audio,
    probe,
    spoken_time,
    stream_audio,
)
from shared.audio.source import AudioSource, Source

__all__ = [
    "CONTAINERS",
    "SAMPLE_RATE",
    "AudioSource",
    "Source",
    "Waveform",
    "ffmpeg_executable",
    "load_audio",
    "probe",
    "spoken_time",
    "stream_audio",
]
