"""An archive in, a folder of its files out, unpacked once into the cache.

Reads .tar (gz, xz, bz2), .zip and Debian's .deb without help of a program. The folder appears whole or not at all,
and a member that would land outside of it is refused. Knows nothing of what the files mean.
"""

from __future__ import annotations

import functools
import hashlib
import io
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from shared.errors import UserError
from shared.system.cache import cache_folder, made_once

AR_MAGIC = b"!<arch>\n"
AR_HEADER = 60  # bytes: name 16, mtime 12, uid 6, gid 6, mode 8, size 10, end 2 (deb(5), ar(5))


def corpora_folder() -> Path:
    """Where packages and unpacked corpora are kept."""
    return cache_folder() / "corpora"


def sha256(path: Path) -> str:
    state = path.stat()
    return _sha256(path, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=256)  # a corpus may be one file of many gigabytes, asked for several times in a build
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpacked(archive: Path, digest: str, wanted: Callable[[str], bool] = lambda name: True) -> Path:
    """The folder with the archive's files for which `wanted(name)`; `digest` (SHA-256) names it in the cache.

    Raises UserError for a damaged archive or a full disk; then nothing is left behind.
    """
    def build(folder: Path) -> None:
        try:
            _unpack(archive, folder, wanted)
        except (tarfile.TarError, zipfile.BadZipFile, EOFError, lzma.LZMAError, zlib.error) as error:
            raise UserError("The archive is damaged", got=f"{archive.name} ({error})", hint="fetch it again") from None

    return made_once(f"corpus-{archive.name.split('.tar')[0].removesuffix('.zip')}-{digest[:16]}", build)


def _unpack(archive: Path, folder: Path, wanted: Callable[[str], bool]) -> None:
    with archive.open("rb") as file:
        start = file.read(8)
    if start == AR_MAGIC:
        with archive.open("rb") as file:
            _unpack_tar(_deb_data(file, archive.name), folder, wanted)
    elif zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as bundle:
            for member in bundle.infolist():  # ZipFile.extract drops leading slashes and `..` itself
                if not member.is_dir() and wanted(member.filename):
                    bundle.extract(member, folder)
    else:
        with archive.open("rb") as file:
            _unpack_tar(file, folder, wanted)


def _unpack_tar(file: io.BufferedIOBase, folder: Path, wanted: Callable[[str], bool]) -> None:
    with tarfile.open(fileobj=file, mode="r|*") as tar:
        for member in tar:
            member.name = member.name.removeprefix("./")
            if member.isfile() and wanted(member.name):
                _write(tar, member, folder)


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """One plain file into the folder, never beside it. Not `extract`, whose filter came with Python 3.11.4."""
    path = folder / member.name.lstrip("/")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise tarfile.TarError(f"{member.name} leads out of the archive")
    path.parent.mkdir(parents=True, exist_ok=True)
    content = tar.extractfile(member)
    assert content is not None  # only folders and devices have none
    with path.open("wb") as out:
        shutil.copyfileobj(content, out)
    if path.stat().st_size != member.size:
        raise tarfile.ReadError("unexpected end of data")


def _deb_data(file: io.BufferedIOBase, name: str) -> io.BufferedIOBase:
    """The member data.tar.* of a Debian package, positioned at its start."""
    file.seek(len(AR_MAGIC))
    while header := file.read(AR_HEADER):
        if len(header) < AR_HEADER or header[58:] != b"`\n":
            break
        member, size = header[:16].decode("ascii").strip().rstrip("/"), int(header[48:58])
        if member.startswith("data.tar"):
            if member.endswith(".zst"):
                raise UserError("The package is compressed with zstd, which Python 3.11 cannot read", got=name,
                                hint="unpack it with `dpkg -x` and read the folder")
            return file
        file.seek(size + size % 2, io.SEEK_CUR)  # members are padded to even sizes
    raise UserError("The Debian package is damaged", got=name, hint="fetch it again")
