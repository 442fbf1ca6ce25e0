"""Dialogues of two games: small files of their layouts, written here from what ScummVM's readers say of them."""

from __future__ import annotations

import struct
import wave
from pathlib import Path

import pytest
from corpora import deb

from feature_pipeline.archives import sha256
from feature_pipeline.sources import debian
from feature_pipeline.sources.debian import Debian
from feature_pipeline.sources.games import drascula_texts, queen_files
from shared.errors import UserError

MP3 = b"\xff\xe3 \xc4" + bytes(60)


def number(value: int) -> bytes:
    return struct.pack(">H", value & 0xFFFF)


def string(text: str, align: int, place: int) -> bytes:
    """A text with its length before it, filled up so that what follows begins at a multiple of `align`."""
    data = bytes([len(text)]) + text.encode("cp437")
    return data + bytes(-(place + len(data)) % align if text else 0)


def drascula_dat(texts: dict[str, list[tuple[str, ...]]]) -> bytes:
    """texts: for each table its entries from 1 on, each in six languages."""
    head = b"DRASCULA\x06" + number(2) + bytes(8) + b"".join(number(0) for _ in range(12)) + number(6)
    for table in ("", "D", "B", "BJ", "E", "I", "L", "P", "T", "VB"):
        entries = texts.get(table, [])
        head += number(len(entries) + 1)
        for language in range(6):
            block = _table([entry[language].encode("cp850") for entry in entries])
            head += number(len(block)) + block
    return head


def _table(texts: list[bytes]) -> bytes:
    """Two zero bytes, then each text after two bytes that say how far it is from its beginning to the next one's."""
    spaces = [text + b"\0\0" for text in (b"", *texts)]
    return b"\0\0" + b"".join(number(len(space) + 2) + space for space in spaces)


def dialogue(number_: int, joe: list[tuple[int, str]], figure: list[tuple[int, str]], again: tuple[str, str]) -> bytes:
    tree = 32 + 96
    data = bytearray(tree)

    def entries(pairs: list[tuple[int, str]]) -> None:
        for key, text in pairs:
            data.extend(number(0) + number(key) + string(text, 4, len(data) + 4))

    entries(joe)
    figure_at = len(data)
    entries(figure)
    again_at = len(data)
    for text in again:
        data.extend(string(text, 2, len(data)))
    struct.pack_into(">5h", data, 0, -1, 7, number_, len(joe), len(figure))
    struct.pack_into(">3H", data, 22, figure_at, 0, again_at)
    return bytes(20) + bytes(data)


def scene(texts: list[str]) -> bytes:
    data = bytearray(12)
    for text in ["", *texts]:
        data.extend(string(text, 2, len(data)))
    struct.pack_into(">hhhHHH", data, 0, 0, -len(texts), 0, 0, 12, 0)
    return bytes(20) + bytes(data)


def queen_1c(files: dict[str, bytes]) -> bytes:
    place = 15 + 21 * len(files)
    table = b""
    for name, data in files.items():
        table += struct.pack(">12sBII", name.encode(), 1, place, len(data))
        place += len(data)
    return b"QTBLCEM10" + bytes(4) + number(len(files)) + table + b"".join(files.values())


@pytest.fixture
def pack(tmp_path, monkeypatch):
    """Makes a package of the given files and takes it in the place of the pinned one. Gives the folder of packages."""
    monkeypatch.setenv("WHISPER_SPACES_CACHE", str(tmp_path / "cache"))

    def make(name: str, files: dict[str, bytes]) -> str:
        path = deb(tmp_path / f"{name}_1_all.deb", files)
        monkeypatch.setitem(debian.PACKAGES, name, ("1", sha256(path)))
        return str(tmp_path)

    return make


