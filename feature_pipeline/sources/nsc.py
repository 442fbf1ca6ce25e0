"""IMDA's National Speech Corpus (Singapore English), parts 1 to 3, in the folders it is delivered in. No own splits.

Parts 1, 2: PART1/DATA/CHANNEL0/SCRIPT/000010.TXT and …/WAVE/SPEAKER0001.zip with SPEAKER0001/SESSION0/000010001.WAV;
the names are channel, speaker (4 digits), session, and for clips the number (3 digits). A script line is the clip's
name, a tab and the sentence; the line below repeats it as it was spoken, without capitals.
Part 3: long recordings of one microphone (`Audio Same CloseMic/3000-1.wav`, `Audio Separate IVR/conf_…/….wav`, …)
and their TextGrids (`Scripts Same`, `Scripts Separate`), cut at the intervals.
Source of the layout: the corpus's ABOUT.txt, as kept in Kaldi's egs/nsc, and its guide to transcription.
"""

from __future__ import annotations

import dataclasses
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from feature_pipeline.rows import AudioRef, Row, stamp
from feature_pipeline.settings import Language
from shared.errors import UserError

SCRIPTS = {"CloseMic": "Same", "BoundaryMic": "Same", "IVR": "Separate", "StandingMic": "Separate"}
_INTERVAL = re.compile(r'xmin = ([\d.]+)\s+xmax = ([\d.]+)\s+text = "((?:[^"]|"")*)"')
_NOISE = re.compile(r"\((?:pp[a-z])\)|<[^<>]*>|\*\*|~")  # breath, laughter, pauses, unclear words
_PARTICLE = re.compile(r"[\[\](){}!#_]")  # [lah], (uh), !wow!, #kopi#, _food_court_: marks around spoken words


@dataclass(frozen=True)
class Nsc:
    """The National Speech Corpus."""

    path: str
    part: Literal[1, 2, 3]
    channel: Literal[0, 1, 2] = 0  # parts 1, 2: 0 headset or standing microphone, 1 boundary microphone, 2 phone
    microphone: Literal["CloseMic", "BoundaryMic", "IVR", "StandingMic"] = "CloseMic"  # part 3
    language: Language = "en"

    def provenance(self) -> dict[str, object]:
        return {"corpus": f"IMDA National Speech Corpus, part {self.part}"}

    def stamp(self) -> str:
        return stamp(path for folder in self._folders() for path in sorted(folder.rglob("*")) if path.is_file())

    def rows(self) -> Iterator[Row]:
        scripts, sounds = self._folders()
        if self.part == 3:
            yield from self._conversations(scripts, sounds)
        else:
            yield from self._prompts(scripts, sounds)

    def _folders(self) -> tuple[Path, Path]:
        root = Path(self.path).expanduser()
        part = _child(root, f"PART{self.part}") or root
        if self.part == 3:
            scripts, sounds = _child(part, f"Scripts {SCRIPTS[self.microphone]}"), _child(
                part, f"Audio {SCRIPTS[self.microphone]} {self.microphone}")
            wanted = f"PART3/Audio {SCRIPTS[self.microphone]} {self.microphone}"
        else:
            channel = _child(_child(part, "DATA") or part, f"CHANNEL{self.channel}") or part
            scripts, sounds = _child(channel, "SCRIPT"), _child(channel, "WAVE")
            wanted = f"PART{self.part}/DATA/CHANNEL{self.channel}/WAVE"
        if scripts is None or sounds is None:
            raise UserError("This part of the National Speech Corpus is not there",
                            got=f"no {wanted} and its scripts in {root}",
                            hint="correct path, part, channel or microphone")
        return scripts, sounds

    def _prompts(self, scripts: Path, sounds: Path) -> Iterator[Row]:
        for script in sorted(path for path in scripts.iterdir() if path.suffix.upper() == ".TXT"):
            speaker = script.stem[1:5]
            archive, folder = _child(sounds, f"SPEAKER{speaker}.zip"), _child(sounds, f"SPEAKER{speaker}")
            clips = _members(archive) if archive else _files(folder) if folder else {}
            for name, text in _script(script):
                if name in clips:
                    yield Row(name, clips[name], text, self.language, speaker=f"nsc{self.part}-{speaker}")

    def _conversations(self, scripts: Path, sounds: Path) -> Iterator[Row]:
        recordings = _files(sounds)
        for script in sorted(path for path in scripts.iterdir() if path.suffix.upper() == ".TEXTGRID"):
            # One boundary microphone records both speakers; the phone's files lie in a folder for each conversation.
            name = {"BoundaryMic": script.stem.split("-")[0], "IVR": script.stem.rsplit("_", 1)[-1]}.get(
                self.microphone, script.stem)
            if name not in recordings:
                continue
            for number, (start, end, text) in enumerate(intervals(script.read_bytes())):
                words = spoken(text)
                if words and end > start:
                    ref = dataclasses.replace(recordings[name], start=start, end=end)
                    yield Row(f"{script.stem}#{number:05d}", ref, words, self.language, speaker=f"nsc3-{script.stem}")


def intervals(data: bytes) -> Iterator[tuple[float, float, str]]:
    """(start, end, text) of a Praat TextGrid in its long form, UTF-8 or UTF-16."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    for start, end, text in _INTERVAL.findall(data.decode(encoding)):
        yield float(start), float(end), text.replace('""', '"').strip()


def spoken(text: str) -> str:
    """A transcript without its marks: noises go, particles and words of other languages stay."""
    return " ".join(_PARTICLE.sub(" ", _NOISE.sub(" ", text)).split())


def _script(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        name, tab, text = line.partition("\t")
        if tab and name.strip():
            yield name.strip(), text.strip()


def _members(archive: Path) -> dict[str, AudioRef]:
    with zipfile.ZipFile(archive) as bundle:
        return {Path(name).stem: AudioRef.within_zip(archive, name) for name in bundle.namelist()
                if name.upper().endswith(".WAV")}


def _files(folder: Path) -> dict[str, AudioRef]:
    return {path.stem: AudioRef.file(path) for path in sorted(folder.rglob("*")) if path.suffix.upper() == ".WAV"}


def _child(folder: Path, name: str) -> Path | None:
    """An entry by name; copies of the corpus differ in case and in spaces."""
    wanted = name.replace(" ", "").lower()
    if not folder.is_dir():
        return None
    return next((path for path in sorted(folder.iterdir()) if path.name.replace(" ", "").lower() == wanted), None)
