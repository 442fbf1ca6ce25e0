"""`transcribe --compare`: the base and the fine-tuned checkpoint on one recording, against what was really spoken."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from shared.cli.inputs import as_file, find_inputs
from shared.cli.options import CompareRequest
from shared.errors import UserError
from shared.system.command import DONE, ended_by_signals, system_words

if TYPE_CHECKING:  # torch
    from shared.checkpoint import Facts
    from shared.inference import Transcriber


def run(request: CompareRequest) -> int:
    """Print WER, CER and speed of both. Raises UserError."""
    reference = _reference(Path(request.reference))
    inputs, _ = find_inputs([request.recording])
    if len(inputs) != 1:
        raise UserError("A comparison takes one recording", got=f"{len(inputs)} in {request.recording}", limit=1,
                        hint="name one file")
    from shared.checkpoint import configured
    from shared.cli.answering import load

    base, tuned = configured()
    with ended_by_signals(), ExitStack() as stack:
        path = as_file(inputs[0], stack)
        sides = {side: load(request.model, name, request.quiet)
                 for side, name in (("base", base), ("fine-tuned", request.model.name or tuned))}
        facts = sides["fine-tuned"].facts  # its maker's word on what the references are written in
        rows = [_side(side, one, path, reference, request, facts) for side, one in sides.items()]
    if request.json:
        print(json.dumps(rows))
        return DONE
    for row in rows:
        print(f"{row['side']} ({row['checkpoint']}): WER {row['wer']:.1%} ({row['substitutions']} substituted, "
              f"{row['deletions']} deleted, {row['insertions']} inserted of {row['reference_words']} words), "
              f"CER {row['cer']:.1%}, {row['rtfx']:.1f} × real time\n  {row['text']}")
    print("One recording is too little to tell which is better: score a test set on the compare page.")
    return DONE


def _side(side: str, transcriber: Transcriber, path: Path, reference: str, request: CompareRequest, facts: Facts
          ) -> dict[str, object]:
    """One checkpoint's text and how far it is from the reference."""
    from shared.cli.answering import answer_of
    from shared.wer import character_errors, word_errors

    answer = answer_of(transcriber, path, request.options, request.track)
    text = answer.transcript.text
    language = facts.writes(answer.transcript.language, request.options.task)
    words = word_errors(reference, text, language)
    return {"side": side, "checkpoint": str(answer.checkpoint), "text": text, "wer": words.wer,
            "cer": character_errors(reference, text, language).wer, "substitutions": words.substitutions,
            "deletions": words.deletions, "insertions": words.insertions, "reference_words": words.reference_length,
            "rtfx": answer.rtfx}


def _reference(path: Path) -> str:
    if not path.is_file():
        raise UserError("There is no such reference", got=str(path), hint="give a text file with what is spoken")
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError:
        raise UserError("The reference is not UTF-8 text", got=path.name, hint="save it as UTF-8") from None
    except OSError as error:
        raise UserError("The reference cannot be read", got=system_words(error), hint="check its rights") from error
    if not text:
        raise UserError("The reference is empty", got=path.name, hint="write down what is spoken")
    return text