def test_dialogues_of_drascula(pack):
    texts = drascula_dat({
        "": [("IT'S LOCKED. I HAVE NO KEY", "Esta cerrado.", "", "", "", ""), ("", "", "", "", "", ""),
             ("NOT RECORDED", "NO GRABADO", "", "", "", "")],
        "D": [("SHUT UP!", "\u00a1A\u00baTI\u00baNADA! IDIOTA", "", "", "", "")]})
    voices = {"1": bytes(range(256)) * 40, "2": b"\x80" * 500, "D1": b"\x80" * 333, "S1": b"\x80" * 100}

    def game(language: str) -> dict[str, bytes]:
        return {f"usr/share/scummvm/drascula/{language}/{name}.ALS": data for name, data in voices.items()}

    pack("drascula", {"usr/share/scummvm/drascula/en/drascula.dat": texts, **game("en")})
    folder = pack("drascula-spanish", game("es"))
    english = list(Debian("drascula", "en", folder).rows())
    assert [(row.id, row.text, row.speaker) for row in english] == [
        ("1", "It's locked. I have no key", "en-john"), ("D1", "Shut up!", "en-d")]
    with wave.open(str(english[0].audio.path)) as sound:
        assert (sound.getframerate(), sound.getsampwidth(), sound.getnchannels()) == (11_025, 1, 1)
        assert sound.readframes(sound.getnframes()) == voices["1"]
    spanish = list(Debian("drascula", "es", folder).rows())
    assert [row.text for row in spanish] == ["Esta cerrado.", "\u00a1A ti nada! Idiota"]


def test_dialogues_of_the_amazon_queen(pack):
    lines = [f"c{n}.CUT" for n in range(1250)]
    lines[1] = "It looks nice*03"
    lines[1187 + 24] = "Hello there...*16*03*WTI don't think it's gonna talk to me*24"
    files = {
        "BOB1.DOG": dialogue(5, [(0, "*FRHi Bob."), (0x1E, "You're fast.*02*XY00(237,112)Are you?")],
                             [(0x1F, "I am.*15"), (0x20, "No file.")], ("Again?", "0")),
        "C2C.CUT": scene(["*", "Look out!*04Run!"]),
        "QUEEN2.JAS": "\r\n".join(lines).encode(),
        **{f"{name}.SB": MP3 + name.encode() for name in (
            "05SSSSJ2", "05001EJ1", "05001EJ3", "05001FP1", "05XXXXP1", "C2C__021", "C2C__022", "JOE00421", "JOE00251",
            "JOE00254", "10SSSSSS")}}
    folder = pack("flight-of-the-amazon-queen", {"usr/share/scummvm/queen/queen.1c": queen_1c(files)})
    rows = {row.id: row for row in Debian("amazon-queen", "en", folder).rows()}
    assert {name: (row.text, row.speaker) for name, row in rows.items()} == {
        "05SSSSJ2": ("Hi Bob.", "joe"), "05001EJ1": ("You're fast.", "joe"), "05001EJ3": ("Are you?", "joe"),
        "05001FP1": ("I am.", "bob"), "05XXXXP1": ("Again?", "bob"), "C2C__021": ("Look out!", None),
        "C2C__022": ("Run!", None), "JOE00421": ("It looks nice", "joe"), "JOE00251": ("Hello there...", "joe"),
        "JOE00254": ("I don't think it's gonna talk to me", "joe")}
    assert Path(rows["C2C__022"].audio.path).read_bytes() == MP3 + b"C2C__022"


def test_a_number_that_two_dialogues_share_is_left_out(pack):
    one, two = (dialogue(7, [(0, "")], [(1, text)], ("", "")) for text in ("A hobby.", "A visit."))
    files = {"A1.DOG": one, "A2.DOG": two, "QUEEN2.JAS": b"", "070001P1.SB": MP3}
    folder = pack("flight-of-the-amazon-queen", {"usr/share/scummvm/queen/queen.1c": queen_1c(files)})
    assert not list(Debian("amazon-queen", "en", folder).rows())


@pytest.mark.parametrize("read", [queen_files, lambda data: drascula_texts(data, "en")])
def test_another_file_is_refused(read):
    with pytest.raises(UserError, match="This is not the file of"):
        read(b"something else altogether")
