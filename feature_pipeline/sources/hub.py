"""A speech data set on the Hub (or a local folder of Parquet files), streamed or downloaded, at a pinned revision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feature_pipeline.rows import SPLIT_NAMES, AudioRef, Row, stamp
from feature_pipeline.settings import Language, Many
from feature_pipeline.sources.tables import ID_COLUMNS, SPEAKER_COLUMNS, TEXT_COLUMNS, column, optional
from shared.errors import UserError
from shared.system.processes import own_memory_limit

READING_BYTES = 4 << 30  # beside what the program has: a row group of long recordings takes half of it


@dataclass(frozen=True)
class Hub:
    """A data set on the Hub."""

    repo: str  # user/name, or a local folder of Parquet files
    language: Language
    config: str | None = None  # the data set's configuration, such as sv_se
    revision: str | None = None  # a commit, a tag, or refs/convert/parquet for data sets made by a script
    splits: Many[str] = ("train", "validation", "test")  # as the data set calls them
    streaming: bool = False  # True: nothing is kept in the Hub cache; an interrupted listing reads from the start
    audio_column: str | None = None
    text_column: str | None = None
    speaker_column: str | None = None
    id_column: str | None = None

    def provenance(self) -> dict[str, object]:
        if Path(self.repo).is_dir():
            return {"repo": Path(self.repo).name}
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

        try:
            return {"repo": self.repo, "commit": HfApi().dataset_info(self.repo, revision=self.revision).sha}
        except (HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, OSError) as error:
            reason = str(error).strip().splitlines()[-1]
            raise UserError("The data set cannot be found on the Hub", got=f"{self.repo}: {reason}",
                            hint="check its name and revision; a private one needs `hf auth login`") from None

    def stamp(self) -> str:
        folder = Path(self.repo)
        return stamp(sorted(folder.rglob("*.parquet"))) if folder.is_dir() else ""

    def rows(self) -> Iterator[Row]:
        from datasets.exceptions import DatasetGenerationError
        from pyarrow import ArrowException

        with own_memory_limit(READING_BYTES):
            for split in self.splits:
                try:
                    yield from self._split_rows(split)
                except (DatasetGenerationError, ArrowException, MemoryError, OSError) as error:
                    raise _unreadable(f"{self.repo} ({split})", error) from error

    def _split_rows(self, split: str) -> Iterator[Row]:
        data, features = self._open(split)
        there, where = list(features), f"{self.repo} ({split})"
        audio = column(self.audio_column, _audio_columns(features), there, "audio", where)
        text = column(self.text_column, TEXT_COLUMNS, there, "text", where)
        speaker = optional(self.speaker_column, SPEAKER_COLUMNS, there, "speaker", where)
        name = optional(self.id_column, ID_COLUMNS, there, "id", where)
        for number, record in enumerate(data):
            sound = record[audio]
            path = Path(sound["path"]) if sound.get("path") else Path(f"{number}")
            yield Row(
                # FLEURS numbers sentences, not recordings, so the place in the split goes into the id as well.
                id=f"{split}-{number:07d}" + (f"-{record[name]}" if name else ""),
                audio=AudioRef(path.name, path=None if sound["bytes"] else path, data=sound["bytes"]),
                text=str(record[text] or ""), language=self.language,
                speaker=str(record[speaker]) if speaker and record[speaker] is not None else None,
                split=SPLIT_NAMES.get(split),
                extras={key: value for key, value in record.items()
                        if key not in (audio, text, speaker, name) and isinstance(value, (str, int, float))},
            )

    def _open(self, split: str) -> tuple[Any, dict[str, Any]]:
        from datasets import Audio, get_dataset_config_names, load_dataset
        from datasets.exceptions import DatasetNotFoundError
        from pyarrow import ArrowException

        try:
            data = load_dataset(self.repo, self.config, revision=self.revision, split=split, streaming=self.streaming)
        except DatasetNotFoundError as error:
            raise UserError("The data set cannot be found on the Hub", got=f"{self.repo}: {error}",
                            hint="check its name; a private one needs `hf auth login` or HF_TOKEN") from None
        except ArrowException:  # a kind of ValueError
            raise
        except ValueError as error:  # how `datasets` says that a split or configuration is unknown, with the known ones
            names = ", ".join(get_dataset_config_names(self.repo, revision=self.revision)[:20])
            raise UserError("The data set has no such split or configuration", got=f"{split}, {self.config}: {error}",
                            hint=f"set splits, or config to one of {names}") from None
        features = dict(data.features or {})
        if not features:
            raise UserError("The data set does not tell its columns", got=self.repo, hint="set streaming: false")
        for name in _audio_columns(features):
            data = data.cast_column(name, Audio(decode=False))
        return data, features


def _unreadable(where: str, error: BaseException) -> UserError:
    """What `datasets` or Arrow failed with, in words: the reason lies at the bottom of what they raised."""
    reason = error
    while (below := reason.__cause__ or reason.__context__) is not None:
        reason = below
    if isinstance(reason, MemoryError):
        return UserError("The data set takes more memory than clips do", got=where,
                         limit=f"{READING_BYTES / 1e9:.0f} GB for what is read at a time",
                         hint="publish it with the clips as encoded files, in smaller row groups")
    return UserError("The data set could not be read", got=f"{where}: {' '.join(str(reason).split())[:200]}",
                     hint="fetch it again; if it stays, a file of it is damaged")


def _audio_columns(features: dict[str, Any]) -> list[str]:
    """Columns of audio, whether declared so or stored as plain bytes and path."""
    from datasets import Audio

    return [name for name, kind in features.items()
            if isinstance(kind, Audio) or (isinstance(kind, dict) and {"bytes", "path"} == set(kind))]
