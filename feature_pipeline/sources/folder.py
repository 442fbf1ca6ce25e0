"""A folder of one's own recordings: with a table, with a .txt beside each clip, or long ones with subtitles.

A table is used if there is one: metadata.csv, .tsv, .jsonl in the folder or in folders below it, train.csv and
test.csv, or one under another name that has columns for audio and text. Else every audio file is a row with the text
beside it (.txt), or as many rows as its subtitles (.srt, .vtt) have cues, each cut out at its times.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from feature_pipeline.rows import SPLIT_NAMES, AudioRef, Row, stamp
from feature_pipeline.settings import Language
from feature_pipeline.sources.audio_files import AudioFiles
from feature_pipeline.sources.subtitles import cues
from feature_pipeline.sources.tables import Columns, Entry, Named, entry
from shared.audio import MEDIA_SUFFIXES
from shared.errors import UserError
from shared.tables import decoded, read_file

UNREAD_TABLES = (".xlsx", ".xls", ".ods", ".numbers", ".parquet", ".arrow", ".feather", ".textgrid", ".eaf", ".ass",
                 ".docx", ".xml", ".txt")  # that may hold the texts, where none is found
TABLE_SUFFIXES = (".csv", ".tsv", ".psv", ".jsonl", ".ndjson", ".json")
PEEK = 100  # rows from which the columns of a table are known: in JSON not every row has all


@dataclass(frozen=True)
class Folder:
    """One's own recordings."""

    path: str
    language: Language  # of rows that do not say their own in a column `language`
    table: str | None = None  # its name within the folder; None: found
    audio_column: str | None = None  # of the table; None: found
    text_column: str | None = None
    speaker_column: str | None = None
    speaker_from_folder: bool = False  # the folder a clip lies in names its speaker

    def provenance(self) -> dict[str, object]:
        return {}  # what was read is in the manifest's content hash

    def stamp(self) -> str:
        return stamp(path for path in sorted(self._root().rglob("*")) if path.is_file())

    def rows(self) -> Iterator[Row]:
        root = self._root()
        tables = self._tables(root)
        for table in tables:
            yield from self._from_table(root, table)
        if tables:
            return
        clips = _clips(root)
        if not clips:
            raise UserError("The folder holds no audio", got=root, hint="choose the folder with the recordings")
        if not any(clip.with_suffix(suffix).is_file() for clip in clips for suffix in (".txt", ".srt", ".vtt")):
            _refuse_unread_tables(root)
        for clip in clips:
            yield from self._from_neighbours(root, clip)

    def _root(self) -> Path:
        root = Path(self.path).expanduser()
        if not root.is_dir():
            raise UserError("There is no such folder", got=self.path, hint="correct the source's path")
        return root

    def _tables(self, root: Path) -> list[Path]:
        """The tables to read; none: the texts lie beside the clips. Raises UserError where it is not clear which."""
        if self.table is not None:
            if not (root / self.table).is_file():
                raise UserError("There is no such table", got=self.table,
                                hint=f"choose one of {_names(_all_tables(root))}")
            return [root / self.table]
        found = sorted(path for path in root.rglob("[mM][eE][tT][aA][dD][aA][tT][aA].*") if _is_table(path))
        homes = [path.parent for path in found]
        if len(set(homes)) < len(homes):
            raise UserError("A folder holds several tables", got=_names(found), hint="remove one, or set `table`")
        return found or self._other_tables(root)

    def _other_tables(self, root: Path) -> list[Path]:
        """Tables under another name, if they have the columns."""
        good, refusals = [], []
        for path in _all_tables(root):
            try:
                Columns.find(itertools.islice(read_file(path, self.language), PEEK), self._named(), path.name)
                good.append(path)
            except UserError as error:
                refusals.append(error)
        if len(good) > 1 and not all(_stem(path) in SPLIT_NAMES for path in good):
            raise UserError("The folder holds several tables", got=_names(good), hint="set `table` to one of them")
        if not good and refusals and not any(root.rglob("*.txt")) and not any(root.rglob("*.[sv][rt]t")):
            raise refusals[0]
        return good

    def _named(self) -> Named:
        return Named(self.audio_column, self.text_column, self.speaker_column)

    def _from_table(self, root: Path, table: Path) -> Iterator[Row]:
        records = read_file(table, self.language)
        first = list(itertools.islice(records, PEEK))
        if not first:
            raise UserError("The table has no row", got=table.name, hint="give it a line for each clip")
        columns = Columns.find(first, self._named(), table.relative_to(root).as_posix())
        files, split = AudioFiles(table.parent), SPLIT_NAMES.get(_stem(table))
        whole: dict[Path, Entry] = {}  # files that a row takes from beginning to end
        ids: dict[str, Path] = {}
        for record in itertools.chain(first, records):
            item = entry(record, columns)
            row = self._row(root, files, split, item)
            clip = row.audio.path
            assert clip is not None
            other = whole.setdefault(clip, item) if not item.start and item.end is None else item
            if other.text.strip() != item.text.strip():
                raise _two_texts(clip, other, item, columns)
            # An id that numbers sentences comes more than once; the file tells the rows apart.
            if item.id and ids.setdefault(item.id, clip) != clip:
                row = replace(row, id=f"{item.id}-{_id_of(clip, root)}")
            yield row

    def _row(self, root: Path, files: AudioFiles, split: str | None, item: Entry) -> Row:
        clip = files.find(item.audio, item.where)
        name = item.id or _id_of(clip, root) + (f"#{item.start:.3f}" if item.start or item.end else "")
        return Row(
            id=name, audio=AudioRef.file(clip, item.start, item.end), text=item.text,
            language=item.language or self.language, speaker=item.speaker or self._speaker_of(clip),
            split=item.split or split or SPLIT_NAMES.get(_split_of(clip, root)), extras=item.extras)

    def _from_neighbours(self, root: Path, clip: Path) -> Iterator[Row]:
        name, split, speaker = _id_of(clip, root), SPLIT_NAMES.get(_split_of(clip, root)), self._speaker_of(clip)
        for suffix in (".srt", ".vtt"):
            subtitles = clip.with_suffix(suffix)
            if subtitles.is_file():
                content = decoded(subtitles.read_bytes(), subtitles.name, self.language)
                for number, (start, end, text, voice) in enumerate(cues(content)):
                    yield Row(f"{name}#{number:05d}", AudioRef.file(clip, start, end), text, self.language,
                              voice or speaker, split)
                return
        beside = clip.with_suffix(".txt")
        text = decoded(beside.read_bytes(), beside.name, self.language).strip() if beside.is_file() else ""
        yield Row(name, AudioRef.file(clip), text, self.language, speaker, split)

    def _speaker_of(self, clip: Path) -> str | None:
        return clip.parent.name if self.speaker_from_folder else None


