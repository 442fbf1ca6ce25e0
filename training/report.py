"""An evaluation as one HTML page that needs nothing else: scores, parts, and the worst clips with their audio.

Enters: scores and lines of `training.evaluation`, and the rows they were made of. Leaves: a file. Counts nothing.
"""

from __future__ import annotations

import base64
import html
import mimetypes
from pathlib import Path
from typing import Any

import datasets

from shared import wer
from shared.options import DICTIONARY_BEAM

N_WORST = 20
NO_ACCENTS = "Accents are left out on both sides, since the references have none."
STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .75rem;text-align:right;border-bottom:1px solid #ccc}
td:first-child,th:first-child{text-align:left}.substitution{background:#fde3b0}.deletion{background:#f9c9c9}
.insertion{background:#cfe3fb}audio{width:100%}article{margin:1.5rem 0}
@media(prefers-color-scheme:dark){body{background:#181818;color:#eee}.substitution,.deletion,.insertion{color:#111}}"""
KEY = ("<p>In the texts: <span class=substitution>written instead</span>, <span class=deletion>left out</span>, "
       "<span class=insertion>invented</span>.</p>")


def search_of(options: dict[str, Any]) -> str:
    """How texts were searched for: "beam 1", or "beam 5, dictionary ru_RU". options: of the scores."""
    named = [Path(name).stem for name in options.get("dictionary", ())]
    width = max(options["beam_size"], DICTIONARY_BEAM) if named else options["beam_size"]
    return f"beam {width}{', dictionary ' + ' and '.join(named) if named else ''}"


def write_report(path: Path, scores: dict[str, Any], lines: dict[str, list[Any]], rows: datasets.Dataset) -> None:
    """lines: of `training.evaluation`, by system, those of 'fine-tuned' in the order of rows."""
    used = scores["used"]["fine-tuned"]
    parts = [
        f"<h1>{_text(scores['run'])}</h1>",
        f"<p>Data: {_text(scores['data'])}, split {_text(scores['options']['split'])}. Engine {_text(used['engine'])}, "
        f"{_text(used['compute_type'])}, {_text(search_of(scores['options']))}, speech threshold "
        f"{scores['options']['vad_onset']}, seed {scores['options']['seed']}. "
        f"{'' if scores['options'].get('accents', True) else NO_ACCENTS}</p>",
        _systems(scores), _differences(scores),
        *(_by(scores, kind) for kind in ("language", "set", "length", "speaker") if _has_several(scores, kind)),
        "<h2>The worst clips</h2>", KEY, *_worst(lines, rows),
    ]
    page = (f"<!doctype html><html lang=en><meta charset=utf-8><title>{_text(scores['run'])}: evaluation</title>"
            f"<style>{STYLE}</style>{''.join(parts)}</html>\n")
    path.write_text(page, encoding="utf-8")


def _systems(scores: dict[str, Any]) -> str:
    head = ("system", "WER %", "95 % interval", "CER %", "raw WER %", "subst.", "del.", "ins.", "words", "RTFx")
    body = []
    for name, one in scores["systems"].items():
        spread = "too short to tell" if one["wer_low"] is None else f"{one['wer_low']:.1f} … {one['wer_high']:.1f}"
        body.append((name, f"{one['wer']:.2f}", spread, f"{one['cer']:.2f}", f"{one['raw_wer']:.2f}",
                     one["substitutions"], one["deletions"], one["insertions"], one["words"], f"{one['rtfx']:.1f}"))
    return _table(head, body)


def _differences(scores: dict[str, Any]) -> str:
    body = []
    for name, one in scores["differences"].items():
        spread = "" if one["low"] is None else f"{one['low']:+.1f} … {one['high']:+.1f}"
        body.append((name, f"{one['difference']:+.2f}", spread, one["verdict"]))
    return _table(("difference in WER, paired", "points", "95 % interval", "verdict"), body)


def _has_several(scores: dict[str, Any], kind: str) -> bool:
    """Length and speaker are always shown; a single language or data set is the table of systems over again."""
    keys = {key for one in scores["systems"].values() for key in one["by"].get(kind, ())}
    return len(keys) > 1 or (len(keys) == 1 and kind in ("length", "speaker"))


def _by(scores: dict[str, Any], kind: str) -> str:
    systems = scores["systems"]
    keys = sorted({key for one in systems.values() for key in one["by"][kind]})
    body = [(key, *(f"{one['by'][kind][key]['wer']:.1f} ({one['by'][kind][key]['clips']})" if key in one["by"][kind]
                    else "" for one in systems.values())) for key in keys[:50]]
    return f"<h2>WER % by {kind} (clips)</h2>" + _table((kind, *systems), body)


def _worst(lines: dict[str, list[Any]], rows: datasets.Dataset) -> list[str]:
    tuned = lines["fine-tuned"]
    errors = [wer.word_errors(line.reference, line.hypothesis, line.text_language) for line in tuned]
    order = sorted(range(len(tuned)), key=lambda i: -errors[i].errors)
    found = []
    for i in [i for i in order if errors[i].errors][:N_WORST]:
        base = wer.word_errors(tuned[i].reference, lines["base"][i].hypothesis, tuned[i].text_language)
        found.append(f"<article><h3>{_text(tuned[i].id)}</h3>{_audio(rows[i]['audio'])}<p>reference: "
                     f"{_text(tuned[i].reference)}</p><p>base ({base.errors}): {_marked(base)}</p>"
                     f"<p>fine-tuned ({errors[i].errors}): {_marked(errors[i])}</p></article>")
    return found


def _marked(errors: wer.WordErrors) -> str:
    words = []
    for kind, reference, hypothesis in errors.alignment:
        text = _text(hypothesis or reference)
        words.append(text if kind == "hit" else f'<span class={kind} title="{_text(reference)}">{text}</span>')
    return " ".join(words)


def _audio(audio: dict[str, Any]) -> str:
    kind = mimetypes.guess_type(audio["path"] or "")[0] or "audio/wav"
    data = base64.b64encode(audio["bytes"]).decode()
    return f'<audio controls preload=none src="data:{kind};base64,{data}"></audio>'


def _table(head: tuple[str, ...], body: list[tuple[Any, ...]]) -> str:
    rows = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in body)
    return f"<table><tr>{''.join(f'<th>{_text(cell)}</th>' for cell in head)}</tr>{rows}</table>"


def _text(value: object) -> str:
    return html.escape(str(value))
