from shared.audio.decoding import MediaInfo, load_audio, probe, stream_audio
from shared.audio.ffmpeg import CONTAINERS, ffmpeg_executable
from shared.audio.source import AudioSource, Source
from shared.audio.waveform import SAMPLE_RATE, Waveform

__all__ = [
    "CONTAINERS", "SAMPLE_RATE", "AudioSource", "MediaInfo", "Source", "Waveform", "ffmpeg_executable", "load_audio",
    "probe", "stream_audio",
]
