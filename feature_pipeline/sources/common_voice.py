"""A Common Voice release: the folder, the .tar.gz as downloaded, or its id at Mozilla Data Collective.

Layout: `<release>/<locale>/clips/*.mp3` beside train.tsv, dev.tsv, test.tsv, validated.tsv; spontaneous speech is one
ss-corpus-<locale>.tsv with the split in a column. A re-upload of the audio
is forbidden by its terms; what is built from it is for one's own training.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from feature_pipeline.archives import corpora_folder, sha256, unpacked
from feature_pipeline.rows import SPLIT_NAMES, AudioRef, Row, stamp
from feature_pipeline.settings import Language, Many
from feature_pipeline.sources.audio_files import AudioFiles
from feature_pipeline.sources.tables import Columns, Named, entry
from shared.audio import MEDIA_SUFFIXES
from shared.errors import UserError
from shared.tables import Record, read_file

KEY = "MDC_API_KEY"  # the name Mozilla Data Collective's own client reads


@dataclass(frozen=True)
class CommonVoice:
    """A Common Voice release."""

    language: Language  # ISO 639-1
    path: str | None = None  # folder or .tar.gz
    dataset: str | None = None  # id at Mozilla Data Collective, instead of a path; needs MDC_API_KEY
    locale: str | None = None  # Common Voice's own code, such as sv-SE; None: the only one there is
    files: Many[str] = ("train", "dev", "test")  # also validated, other: what is in no other file is train
    min_up_votes: int = 0
    max_down_votes: int = 1_000_000

    def __post_init__(self) -> None:
        if (self.path is None) == (self.dataset is None):
            raise UserError("Common Voice needs either a path or a data set id", hint="set one of path, dataset")

    def provenance(self) -> dict[str, object]:
        path = self._path()
        return {"archive": path.name, "archive_sha256": sha256(path)} if path.is_file() else {"release": path.name}

    def stamp(self) -> str:
        path = self._path()
        return stamp([path] if path.is_file() else sorted(path.rglob("*.tsv")))

    def rows(self) -> Iterator[Row]:
        home = self._locale_folder()
        files = AudioFiles(_clips_folder(home))
        seen: set[Path] = set()
        for table, split in self._tables(home):
            records = read_file(table, self.language)
            first = list(itertools.islice(records, 1))
            columns = Columns.find(first, Named(), table.name) if first else Columns("", "")
            for record in itertools.chain(first, records):
                item = entry(record, columns)
                clip = files.find(item.audio if Path(item.audio).suffix else f"{item.audio}.mp3", item.where)
                if clip in seen or not self._voted_for(record):
                    continue
                seen.add(clip)
                yield Row(
                    id=clip.stem, audio=AudioRef.file(clip), text=item.text, language=self.language,
                    speaker=_pseudonym(item.speaker), split=item.split or split,
                    extras={key: value for key, value in item.extras.items() if value})

    def _tables(self, home: Path) -> Iterator[tuple[Path, str | None]]:
        """The tables with their splits; spontaneous speech comes as one table, with a column for the split."""
        spontaneous = sorted(home.glob("ss-corpus-*.tsv"))
        if spontaneous and not (home / "train.tsv").is_file():
            yield from ((table, None) for table in spontaneous)
            return
        official = [name for name in self.files if name in SPLIT_NAMES]
        for name in [*official, *(name for name in self.files if name not in SPLIT_NAMES)]:
            table = home / f"{name}.tsv"
            if not table.is_file():
                raise UserError("The release lacks a table", got=table.name,
                                hint=f"files: may name {', '.join(sorted(path.stem for path in home.glob('*.tsv')))}")
            yield table, SPLIT_NAMES.get(name, "train")

    def _voted_for(self, record: Record) -> bool:
        up, down = record.number("up_votes"), record.number("down_votes")
        return (up or 0) >= self.min_up_votes and (down or 0) <= self.max_down_votes

    def _path(self) -> Path:
        path = Path(self.path).expanduser() if self.path else _download(self.dataset)
        if not path.exists():
            raise UserError("There is no such release", got=self.path, hint="correct the source's path")
        return path

    def _locale_folder(self) -> Path:
        path = self._path()
        if path.is_file():
            path = unpacked(path, sha256(path), lambda name: Path(name).suffix.lower() in (".tsv", *MEDIA_SUFFIXES))
        homes = sorted({table.parent for table in path.rglob("*.tsv")})
        wanted = [home for home in homes if self.locale in (None, home.name)]
        if len(wanted) != 1:
            raise UserError("The release has no such locale" if not wanted else "The release holds several locales",
                            got=self.locale,
                            hint=f"set locale to one of: {', '.join(home.name for home in homes) or 'none there'}")
        return wanted[0]


def _clips_folder(home: Path) -> Path:
    """Where a locale's audio lies: `clips`, in spontaneous speech `audios`, else beside the tables."""
    return next((home / name for name in ("clips", "audios") if (home / name).is_dir()), home)


def _pseudonym(client_id: str | None) -> str | None:
    """Shorter than the published id and not the same: enough to keep a voice on one side of a split."""
    return hashlib.blake2b(client_id.encode(), digest_size=8).hexdigest() if client_id else None


@functools.cache
def _download(dataset: str) -> Path:
    if not os.environ.get(KEY):
        raise UserError("Mozilla Data Collective asks for a key", got=f"{KEY} is not set",
                        hint=f"make one at mozilladatacollective.com and set {KEY}, or download the archive, set path")
    try:
        from datacollective import download_dataset
    except ImportError:
        raise UserError("The client of Mozilla Data Collective is not installed", got="no package datacollective",
                        hint="pip install datacollective, or download the archive and set path") from None
    folder = corpora_folder() / "mdc"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return Path(download_dataset(dataset, download_directory=str(folder)))
    except (OSError, RuntimeError, ValueError) as error:  # what the client documents; network errors are OSError
        raise UserError("Mozilla Data Collective did not give the data set", got=f"{dataset}: {error}",
                        hint="check the id, accept its terms on the web page, or set path") from None
