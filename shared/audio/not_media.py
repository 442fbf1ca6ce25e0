"""What a file is that is no recording, by its first bytes, so that the message names the right fault.

Enters: a path. Leaves: what it is and what to do. A download that failed leaves a web page under the recording's name;
a repository without its large files, a pointer.
"""

from __future__ import annotations

import re
from pathlib import Path

HEAD_BYTES = 4096
AGAIN, SOUND = "fetch or export it again", "send the sound itself"
# First bytes, what they stand for, what to do.
_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself", "run `git lfs pull` where it came from"),
    (b"/annex/objects/", "a pointer of git-annex, not the file itself", "run `git annex get` where it came from"),
    (b"bplist00", "a placeholder of a cloud drive or a property list", "have the drive fetch the file, then try again"),
    (b"%PDF-", "a PDF document", SOUND),
    (b"PK\3\4", "a zip archive or an Office document", "unpack it and send the recording in it"),
    (b"Rar!", "a RAR archive", "unpack it and send the recording in it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it and send the recording in it"),
    (b"\x1f\x8b", "a gzip archive", "unpack it and send the recording in it"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document", SOUND),
    (b"\x89PNG", "a picture", SOUND), (b"\xff\xd8\xff", "a picture", SOUND), (b"GIF8", "a picture", SOUND),
    (b"MThd", "notes (MIDI), not sound", "render it to sound first"),
    (b"d8:announce", "a torrent, not the file itself", AGAIN), (b"L\0\0\0\1\x14\2\0", "a shortcut to a file", SOUND),
    (b"[InternetShortcut]", "a shortcut to an address", "send the recording, or give its address"),
    (b"\x93NUMPY", "a NumPy array", "save the sound as WAV or FLAC"),
    (b"SQLite format 3", "a database", SOUND),
)


def what_it_is(path: Path) -> tuple[str, str] | None:
    """What a file that cannot be decoded is, and what to do about it; None where it may be damaged sound."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        is_blank = not head.strip(b"\0")
        while is_blank and (block := file.read(1 << 20)):
            is_blank = not block.strip(b"\0")
    if is_blank:
        return "nothing but zeros: copying or fetching it did not finish", AGAIN
    found = next(((what, hint) for start, what, hint in _SIGNATURES if head.startswith(start)), None)
    if found is not None:
        return found
    if head[257:262] == b"ustar":
        return "a tar archive", "unpack it and send the recording in it"
    return _text(head)


def _text(head: bytes) -> tuple[str, str] | None:
    if b"\0" in head or re.search(rb"[\x01-\x08\x0e-\x1a]", head):
        return None
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if re.match(rb"<(!doctype html|html|head|body|!--)", start):
        return "a web page", "fetch it again: its address gave a page in place of the sound"
    if re.match(rb"<(\?xml|error)", start):
        return "XML", "fetch it again: its address gave a message in place of the sound"
    if re.match(rb'[{\[]\s*["{\[}\]]', start):
        return "JSON", "fetch it again: its address gave a message in place of the sound"
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # else a letter that goes on behind what was read
            return None
    return "text", SOUND