def _refuse_unread_tables(root: Path) -> None:
    """No clip has a text, but there is a table of a kind that is not read. Clips alone may be for transcribing."""
    near = [path for path in sorted(root.rglob("*")) if path.suffix.lower() in UNREAD_TABLES and path.is_file()]
    if near:
        raise UserError("No clip has a text: there is no table that is read here, and no .txt, .srt or .vtt of a "
                        "clip's name beside it", got=_names(near),
                        hint="save the table as metadata.csv (“CSV UTF-8”) with columns file_name and text")


def _two_texts(clip: Path, one: Entry, other: Entry, columns: Columns) -> UserError:
    """Rows that share a recording without saying which part is theirs: each text would label all of it."""
    texts = f"“{one.text.strip()[:40]}” ({one.where}) and “{other.text.strip()[:40]}” ({other.where})"
    told = f"; the column {columns.other_times} is not in seconds" if columns.other_times else ""
    return UserError("Two rows give one recording two texts", got=f"{clip.name}: {texts}{told}",
                     hint="say which part each is, in columns `offset` and `duration` in seconds, or remove one")


def _stem(table: Path) -> str:
    return table.name.lower().partition(".")[0]


def _clips(root: Path) -> list[Path]:
    return [path for path in sorted(root.rglob("*")) if path.suffix.lower() in MEDIA_SUFFIXES and path.is_file()]


def _is_table(path: Path) -> bool:
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    kind = suffixes[0] if suffixes[-1:] == [".gz"] else suffixes[-1] if suffixes else ""
    return kind in TABLE_SUFFIXES and path.is_file() and not path.name.endswith(".verdicts.csv")


def _all_tables(root: Path) -> list[Path]:
    """The tables in the folder itself that are not the neighbour of a clip."""
    clips = {path.stem for path in root.iterdir() if path.suffix.lower() in MEDIA_SUFFIXES}
    return [path for path in sorted(root.iterdir())
            if _is_table(path) and clips.isdisjoint((path.stem, path.name.partition(".")[0]))]


def _names(paths: list[Path]) -> str:
    return ", ".join(path.name for path in paths[:10]) or "none there"


def _id_of(clip: Path, root: Path) -> str:
    return clip.relative_to(root).as_posix() if clip.is_relative_to(root) else clip.as_posix()


def _split_of(clip: Path, root: Path) -> str:
    """The name of the topmost folder below the root, if it is a split's."""
    first = clip.relative_to(root).parts[0].lower() if clip.is_relative_to(root) else ""
    return first if first in SPLIT_NAMES else ""
