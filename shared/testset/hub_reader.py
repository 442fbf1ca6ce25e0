"""Clips with references from a data set on the Hugging Face Hub, row by row, without downloading it whole.

Enters: owner/name and what to take of it. Leaves: a ClipSet. Only Parquet files that the Hub lists for that repository
at that commit are read; no address and no path that the data set's card or its rows name is ever opened. The library
`datasets` is not used on purpose: it follows the card's `data_files`, which may name any address.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
from huggingface_hub import HfApi, HfFileSystem
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

from shared.errors import UserError
from shared.testset.clips import (
    AUDIO_COLUMNS,
    MAX_CLIP_BYTES,
    TEXT_COLUMNS,
    Clip,
    ClipSet,
    audio_suffix,
    find_column,
    some,
)
from shared.testset.parquet_rows import MEMORY_BYTES, Cell, Damaged, ParquetRows, TooMuchMemory, parquet_rows

CONVERTED = "refs/convert/parquet"  # the branch on which the Hub keeps a Parquet copy of most data sets
# Encoded audio hardly compresses, and silence in WAV by 200 times at most of what is here: more is a trap.
MAX_RATIO, MAX_UNPACKED_BYTES = 100, 300_000_000
MAX_GROUP_BYTES = 4_000_000_000  # of one row group's wanted columns
CONNECT_SECONDS, ANSWER_SECONDS = 3.0, 30.0
_BROKEN = (OSError, ValueError, httpx2.HTTPError, HfHubHTTPError, Damaged)
_ID_COLUMNS = ("id", "path", "file", "file_name")
# Names of splits as they occur in file names: https://huggingface.co/docs/hub/datasets-file-names-and-splits
_SPLITS = {"train": "train", "training": "train", "validation": "validation", "valid": "validation",
           "val": "validation", "dev": "validation", "test": "test", "testing": "test", "eval": "test",
           "evaluation": "test"}


@dataclass(frozen=True)
class _Repository:
    """A data set's repository at a commit. files: what the Hub lists."""

    name: str
    commit: str
    files: tuple[str, ...]
    card: Mapping[str, Any]
    token: bool | None


def hub_clips(
    name: str,
    *,
    config: str | None = None,
    split: str = "test",
    columns: tuple[str | None, str | None] = (None, None),
    max_rows: int = 500,
    revision: str | None = None,
    token: bool | None = None,
) -> ClipSet:
    """The first `max_rows` rows of a split, read as they are needed.

    Args:
        name: owner/name on the Hub.
        config: one of the data set's configs (subsets); may be left out where there is one only.
        split: as the data set calls it.
        columns: names of the audio and of the text column; None finds it by its usual names.
        max_rows: rows at most.
        revision: a commit or branch; None is the main branch, or the Hub's Parquet copy where that holds no Parquet.
        token: None uses the machine's own Hub token if there is one, False never does: for names that visitors give.

    Returns:
        The clips, read while they are iterated over; `n_clips` is None.

    Raises:
        UserError: not a data set's name, none such or not allowed, unknown config, split or column (naming those
            there are), no Parquet files, files that unpack to far more than audio does.
    """
    _check_name(name)
    repository, paths = _found(name, config, split, revision, token)
    reader = _Reader(repository, paths, columns)
    n_rows = reader.n_rows if len(paths) == 1 else None
    origin = "/".join(part for part in (name, config, split) if part) + (f"@{revision}" if revision else "")
    return ClipSet(origin, reader.clips(max_rows), min(n_rows, max_rows) if n_rows is not None else None)


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name, re.ASCII):
        raise UserError("This is not the name of a Hub data set", got=name[:80],
                        hint="write it as owner/name, as in google/fleurs")


# which files


def _found(name: str, config: str | None, split: str, revision: str | None, token: bool | None
           ) -> tuple[_Repository, list[str]]:
    """The repository at its commit, and the Parquet files of the part asked for."""
    for place in [revision] if revision else [None, CONVERTED]:
        try:
            repository = _opened(name, place, token)
        except RevisionNotFoundError as error:
            if place == CONVERTED:
                break
            raise UserError("The data set has no such revision", got=f"{name}@{revision}",
                            hint="look the commit up on the data set's page") from error
        parts = _parts(repository)
        if parts:
            return repository, _chosen(name, parts, config, split)
    raise UserError("The data set is not kept in a form that can be read without running code", got=name,
                    hint="publish it as Parquet, or send the clips as a zip")


