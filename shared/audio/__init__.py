from shared.audio.decoding import load_audio, stream_audio
from shared.audio.encoding import encode, write_mp3
from shared.audio.ffmpeg import CONTAINERS, MEDIA_SUFFIXES, ffmpeg_executable
from shared.audio.media import MediaInfo, Track, probe
from shared.audio.source import SHORT_BYTES, AudioSource, Source, is_short, with_header
from shared.audio.waveform import SAMPLE_RATE, Waveform

__all__ = [
    "CONTAINERS",
    "MEDIA_SUFFIXES",
    "SAMPLE_RATE",
    "SHORT_BYTES",
    "AudioSource",
    "MediaInfo",
    "Source",
    "Track",
    "Waveform",
    "encode",
    "ffmpeg_executable",
    "is_short",
    "load_audio",
    "probe",
    "stream_audio",
    "with_header",
    "write_mp3",
]
