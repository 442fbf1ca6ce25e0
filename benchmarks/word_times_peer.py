"""faster-whisper's part of `word_times`: runs in its environment, imports nothing of ours.

    PYTHON word_times_peer.py CHECKPOINT FOLDER

Enters: FOLDER with 0.npy, 1.npy … (float32 at 16 kHz) and texts.json. Leaves: on standard output a JSON list of
[[start, end], …] of the words of each, by faster-whisper's own alignment of the text.
"""

import json
import sys
from pathlib import Path

import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.audio import pad_or_trim
from faster_whisper.tokenizer import Tokenizer


def main() -> None:
    checkpoint, folder = sys.argv[1], Path(sys.argv[2])
    model = WhisperModel(checkpoint, device="cpu", compute_type="int8")
    found = []
    for number, given in enumerate(json.loads((folder / "texts.json").read_text())):
        samples = np.load(folder / f"{number}.npy")
        tokenizer = Tokenizer(model.hf_tokenizer, True, task="transcribe", language=given["language"])
        states = model.encode(pad_or_trim(model.feature_extractor(samples)))
        words = model.find_alignment(tokenizer, [tokenizer.encode(given["text"])], states, len(samples) // 160)[0]
        found.append(_words(words))
    print(json.dumps(found))


def _words(words: list[dict]) -> list[list[float]]:
    """Marks stand alone in what `find_alignment` gives and are joined by its caller; here they are left out."""
    return [[float(word["start"]), float(word["end"])] for word in words if any(c.isalnum() for c in word["word"])]


if __name__ == "__main__":
    main()