def _opened(name: str, revision: str | None, token: bool | None) -> _Repository:
    try:
        info = HfApi().dataset_info(name, revision=revision, token=token,
                                    timeout=httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS))  # type: ignore[arg-type]
    except RevisionNotFoundError:
        raise
    except GatedRepoError as error:
        raise UserError("This data set is gated", got=name, hint="accept its terms on the Hub and set HF_TOKEN, or "
                        "send the clips as a zip") from error
    except RepositoryNotFoundError as error:
        hint = "check the name; a private or gated one cannot be read here" if token is False else (
            "check the name; for a private or gated one set HF_TOKEN")
        raise UserError("There is no such data set, or it may not be read", got=name, hint=hint) from error
    except _BROKEN as error:
        raise UserError("The Hub could not be reached, or does not let this data set be read", got=name,
                        hint="check the network and the name") from error
    card = info.card_data.to_dict() if info.card_data else {}
    files = tuple(sibling.rfilename for sibling in info.siblings or ())
    return _Repository(name, str(info.sha), files, card, token)


def _parts(repository: _Repository) -> dict[str, dict[str, list[str]]]:
    """Parquet files by config and split: as the card says, else by their names."""
    files = sorted(path for path in repository.files if path.endswith(".parquet"))
    declared = repository.card.get("configs")
    parts = {}
    for config in declared if isinstance(declared, list) else ():
        if isinstance(config, dict) and isinstance(config.get("config_name"), str):
            parts[config["config_name"]] = _declared(config, files)
    parts = {config: splits for config, splits in parts.items() if splits}
    return parts or _by_name(files)


def _declared(config: Mapping[str, Any], files: Sequence[str]) -> dict[str, list[str]]:
    """The files that a config of the card means. Its patterns choose among the listed files; nothing else is opened."""
    data_files, folder = config.get("data_files"), str(config.get("data_dir") or "").strip("./")
    if data_files is None:
        inside = [path for path in files if not folder or path.startswith(f"{folder}/")]
        return _splits_of(inside)
    entries = data_files if isinstance(data_files, list) else [data_files]
    splits: dict[str, list[str]] = {}
    for entry in entries:
        split, patterns = ("train", entry) if isinstance(entry, str) else (
            (str(entry.get("split", "train")), entry.get("path")) if isinstance(entry, dict) else ("train", None))
        for pattern in patterns if isinstance(patterns, list) else [patterns]:
            if isinstance(pattern, str):
                wanted = "/".join(filter(None, (folder, pattern.removeprefix("./"))))
                splits.setdefault(split, []).extend(path for path in files if _matches(path, wanted))
    return {split: list(dict.fromkeys(paths)) for split, paths in splits.items() if paths}


