"""Model files from the Hugging Face Hub: only those needed, at a pinned commit, with an answer when it fails.

The door to huggingface_hub for reading. Enters: an id and a revision. Leaves: a local folder of that commit.
Knows nothing of what is in the files.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import HfApi, get_token, snapshot_download, try_to_load_from_cache
from huggingface_hub.constants import HF_HUB_CACHE
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import tqdm

from shared.checkpoint.identity import COMMIT
from shared.checkpoint.weights import check_one_kind, header
from shared.errors import UserError

# Connecting takes well under a second on a working line; without one, this is how long a person waits for the answer.
CONNECT_SECONDS, ANSWER_SECONDS = 1.5, 15.0
SMALL_FILES = (
    "config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json", "tokenizer.json",
    "tokenizer_config.json", "vocab.json", "merges.txt", "normalizer.json", "added_tokens.json",
    "special_tokens_map.json", "vocabulary.json", "vocabulary.txt", "adapter_config.json", "run.json",
    "README.md",
)
NOT_PUBLIC = "the app's own token is used only for what its owner lists in ALLOWED_CHECKPOINTS"
Progress = Callable[[float, str], None]  # (fraction 0 … 1, what is going on)


@dataclass(frozen=True)
class Snapshot:
    """A commit's files on this machine."""

    folder: Path
    commit: str


def fetch(model_id: str, revision: str | None, progress: Progress | None = None, max_bytes: int | None = None,
          token: bool | str = True, cache: Path | None = None) -> Snapshot:
    """Download what Whisper needs of a model repository, or find it in the Hub cache.

    A pinned commit that is complete in the cache asks no network for anything.

    Args:
        model_id: "owner/name". revision: a commit, branch or tag; None for the main branch.
        progress: called with (fraction, message) while downloading.
        max_bytes: refuse more than this, also when it is in the cache already.
        token: False for what a visitor named: nothing is then read with this machine's token, nor from a cache that the
            token may have filled, before the Hub has shown the repository to a stranger. A text: that token, a
            visitor's; this machine's is not used.
        cache: the folder of the Hub's cache, None for the one that all share. With a visitor's token one of its own.

    Raises:
        UserError: no such model, private or gated without a token, no such revision, no weights in safetensors, too
            large, no network.
    """
    assert not isinstance(token, str) or cache is not None, "what a visitor's token reads is not for others"
    may_use_cache = cache is not None or token is True or get_token() is None
    if may_use_cache and revision and COMMIT.fullmatch(revision):
        cached = _cached(model_id, revision, cache)
        if cached is not None:
            return _small_enough(cached, max_bytes)
    try:
        info = HfApi().model_info(
            model_id, revision=revision, files_metadata=True, token=None if token is True else token,
            timeout=httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),  # type: ignore[arg-type]  # takes it
        )
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise _explained(error, model_id, revision, token) from error
    except (httpx2.HTTPError, HfHubHTTPError, OSError) as error:
        _check_sign_in(error, model_id, token)
        cached = _cached(model_id, revision or "main", cache) if may_use_cache else None
        if cached is not None:
            return _small_enough(cached, max_bytes)
        raise _unreachable(model_id, error) from error
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    names = _needed(model_id, set(sizes))
    total = sum(sizes[name] for name in names)
    _check_size(total, max_bytes)
    here = try_to_load_from_cache(model_id, names[0], cache_dir=cache, revision=info.sha)
    if isinstance(here, str):
        _dropped(Path(here).parent, names)
    try:
        folder = snapshot_download(model_id, revision=info.sha, allow_patterns=names,
                                   token=None if token is True else token, cache_dir=cache,
                                   tqdm_class=_reporting(progress, model_id, total))
    except (httpx2.HTTPError, HfHubHTTPError, OSError) as error:
        raise _unwritable(error) or _unreachable(model_id, error) from error
    return Snapshot(Path(folder), info.sha or Path(folder).name)


def _check_size(n_bytes: int, max_bytes: int | None) -> None:
    if max_bytes is not None and n_bytes > max_bytes:
        raise UserError("This checkpoint is too large for this app", got=f"{n_bytes / 1e9:.1f} GB",
                        limit=f"{max_bytes / 1e9:.1f} GB", hint="choose a smaller one")


def _small_enough(snapshot: Snapshot, max_bytes: int | None) -> Snapshot:
    names = _needed(snapshot.commit, {path.name for path in snapshot.folder.iterdir()})
    _check_size(sum((snapshot.folder / name).stat().st_size for name in names), max_bytes)
    return snapshot


def _cached(model_id: str, revision: str, cache: Path | None) -> Snapshot | None:
    # Not snapshot_download(local_files_only=True): it wants every file of the commit, pickled weights too.
    try:
        config = next(found for name in ("config.json", "adapter_config.json")
                      if isinstance(found := try_to_load_from_cache(model_id, name, cache_dir=cache, revision=revision),
                                    str))
    except (StopIteration, HFValidationError):
        return None
    folder = Path(config).parent
    try:
        names = _needed(model_id, {path.name for path in folder.iterdir()})
    except UserError:  # an interrupted download: the weights are not there yet
        return None
    shards = [name for name in names if name.endswith(".index.json")]
    if shards and not _shards_complete(folder, shards[0]):
        return None
    return None if _dropped(folder, names) else Snapshot(folder, folder.name)


