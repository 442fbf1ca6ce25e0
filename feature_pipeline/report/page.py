"""The frame of the pipeline's HTML pages: style (light or dark as the reader has it), heading, figures, sections."""

from __future__ import annotations

import base64
import html
import tempfile
from collections.abc import Sequence
from pathlib import Path

from shared.audio import encode, load_audio

MAX_CLIP_SECONDS = 15
STYLE = Path(__file__).with_name("page.css")


def page(title: str, lead: str, figures: Sequence[tuple[str, str]], sections: Sequence[tuple[str, str]],
         script: str = "") -> str:
    """A whole page. title, lead, figures and the sections' names are text; their bodies are HTML, script JavaScript."""
    numbers = "".join(f"<div><b>{html.escape(value)}</b><span>{html.escape(name)}</span></div>"
                      for value, name in figures)
    body = "".join(f"<section><h2>{html.escape(name)}</h2>{content}</section>" for name, content in sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # The page may play the sound inside it and run its own script, and reach nothing else.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        "script-src 'unsafe-inline'; media-src data:; img-src data:\">"
        f"<title>{html.escape(title)}</title><style>{STYLE.read_text('utf-8')}</style></head><body><main><h1>{html.escape(title)}</h1>"
        f'<p class="quiet">{html.escape(lead)}</p><div class="figures">{numbers}</div>{body}</main>'
        f"{f'<script>{script}</script>' if script else ''}</body></html>\n")


def table(heads: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def bars(items: Sequence[tuple[str, float, str]]) -> str:
    """Horizontal bars from (name, length, label)."""
    longest = max((length for _, length, _ in items), default=1) or 1
    return '<div class="bars">' + "".join(
        f'<span class="name">{html.escape(name)}</span><span class="rail">'
        f'<i style="width:{100 * length / longest:.1f}%"></i></span><span>{html.escape(label)}</span>'
        for name, length, label in items) + "</div>"


def legend(splits: Sequence[str]) -> str:
    """The colours of the splits."""
    return '<p class="legend">' + "".join(f'<span><i class="{split}"></i>{split}</span>' for split in splits) + "</p>"


def as_mp3(clips: Sequence[bytes]) -> list[bytes]:
    """Clips (bytes of any media) for a web page, cut after a quarter of a minute."""
    waveforms = [load_audio(data, end=MAX_CLIP_SECONDS) for data in clips]
    with tempfile.TemporaryDirectory(prefix="samples-") as folder:
        return encode(waveforms, "mp3", 40, Path(folder)) if waveforms else []


def player(mp3: bytes) -> str:
    return (f'<audio controls preload="none" src="data:audio/mpeg;base64,{base64.b64encode(mp3).decode()}">'
            "</audio>")