def _matches(path: str, pattern: str) -> bool:
    """`*` stays within a folder, `**` does not."""
    expression = "".join(
        {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(part, "") or (
            fnmatch.translate(part).removeprefix("(?s:").removesuffix(r")\Z") if part.startswith("[") else
            re.escape(part)) for part in re.split(r"(\*\*/|\*\*|\*|\?|\[[^]/]*\])", pattern) if part)
    return re.fullmatch(expression, path) is not None


def _by_name(files: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """CONFIG/SPLIT/0000.parquet as on the converted branch, CONFIG/SPLIT-00000-of-00001.parquet, data/SPLIT-…"""
    splits = {path: _split_of(path) for path in files}
    if not any(splits.values()):
        return {"default": {"train": list(files)}} if files else {}
    parts: dict[str, dict[str, list[str]]] = {}
    for path, split in splits.items():
        if split is not None:
            folders = [part for part in path.split("/")[:-1]
                       if part != "data" and part.removeprefix("partial-") != split]
            parts.setdefault("/".join(folders) or "default", {}).setdefault(split, []).append(path)
    return parts


def _splits_of(files: Sequence[str]) -> dict[str, list[str]]:
    splits: dict[str, list[str]] = {}
    for path in files:
        splits.setdefault(_split_of(path) or "train", []).append(path)
    return splits


def _split_of(path: str) -> str | None:
    *folders, file = path.split("/")
    sharded = re.match(r"(\w+)-\d{5}-of-\d{5}", file)
    if sharded:
        return _SPLITS.get(sharded[1].lower(), sharded[1])
    for part in (file.removesuffix(".parquet"), *(folder.removeprefix("partial-") for folder in reversed(folders))):
        for word in re.split(r"[^a-z0-9]+", part.lower()):
            if word in _SPLITS:
                return _SPLITS[word]
    if re.fullmatch(r"\d+\.parquet", file) and folders:  # a split of its own name on the converted branch
        return folders[-1].removeprefix("partial-")
    return None


def _chosen(name: str, parts: Mapping[str, Mapping[str, list[str]]], config: str | None, split: str) -> list[str]:
    if config is None and len(parts) > 1 and "default" not in parts:
        raise UserError("The data set has several configs, and none was named", got=name, limit=some(sorted(parts), 12),
                        hint="name one of them")
    chosen = config or ("default" if "default" in parts else next(iter(parts)))
    if chosen not in parts:
        raise UserError("The data set has no such config", got=f"{name}, {chosen}", limit=some(sorted(parts), 12),
                        hint="choose another config")
    if split not in parts[chosen]:
        raise UserError("The data set has no such split", got=f"{name}, {split}",
                        limit=f"Available splits: {some(sorted(parts[chosen]), 12)}", hint="choose another split")
    return parts[chosen][split]


# which rows


class _Reader:
    """Rows of some Parquet files of one repository, a few at a time."""

    def __init__(self, repository: _Repository, paths: Sequence[str], columns: tuple[str | None, str | None]) -> None:
        """Looks at the first file: an unknown column is reported before any clip is read. Raises UserError."""
        self._repository, self._paths = repository, paths
        self._files = HfFileSystem(token=repository.token, use_listings_cache=False)
        with self._parquet(paths[0]) as first:
            names = first.names
            self._audio = find_column(names, AUDIO_COLUMNS, columns[0], "audio")
            self._text = find_column(names, TEXT_COLUMNS, columns[1], "reference")
            self._id = next((column for column in _ID_COLUMNS if column in names and column != self._audio), None)
            self._wanted = list(dict.fromkeys(filter(None, (self._audio, self._text, self._id))))
            self.n_rows: int = first.n_rows
            if not self.n_rows and len(paths) == 1:
                raise UserError("The split is empty", got=repository.name, hint="choose another split")
            self._check(first, paths[0])

    def clips(self, max_rows: int) -> Iterator[Clip]:
        """Raises UserError where a file is damaged or the connection breaks off; what came before it is good."""
        number = 0
        for path in self._paths:
            with self._parquet(path) as file:
                self._check(file, path)
                if missing := [column for column in self._wanted if column not in file.names]:
                    raise UserError("A file of the data set has other columns than its first", got=path,
                                    limit=some(missing), hint="publish it with the same columns in every file")
                for given, row in file.rows(self._audio, self._wanted[1:]):
                    if number >= max_rows:
                        return
                    yield self._clip(given, row, number)
                    number += 1

    def _clip(self, given: Cell, row: Mapping[str, Any], number: int) -> Clip:
        named = row.get(self._id) if self._id else None
        title = given.path if named is None else str(named)
        reference = given.path if self._text == self._audio else str(row[self._text] or "")
        return Clip(os.path.basename(title) or f"row {number}", reference.strip(),
                    lambda: self._bytes(given), audio_suffix(given.path))

    @contextlib.contextmanager
    def _parquet(self, path: str) -> Iterator[ParquetRows]:
        place = f"datasets/{self._repository.name}@{self._repository.commit}/{path}"
        try:
            with self._files.open(place, "rb", block_size=1 << 20) as file, \
                    parquet_rows(file, file.size, MAX_CLIP_BYTES) as rows:
                yield rows
        except TooMuchMemory as error:
            raise UserError("A file of the data set unpacks to far more than audio does", got=path,
                            limit=f"{MEMORY_BYTES / 1e6:.0f} MB at a time",
                            hint="publish it with the clips as encoded files, in smaller row groups") from error
        except _BROKEN as error:
            raise self._broken_off(path) from error

    def _check(self, file: ParquetRows, path: str) -> None:
        """Refuse what unpacks to far more than it takes, from the file's own list of its parts."""
        for group in file.groups:
            packed, unpacked = (sum(sizes[i] for name, sizes in group.items() if name in self._wanted) for i in (0, 1))
            swells = unpacked > MAX_UNPACKED_BYTES and unpacked > MAX_RATIO * max(packed, 1)
            if swells or unpacked > MAX_GROUP_BYTES:
                raise UserError("A file of the data set unpacks to far more than audio does",
                                got=f"{path}: {packed / 1e6:.1f} MB become {unpacked / 1e6:.0f} MB",
                                limit=f"{MAX_RATIO} times, or {MAX_UNPACKED_BYTES / 1e6:.0f} MB",
                                hint="publish it with the clips as encoded files, in smaller row groups")

    def _bytes(self, given: Cell) -> bytes:
        """The encoded audio of a cell: {'bytes', 'path'}, where the path may be a file that the Hub lists only."""
        data = given.data if given.data is not None else self._listed(given)
        if len(data) > MAX_CLIP_BYTES:
            raise UserError("The clip is too large", got=f"over {MAX_CLIP_BYTES / 1e6:.0f} MB",
                            limit=f"{MAX_CLIP_BYTES / 1e6:.0f} MB", hint="leave it out")
        return data

    def _listed(self, given: Cell) -> bytes:
        inside = re.sub(rf"^hf://datasets/{re.escape(self._repository.name)}@[^/]+/", "", given.path)
        if inside not in self._repository.files:
            raise UserError("The row holds no audio", got=given.kind, hint="name another audio column")
        place = f"datasets/{self._repository.name}@{self._repository.commit}/{inside}"
        try:
            with self._files.open(place, "rb") as file:
                return file.read(MAX_CLIP_BYTES + 1)
        except _BROKEN as error:
            raise self._broken_off(inside) from error

    def _broken_off(self, path: str) -> UserError:
        return UserError("Reading the data set from the Hub broke off", got=f"{self._repository.name}, {path}",
                         hint="try again; if it stays, the file is damaged or is not Parquet")