def _dropped(folder: Path, names: Sequence[str]) -> bool:
    """Remove the files of a snapshot that are cut off, which the Hub's client would take for whole; whether any was."""
    broken = [path for name in names if (path := folder / name).exists() and _is_broken(path)]
    for path in broken:
        with contextlib.suppress(OSError):
            path.resolve().unlink(missing_ok=True)
            path.unlink(missing_ok=True)
    return bool(broken)


def _is_broken(path: Path) -> bool:
    """Whether a file of the Hub's cache is cut off: the disk was full, or the power went."""
    try:
        if path.suffix == ".safetensors":
            header(path)
        elif path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8-sig"))
    except (UserError, ValueError, OSError):
        return True
    return False


def _shards_complete(folder: Path, index: str) -> bool:
    wanted = set(re.findall(r'"([^"]+\.(?:safetensors|bin))"', (folder / index).read_text(encoding="utf-8")))
    return all((folder / name).is_file() for name in wanted)


def _needed(model_id: str, names: set[str]) -> list[str]:
    """The files to fetch: the small ones, and one form of the weights."""
    check_one_kind(model_id, names)
    small = [name for name in SMALL_FILES if name in names]
    if "adapter_model.safetensors" in names:
        return [*small, "adapter_model.safetensors"]
    if "model.safetensors" in names:
        return [*small, "model.safetensors"]
    if "model.safetensors.index.json" in names:
        shards = sorted(name for name in names if re.fullmatch(r"model-\d+-of-\d+\.safetensors", name))
        return [*small, "model.safetensors.index.json", *shards]
    for other in ("model.bin", "pytorch_model.bin"):  # CTranslate2's form; an older checkpoint (`from_pickle`)
        if other in names:
            return [*small, other]
    if "pytorch_model.bin.index.json" in names:
        parts = sorted(name for name in names if re.fullmatch(r"pytorch_model-\d+-of-\d+\.bin", name))
        return [*small, "pytorch_model.bin.index.json", *parts]
    others = sorted(name for name in names if name.endswith((".bin", ".pt", ".msgpack", ".h5", ".gguf", ".onnx")))
    raise UserError("The checkpoint has no weights in safetensors",
                    got=f"{model_id}: {', '.join(others[:3]) or 'none'}",
                    hint="publish it as model.safetensors; pickled weights can run code and are not loaded")


def _explained(error: Exception, model_id: str, revision: str | None, token: bool | str) -> UserError:
    if isinstance(token, str) and isinstance(error, GatedRepoError | RepositoryNotFoundError):
        return UserError("There is no such model on the Hub, or your account may not read it", got=model_id,
                         hint="check the id, and on the Hub whether your account has access")
    if not token and isinstance(error, GatedRepoError | RepositoryNotFoundError):
        return UserError("There is no such model, or it is not public", got=model_id,
                         hint="check the id; " + NOT_PUBLIC)
    if isinstance(error, GatedRepoError):
        return UserError("This model is gated", got=model_id,
                         hint="accept its terms on the Hub, then set HF_TOKEN or run `hf auth login`")
    if isinstance(error, RevisionNotFoundError):
        return UserError("The model has no such revision", got=f"{model_id}@{revision}",
                         hint="look the commit up on the model's page")
    if isinstance(error, HFValidationError):
        return UserError("This is not a model id", got=model_id, hint="write it as owner/name")
    if get_token() is None:
        return UserError("There is no such model on the Hub or folder here, or it is private", got=model_id,
                         hint="check the name; for a private model set HF_TOKEN or run `hf auth login`")
    return UserError("There is no such model on the Hub or folder here, or your token may not read it", got=model_id,
                     hint="check the name and the token's rights")


def _check_sign_in(error: Exception, model_id: str, token: bool | str) -> None:
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if isinstance(token, str) and status in (401, 403):
        raise UserError("The Hub does not take your sign-in any more", got=model_id,
                        hint="sign out, and sign in again") from error


def _unwritable(error: Exception) -> UserError | None:
    """Where not the network but the place that files are kept in is at fault."""
    number = getattr(error, "errno", None)
    if number not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EEXIST):
        return None
    return UserError("The Hub's cache cannot be written", got=f"{os.strerror(number)}: {HF_HUB_CACHE}",
                     hint="make room, or set HF_HOME to a folder that can be written")


def _unreachable(model_id: str, error: Exception) -> UserError:
    reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
    return UserError("The Hugging Face Hub could not be reached, and the model is not on this machine",
                     got=f"{model_id}, which is no folder here either ({reason})",
                     hint="check the name and the network, or use a local folder or the embedded model "
                          "(embedded:whisper-base)")


def _reporting(progress: Progress | None, model_id: str, total: int) -> type[tqdm] | None:
    """A tqdm that tells `progress` how many of the `total` bytes are here; None leaves the terminal's own bar."""
    if progress is None:
        return None
    tell = progress

    class Reporting(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._counts_bytes = kwargs.get("name") == "huggingface_hub.snapshot_download"  # not the wire's bar
            super().__init__(*args, **{**kwargs, "disable": True})
            self._bytes = 0.0

        def update(self, n: float | None = 1) -> bool | None:
            if self._counts_bytes and total:
                self._bytes += n or 0
                tell(min(self._bytes / total, 1.0), f"Downloading {model_id}: {self._bytes / 1e6:.0f} of "
                                                    f"{total / 1e6:.0f} MB")
            return super().update(n)

    return Reporting
