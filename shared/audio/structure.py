"""What the bytes of a container promise: whether a file ends before its own header says, or goes on beyond it.

Enters: a path. Leaves: byte counts. Reads headers only, never sound. Knows nothing of ffmpeg. Containers that say
nothing about their size (MP3, AAC, FLAC, Ogg, MPEG-TS) give an empty answer; a length is compared elsewhere.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

MAX_CHUNKS = 10_000  # chunks or boxes looked at: a real file has fewer than a hundred
MAX_INDEX_BYTES = 32 << 20  # of an MP4's index: hours have a few megabytes
_ENCRYPTED_ENTRY = re.compile(rb"(enca|drms|aavd)\0{6}")  # its name, then six reserved bytes
_ASF_ENCRYPTION = (bytes.fromhex("fbb31122 23bdd211 b4b700a0 c955fc6e"),  # Content Encryption, and the extended one
                   bytes.fromhex("14e68a29 2226174c b935dae0 7ee9289c"))
_BOXES = frozenset((b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"sidx", b"moof", b"mfra",
                    b"uuid", b"meta", b"udta", b"emsg", b"prft", b"ssix", b"pdin"))
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"


@dataclass(frozen=True)
class Structure:
    """missing: bytes that the header promises beyond the file's end. endless: the header gives a length that stands
    for "not known", as recorders write that cannot go back. beyond: seconds of a WAV file that follow what its header
    promises and belong to no chunk. protected: the sound is encrypted (DRM)."""

    missing: int = 0
    endless: bool = False
    beyond: float = 0.0
    protected: bool = False


def structure(path: Path) -> Structure:
    """Read the sizes in the file's header. Raises OSError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(32)
        if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
            return _wav(file, size, ">" if head[:4] == b"RIFX" else "<")
        if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            return _ends(size, _riffs(file, size))
        if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
            promised = int.from_bytes(head[4:8], "big")
            return Structure(endless=True) if _is_unknown(promised) else _ends(size, [8 + promised])
        if head[:4] == b".snd":
            start, promised = struct.unpack(">II", head[4:12])
            return Structure(endless=True) if _is_unknown(promised) else _ends(size, [start + promised])
        if head[:4] == b"caff":
            return _ends(size, _caf_chunks(file, size))
        if head[:16] == _W64_RIFF:
            return _ends(size, [int.from_bytes(head[16:24], "little")])
        if head[:4] == b"\x1a\x45\xdf\xa3":
            return _ends(size, _segment(file))
        if head[:16] == _ASF_HEADER:
            return replace(_ends(size, _asf(file)), protected=_asf_is_protected(file))
        if head[4:8] in _BOXES:
            return replace(_ends(size, _boxes(file, size)), protected=_mp4_is_protected(file, size))
    return Structure()


def _ends(size: int, ends: list[int] | Iterator[int]) -> Structure:
    """ends: offsets at which elements of the file end."""
    missing = max(ends, default=0) - size
    return Structure(missing=missing if missing > 8 else 0)  # a byte of padding may be left out


def _is_unknown(length: int) -> bool:
    """Lengths that stand for "not known": nothing, or about 2 or 4 GiB, whatever a program adds for its header."""
    return length == 0 or 0x7F000000 <= length <= 0x80000200 or length >= 0xFFFF0000


def _wav(file: BinaryIO, size: int, order: str) -> Structure:
    position, bytes_per_second, is_long = 12, 0, False
    data_size: int | None = None
    long_size: int | None = None
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        header = file.read(8)
        if len(header) < 8:
            return Structure()
        name, length = header[:4], struct.unpack(f"{order}I", header[4:])[0]
        if name == b"ds64":
            long_size = int.from_bytes(file.read(16)[8:], "little")
        elif name == b"fmt ":
            bytes_per_second = struct.unpack(f"{order}I", file.read(12)[8:].ljust(4, b"\0"))[0]
        elif name == b"data":
            is_long = length == 0xFFFFFFFF and long_size is not None
            data_size = long_size if is_long else length
            break
        position += 8 + length + length % 2
    if data_size is None:
        return Structure()
    start = position + 8
    if not is_long and _is_unknown(data_size):
        return Structure(endless=size > start)
    if start + data_size > size + 8:
        return Structure(missing=start + data_size - size)
    beyond = min(_unclaimed(file, start + data_size + odd, size) for odd in {0, data_size % 2})
    return Structure(beyond=beyond / bytes_per_second if bytes_per_second else 0.0)


