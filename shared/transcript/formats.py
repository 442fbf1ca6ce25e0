"""The files that a transcript can be written to: each a pure function of a Transcript, named in `FORMATS`."""

from __future__ import annotations

import io
import json
import re
import unicodedata
from collections.abc import Callable

from shared.transcript.subtitles import cues
from shared.transcript.values import Segment, Transcript
from shared.units import clock_time, short_clock

_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def to_txt(transcript: Transcript) -> str:
    """One segment a line, with the speaker where known.

    Args:
        transcript: any.

    Returns:
        The file's text.
    """
    return "".join(f"{_labelled(segment)}\n" for segment in transcript.segments)


def to_srt(transcript: Transcript) -> str:
    """SubRip.

    Args:
        transcript: cut into cues (`cues`).

    Returns:
        The file's text.
    """
    return "\n".join(
        f"{i}\n{clock_time(cue.start, ',')} --> {clock_time(cue.end, ',')}\n" + "\n".join(cue.lines) + "\n"
        for i, cue in enumerate(cues(transcript), 1)
    )


def to_vtt(transcript: Transcript) -> str:
    """WebVTT, with `&` and `<` escaped as https://www.w3.org/TR/webvtt1/#cue-text asks.

    Args:
        transcript: cut into cues (`cues`).

    Returns:
        The file's text.
    """
    def escaped(line: str) -> str:
        return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    return "WEBVTT\n\n" + "\n".join(
        f"{clock_time(cue.start)} --> {clock_time(cue.end)}\n" + "\n".join(map(escaped, cue.lines)) + "\n"
        for cue in cues(transcript)
    )


def to_tsv(transcript: Transcript) -> str:
    """start and end in milliseconds, speaker if speakers are known, text; one segment a line."""
    with_speakers = any(segment.speaker for segment in transcript.segments)
    rows = ["start\tend\tspeaker\ttext" if with_speakers else "start\tend\ttext"]
    for segment in transcript.segments:
        speaker = f"{segment.speaker or ''}\t" if with_speakers else ""
        rows.append(f"{round(segment.start * 1000)}\t{round(segment.end * 1000)}\t{speaker}"
                    f"{' '.join(segment.text.split())}")
    return "\n".join(rows) + "\n"


def to_json(transcript: Transcript) -> str:
    """Everything there is; `Transcript.from_dict` reads it back."""
    return json.dumps(transcript.to_dict(), ensure_ascii=False, indent=1) + "\n"


def to_docx(transcript: Transcript) -> bytes:
    """A Word document: one segment a paragraph, with its time and the speaker where known."""
    import docx  # here: what writes no document does without it
    from docx.oxml import OxmlElement
    from docx.shared import Pt, RGBColor

    document = docx.Document()
    for segment in transcript.segments:
        paragraph = document.add_paragraph()
        if unicodedata.bidirectional(next(filter(str.isalpha, segment.text), "a")) in ("R", "AL"):
            paragraph._p.get_or_add_pPr().append(OxmlElement("w:bidi"))
        time = paragraph.add_run(f"{short_clock(segment.start)}  ")
        time.font.size, time.font.color.rgb = Pt(8), RGBColor(0x64, 0x74, 0x8B)
        if segment.speaker:
            paragraph.add_run(f"{_NOT_IN_XML.sub('', segment.speaker)}: ").bold = True
        paragraph.add_run(_NOT_IN_XML.sub("", segment.text))
    content = io.BytesIO()
    document.save(content)
    return content.getvalue()


FORMATS: dict[str, Callable[[Transcript], str | bytes]] = {
    "txt": to_txt, "srt": to_srt, "vtt": to_vtt, "tsv": to_tsv, "json": to_json, "docx": to_docx,
}


def as_bytes(transcript: Transcript, form: str) -> bytes:
    """What a file of a format holds.

    Args:
        transcript: any.
        form: a key of FORMATS.

    Returns:
        Its bytes; text is UTF-8.
    """
    content = FORMATS[form](transcript)
    return content if isinstance(content, bytes) else content.encode()


def _labelled(segment: Segment) -> str:
    return f"{segment.speaker}: {segment.text}" if segment.speaker else segment.text
