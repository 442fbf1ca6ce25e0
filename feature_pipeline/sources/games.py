"""Speech of two games that Debian ships: Drascula (English, Spanish) and Flight of the Amazon Queen (English).

Enters: the folders of their unpacked packages. Leaves: rows. The layouts of the files are those that ScummVM reads
(https://www.scummvm.org, engines/drascula and engines/queen): tables of texts whose places name the sound files.
Clips are written into the cache once, with a header that says what they are.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

from feature_pipeline.rows import AudioRef, Row
from shared.errors import UserError
from shared.system.cache import made_once

# -- Drascula ----------------------------------------------------------------------------------------------------------

DRASCULA_RATE = 11_025  # Hz; its .ALS files are raw unsigned 8-bit samples, mono
DRASCULA_LANGUAGES = ("en", "es", "de", "fr", "it", "ru")  # as they follow each other in drascula.dat
_TABLES = ("", "D", "B", "BJ", "E", "I", "L", "P", "T", "VB")  # the sound file of text n of table D is Dn.ALS
# Before the texts stand a signature and tables of the game's own, each a count and this many bytes for each entry.
_DRASCULA_HEAD, _TABLE_BYTES = 9, (4, 4, 4, 2, 4, 2, 4, 2, 2, 20, 20, 10, 8)


def drascula(sounds: Path, texts: Path, language: str) -> Iterator[Row]:
    """Rows of one language. sounds, texts: folders of the packages with the voices and with drascula.dat."""
    (listing,) = sorted(texts.rglob("drascula.dat"))
    found = drascula_texts(listing.read_bytes(), language)
    voices = {path.stem: path for path in sorted(sounds.rglob("*.ALS"))}
    digest = sounds.parents[1].name.rsplit("-", 1)[-1]
    clips = made_once(f"drascula-{language}-{digest}", lambda folder: _write_waves(voices, found, folder))
    for name, text in found.items():
        path = clips / f"{name}.wav"
        if name in voices:
            table = name.rstrip("0123456789").lower()
            yield Row(name, AudioRef.file(path), text, language, speaker=f"{language}-{table or 'john'}")


def drascula_texts(data: bytes, language: str) -> dict[str, str]:
    """Text of each sound file, by its name without suffix. Raises UserError for another file."""
    if not data.startswith(b"DRASCULA"):
        raise UserError("This is not the file of Drascula's texts", got=repr(data[:8]), hint="fetch the package again")
    place = _DRASCULA_HEAD
    for size in _TABLE_BYTES:
        place += 2 + size * _number(data, place)
    n_languages = _number(data, place)
    place += 2
    found: dict[str, str] = {}
    for table in _TABLES:
        n_texts = _number(data, place)
        place += 2
        for number in range(n_languages):
            n_bytes = _number(data, place)
            if number == DRASCULA_LANGUAGES.index(language):
                texts = _drascula_table(data[place + 2 : place + 2 + n_bytes], n_texts)
                found |= {f"{table}{n}": _sentence_case(text, language) for n, text in texts if text.strip()}
            place += 2 + n_bytes
    return found


def _drascula_table(table: bytes, n_texts: int) -> Iterator[tuple[int, str]]:
    """Texts from number 1 on. Each ends with a zero byte; two bytes before it say how far it is to the next."""
    place = 4
    for number in range(1, n_texts):
        place += _number(table, place - 2)
        text = table[place : table.index(b"\0", place)].decode("cp850")
        yield number, text.replace("º", " ")  # in some texts it stands for a space


def _sentence_case(text: str, language: str) -> str:
    """Most texts are in capitals only, which is how they are shown and not how they are written."""
    text = " ".join(text.split())
    if text != text.upper():
        return text
    text = re.sub(r"(^\W*|[.!?…]\s+\W*)(\w)", lambda found: found[1] + found[2].upper(), text.lower())
    return re.sub(r"\bi\b", "I", text) if language == "en" else text


def _write_waves(voices: dict[str, Path], wanted: dict[str, str], folder: Path) -> None:
    form = struct.pack("<HHIIHH", 1, 1, DRASCULA_RATE, DRASCULA_RATE, 1, 8)  # PCM, mono
    for name in wanted.keys() & voices.keys():
        data = voices[name].read_bytes()
        chunks = (b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
                  + b"\0" * (len(data) % 2))
        (folder / f"{name}.wav").write_bytes(b"RIFF" + struct.pack("<I", len(chunks)) + chunks)


# -- Flight of the Amazon Queen ----------------------------------------------------------------------------------------

_QUEEN_HEAD = 13  # bytes: "QTBL", version 6, 2 of no meaning here, how the sound is compressed; then the table
_FILE_HEAD = 20  # bytes before what a .DOG or .CUT file says
_NODE_BYTES, _TREE = 96, 32  # of the tree of a dialogue: of each level, and where it begins
# QUEEN2.JAS is lines of text: what Joe says of things, from the first; what he answers to commands, from this one on.
_FIRST_ANSWER, _N_ANSWERS, _ANSWER_NUMBERS = 1187, 29, 40
_MARK = re.compile(r"\*XY.{11}|\*..?")  # in a text, for what the figure does; each begins another sound file


def amazon_queen(sounds: Path, _texts: Path, language: str) -> Iterator[Row]:
    """Rows of the one file that holds everything. A part of a text between two marks has a sound file of its own."""
    (archive,) = sorted(sounds.rglob("queen.1c"))
    data = archive.read_bytes()
    files = queen_files(data)
    spoken: dict[str, tuple[str, str | None]] = {}
    doubtful = set()
    for name, text, speaker in _queen_texts(files):
        if f"{name}.SB" in files and text.strip() and spoken.setdefault(name, (text, speaker))[0] != text:
            doubtful.add(name)  # two dialogues have one number: which of the two texts it is cannot be known
    voices = {name: files[f"{name}.SB"] for name in sorted(spoken.keys() - doubtful)}
    digest = sounds.parents[1].name.rsplit("-", 1)[-1]
    clips = made_once(f"amazon-queen-{digest}", lambda folder: _write_mp3(voices, folder))
    for name in voices:
        text, speaker = spoken[name]
        yield Row(name, AudioRef.file(clips / f"{name}.mp3"), " ".join(text.split()), language, speaker=speaker)


def queen_files(data: bytes) -> dict[str, bytes]:
    """The files within queen.1c by name. Raises UserError for another file."""
    if not data.startswith(b"QTBL"):
        raise UserError("This is not the file of the Amazon Queen", got=repr(data[:4]), hint="fetch the package again")
    place = _QUEEN_HEAD
    n_files = _number(data, place)
    place += 2
    found = {}
    for name, offset, size in struct.iter_unpack(">12sxII", data[place : place + 21 * n_files]):
        found[name.rstrip(b"\0").decode("latin-1")] = data[offset : offset + size]
    return found


def _queen_texts(files: dict[str, bytes]) -> Iterator[tuple[str, str, str | None]]:
    """(name of the sound file, its text, who speaks) of every text there is; not every one has a sound file."""
    for name in sorted(files):
        if name.endswith(".DOG"):
            for key, text, speaker in _dialogue(files[name][_FILE_HEAD:], name.removesuffix(".DOG")):
                yield from _parts(key, text, speaker)
        elif name.endswith(".CUT"):
            for key, text in _scene(files[name][_FILE_HEAD:], name.removesuffix(".CUT")):
                yield from _parts(key, text, None)
    lines = files["QUEEN2.JAS"].decode("cp437").split("\r\n")
    answers = lines[_FIRST_ANSWER : _FIRST_ANSWER + _N_ANSWERS]
    for number, line in [*enumerate(answers, 1), *enumerate(lines[:_FIRST_ANSWER], _ANSWER_NUMBERS + 1)]:
        yield from _parts(f"JOE{number:04d}", line, "joe")


def _parts(key: str, text: str, speaker: str | None) -> Iterator[tuple[str, str, str | None]]:
    for number, part in enumerate(_MARK.split(text), 1):
        yield f"{key}{number:X}", part, speaker


def _dialogue(data: bytes, figure: str) -> Iterator[tuple[str, str, str]]:
    """(key, text, speaker) of Joe's sentences and of the figure's he talks to, whose name the file bears."""
    levels, _unique, number, n_joe, n_figure = struct.unpack_from(">5h", data)
    figure_at, _scene_at, again_at = struct.unpack_from(">3H", data, 22)
    speaker = figure.rstrip("0123456789").lower()
    for place, n_texts, letter, who in ((_TREE + abs(levels) * _NODE_BYTES, n_joe, "J", "joe"),
                                        (figure_at, n_figure, "P", speaker)):
        for n in range(n_texts):
            entry = _number(data, place + 2)
            text, place = _string(data, place + 4, 4)
            first = n == 0 and letter == "J"  # what Joe greets with has no number
            yield f"{number:02d}{'SSSS' if first else f'{entry:04X}'}{letter}", text, who
    greeting, place = _string(data, again_at, 2)
    yield f"{number:02d}XXXXP", greeting, speaker
    yield f"{number:02d}XXXXJ", _string(data, place, 2)[0], "joe"


def _scene(data: bytes, name: str) -> Iterator[tuple[str, str]]:
    """(key, text) of a scene's steps, in order."""
    n_steps, place = abs(struct.unpack_from(">h", data, 2)[0]), _number(data, 8)
    _face, place = _string(data, place, 2)
    for step in range(1, n_steps + 1):
        text, place = _string(data, place, 2)
        yield f"{name.upper():_<5}{step:02d}", text


def _string(data: bytes, place: int, align: int) -> tuple[str, int]:
    """A text with its length before it, and where the next one is."""
    length, place = data[place], place + 1
    if not length:
        return "", place
    return data[place : place + length].decode("cp437"), (place + length + align - 1) // align * align


def _write_mp3(voices: dict[str, bytes], folder: Path) -> None:
    for name, data in voices.items():
        (folder / f"{name}.mp3").write_bytes(data)


def _number(data: bytes, place: int) -> int:
    return struct.unpack_from(">H", data, place)[0]