def _unclaimed(file: BinaryIO, position: int, size: int) -> int:
    """Bytes from `position` on that are not whole chunks with a printable name."""
    for _ in range(MAX_CHUNKS):
        if position + 8 > size:
            return max(0, size - position)
        file.seek(position)
        header = file.read(8)
        length = int.from_bytes(header[4:], "little")
        if not all(32 <= byte < 127 for byte in header[:4]) or position + 8 + length > size + 1:
            return size - position
        position += 8 + length + length % 2
    return 0


def _riffs(file: BinaryIO, size: int) -> Iterator[int]:
    """Ends of the RIFF lists of an AVI file, which has one for each gigabyte."""
    position = 0
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        header = file.read(8)
        length = int.from_bytes(header[4:], "little")
        if header[:4] != b"RIFF" or _is_unknown(length):
            return
        position += 8 + length + length % 2
        yield position - length % 2
        if position >= size:
            return


def _caf_chunks(file: BinaryIO, size: int) -> Iterator[int]:
    position = 8
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        header = file.read(12)
        if len(header) < 12:
            return
        length = int.from_bytes(header[4:], "big", signed=True)
        if length < 0:  # -1: up to the end
            return
        position += 12 + length
        yield position
        if position >= size:
            return


def _boxes(file: BinaryIO, size: int, wanted: bytes | None = None) -> Iterator[int]:
    """Ends of the outermost boxes of MP4 and QuickTime, or only of those of one name."""
    position = 0
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        header = file.read(16)
        length, name = int.from_bytes(header[:4], "big"), header[4:8]
        if name not in _BOXES or length == 0:  # 0: up to the end
            return
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        if length < 8:
            return
        position += length
        if wanted is None or name == wanted:
            yield position
        if position >= size:
            return


def _mp4_is_protected(file: BinaryIO, size: int) -> bool:
    """Whether an audio sample entry in the index is one of Common Encryption, iTunes or Audible."""
    for end in _boxes(file, size, b"moov"):
        file.seek(max(0, end - MAX_INDEX_BYTES))
        return _ENCRYPTED_ENTRY.search(file.read(MAX_INDEX_BYTES)) is not None
    return False


def _segment(file: BinaryIO) -> Iterator[int]:
    """The end of a Matroska file's segment, where it says."""
    file.seek(4)
    length = _ebml_number(file)
    if length is None:
        return
    file.seek(length, os.SEEK_CUR)
    if file.read(4) == b"\x18\x53\x80\x67":
        length = _ebml_number(file)
        if length is not None:
            yield file.tell() + length


def _ebml_number(file: BinaryIO) -> int | None:
    """EBML's variable-length integer (RFC 8794, section 4); None where all bits are set: not known."""
    first = file.read(1)
    if not first or first[0] == 0:
        return None
    n_bytes = 9 - first[0].bit_length()
    rest = file.read(n_bytes - 1)
    value = int.from_bytes(bytes([first[0] & (1 << (8 - n_bytes)) - 1]) + rest, "big")
    return None if value == (1 << 7 * n_bytes) - 1 else value


def _asf(file: BinaryIO) -> Iterator[int]:
    """The size that an ASF file's properties name, unless it was broadcast."""
    file.seek(0)
    header = file.read(1 << 16)
    at = header.find(_ASF_FILE_PROPERTIES)
    if at >= 0 and len(header) >= at + 92 and not header[at + 88] & 1:
        yield int.from_bytes(header[at + 40 : at + 48], "little")


def _asf_is_protected(file: BinaryIO) -> bool:
    file.seek(0)
    header = file.read(1 << 16)
    return any(name in header for name in _ASF_ENCRYPTION)
