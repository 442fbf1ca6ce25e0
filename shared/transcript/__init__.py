from shared.transcript.formats import FORMATS, as_bytes, to_srt, to_txt, to_vtt
from shared.transcript.subtitles import Cue, cues
from shared.transcript.subtitles import _columns as _columns  # checks outside this repository measure by it
from shared.transcript.values import Segment, Transcript, Word, ends_sentence, joined, sentences, separator

__all__ = [
    "FORMATS",
    "Cue",
    "Segment",
    "Transcript",
    "Word",
    "as_bytes",
    "cues",
    "ends_sentence",
    "joined",
    "sentences",
    "separator",
    "to_srt",
    "to_txt",
    "to_vtt",
]
