"""What the bytes of a container promise: whether a file ends before its own header says, or goes on beyond it.

Enters: a path. Leaves: byte counts. Reads headers only, never sound. Knows nothing of ffmpeg. Of Ogg and AAC (ADTS),
which say nothing about their whole size, it is seen whether the last page or frame is whole. MP3, FLAC and MPEG-TS give
an empty answer; a length is compared elsewhere.
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
MAX_PAGE_BYTES = 27 + 255 + 255 * 255  # of Ogg
MAX_FRAME_BYTES = 1 << 13  # of ADTS
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
        return _ends(size, _last_piece(file, size, head), padding=0)


def _last_piece(file: BinaryIO, size: int, head: bytes) -> Iterator[int]:
    """The end of the last page or frame of a format that is a row of them."""
    if head[:4] == b"OggS":
        yield from _last_page(file, size)
    elif head[:1] == b"\xff" and head[1:2] and head[1] & 0xF6 == 0xF0:
        yield from _last_frame(file, size, head)


def _ends(size: int, ends: list[int] | Iterator[int], padding: int = 8) -> Structure:
    """ends: offsets at which elements of the file end. padding: bytes that may be left out."""
    missing = max(ends, default=0) - size
    return Structure(missing=missing if missing > padding else 0)


def _last_page(file: BinaryIO, size: int) -> Iterator[int]:
    """The end of an Ogg file's last page (RFC 3533, section 6): its lengths stand at its beginning."""
    start = max(0, size - MAX_PAGE_BYTES)
    file.seek(start)
    tail = file.read(MAX_PAGE_BYTES)
    at = tail.rfind(b"OggS\0")
    if at >= 0:
        n_segments = tail[at + 26] if at + 26 < len(tail) else 0
        yield start + at + 27 + n_segments + sum(tail[at + 27 : at + 27 + n_segments])


def _last_frame(file: BinaryIO, size: int, head: bytes) -> Iterator[int]:
    """The end of an ADTS file's last frame (ISO/IEC 13818-7, 6.2): each names its length, and so leads to the next.

    The chain is taken up near the file's end, at a frame that is followed by others of the same form.
    """
    start = max(0, size - 20 * MAX_FRAME_BYTES)
    file.seek(start)
    tail = file.read()

    def frame_ends(at: int) -> list[int]:
        ends = []
        while len(tail) - at >= 7 and tail[at : at + 2] == head[:2] and (tail[at + 2] ^ head[2]) & 0xFD == 0:
            length = (tail[at + 3] & 3) << 11 | tail[at + 4] << 3 | tail[at + 5] >> 5
            if length < 7:
                break
            at += length
            ends.append(at)
        return ends

    at = tail.find(head[:2])
    while 0 <= at < len(tail) - MAX_FRAME_BYTES or at == 0:
        ends = frame_ends(at)
        if len(ends) > 3:
            yield start + ends[-1]
            return
        at = tail.find(head[:2], at + 1)


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
