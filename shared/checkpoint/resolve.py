"""Which weights: naming them, getting them onto this machine, and what they say of themselves.

`Checkpoint` names a Hub repository at a commit, a local folder, or an embedded model. `files` makes a folder of it in
the form an engine reads. Knows nothing of audio or decoding.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from codecs import BOM_UTF8
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from shared.checkpoint.consistency import check_consistent
from shared.checkpoint.identity import COMMIT, EMBEDDED, HUB_ID, MODELS, Account, Checkpoint
from shared.checkpoint.weights import check_one_kind, read_json
from shared.errors import OtherForm, UserError
from shared.system.cache import made_once

Progress = Callable[[float, str], None]
Form = Literal["transformers", "ctranslate2"]

PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")  # whole, or in parts
# Stock checkpoints that were measured with 5 s of silence after a clip instead of 30 s in all (docs/inference.md).
WITH_ROOM = (f"{EMBEDDED}whisper-base", "openai/whisper-base")
MAX_ADAPTERS = 4  # on one another
FINGERPRINTED = (".json", ".safetensors", ".npy", ".bin")
CONVERSION = 3  # of what `files` writes into the cache; a new one takes the place of the old


@dataclass(frozen=True)
class Download:
    """What may be fetched from the Hub, an adapter's base included.

    Attributes:
        max_bytes: refuse larger downloads; None for any size.
        token: whether this machine's Hub token may be used (see `hub.fetch`); it never is for an account.
        progress: called with (fraction 0 … 1, message) while downloading, merging and converting.
        account: whose token is used instead; None: nobody's.
        folder: where everything is kept that is fetched and made for the account, in place of the caches that all
            share; whoever names it deletes it.
    """

    max_bytes: int | None = None
    token: bool = True
    progress: Progress | None = None
    account: Account | None = None
    folder: Path | None = None

    def __post_init__(self) -> None:
        assert (self.account is None) == (self.folder is None), "what an account may read is kept apart"

    @property
    def is_trusted(self) -> bool:
        """Whether the owner of this machine chose the checkpoint, not a visitor."""
        return self.token and self.account is None


ANY = Download()


@dataclass(frozen=True)
class Request:
    """What `files` was asked for. adapters: those whose base this is, from the outermost."""

    checkpoint: Checkpoint
    form: Form
    progress: Progress | None
    download: Download
    adapters: tuple[Checkpoint, ...] = ()


def files(checkpoint: Checkpoint, form: Form, progress: Progress | None = None, download: Download = ANY
          ) -> tuple[Checkpoint, Path]:
    """A folder of this checkpoint in the form an engine reads.

    Downloads, merges a LoRA adapter and converts as needed, each once.

    Args:
        checkpoint: what to get.
        form: "transformers" or "ctranslate2".
        progress: called with (fraction 0 … 1, message) while downloading, merging or converting.
        download: what may be fetched.

    Returns:
        (the checkpoint with its commit filled in, the folder).

    Raises:
        UserError: it is not there, damaged, too large, not Whisper, or an adapter that cannot be merged.
        OtherForm: it comes in CTranslate2's form only and the other one was asked for.
    """
    return _resolved(Request(checkpoint, form, progress, download))


def _resolved(request: Request) -> tuple[Checkpoint, Path]:
    checkpoint, form = request.checkpoint, request.form
    if checkpoint.origin == "embedded" and checkpoint.name == "whisper-base":
        from shared.checkpoint.embedded import embedded_base, embedded_base_transformers

        return checkpoint, embedded_base() if form == "ctranslate2" else embedded_base_transformers()
    checkpoint, folder = _local(request)
    folder = _without_marks(request, folder)
    if (folder / "adapter_config.json").is_file():
        folder = _merged(request, checkpoint, folder)
    if _is_pickled(folder):
        folder = _unpickled(request, folder)
    has = _form(folder)
    if has == form:
        return checkpoint, folder
    if form == "transformers":
        raise OtherForm("This checkpoint is in CTranslate2's form only", got=checkpoint.name,
                        hint="choose the engine ctranslate2, or the original checkpoint")
    return checkpoint, _converted(request, folder)


def _local(request: Request) -> tuple[Checkpoint, Path]:
    checkpoint = request.checkpoint
    if checkpoint.origin == "embedded":
        return checkpoint, MODELS / checkpoint.name
    if checkpoint.origin == "folder":
        folder = Path(checkpoint.model_id)
        if not folder.is_dir():
            raise UserError("The checkpoint's folder is gone", got=folder, hint="check the path")
        return checkpoint, folder
    from shared.checkpoint.hub import fetch  # here: it imports huggingface_hub, which takes half a second

    download = request.download
    token = download.token if download.account is None else download.account.token
    snapshot = fetch(checkpoint.model_id, checkpoint.revision, request.progress, download.max_bytes, token,
                     download.folder)
    if download.folder is not None and not (snapshot.folder / "tokenizer.json").exists():
        _tokenizer_beside(snapshot.folder, download.folder)
    return replace(checkpoint, revision=snapshot.commit), snapshot.folder


def _without_marks(request: Request, source: Path) -> Path:
    """The same checkpoint with JSON that every library reads: at the mark with which some editors begin a file,
    transformers, tokenizers and peft stop."""
    marked = {path.name for path in source.glob("*.json") if _begins_with_mark(path)}
    if not marked:
        return source

    def write(folder: Path) -> None:
        for path in source.iterdir():
            if path.name in marked:
                (folder / path.name).write_bytes(path.read_bytes().removeprefix(BOM_UTF8))
            elif path.is_file():
                _linked(path, folder / path.name)

    return made_once(f"plain-{_fingerprint(source)}", write, request.download.folder, of=(source,))


def _begins_with_mark(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(BOM_UTF8)) == BOM_UTF8


def _linked(source: Path, target: Path) -> None:
    """The same file under another name; a copy where links are not to be had."""
    try:
        os.symlink(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def _tokenizer_beside(folder: Path, root: Path) -> None:
    """So that it is not made in the cache that all share."""
    from shared.checkpoint.tokenizer import tokenizer_file

    if (folder / "vocab.json").is_file():
        shutil.copyfile(tokenizer_file(folder, root), folder / "tokenizer.json")


def _form(folder: Path) -> Form:
    """Which form the folder is in; refuses what is not Whisper, and weights that are not whole."""
    if (folder / "model.bin").is_file() and not list(folder.glob("*.safetensors")):
        return "ctranslate2"
    config = read_json(folder / "config.json")
    if config.get("model_type") != "whisper":
        raise UserError("The checkpoint is not Whisper", got=f"model_type {config.get('model_type')!r}",
                        hint="choose a Whisper checkpoint")
    check_consistent(folder)
    return "transformers"


def _merged(request: Request, checkpoint: Checkpoint, adapter: Path) -> Path:
    """The base checkpoint with a LoRA adapter merged into it, in transformers' form."""
    check_one_kind(checkpoint.name, {path.name for path in adapter.iterdir()})
    if checkpoint in request.adapters:
        raise UserError("The adapter names itself as its base checkpoint", got=str(checkpoint),
                        hint="set base_model_name_or_path in adapter_config.json to the checkpoint it was trained from")
    if len(request.adapters) == MAX_ADAPTERS:
        raise UserError("Too many adapters lie on one another", got=" on ".join(map(str, request.adapters)),
                        limit=MAX_ADAPTERS, hint="merge them with peft")
    base = _base_of(checkpoint, adapter)
    _, base_folder = _resolved(replace(request, checkpoint=base, form="transformers",
                                       adapters=(*request.adapters, checkpoint)))

    def merge(folder: Path) -> None:
        from shared.checkpoint.adapter import merge_adapter

        if request.progress is not None:
            request.progress(0.0, f"Merging the adapter {checkpoint.name}")
        merge_adapter(base_folder, adapter, folder)

    return made_once(f"merged-{_fingerprint(adapter, base_folder)}", merge, request.download.folder,
                     of=(adapter, base_folder))


def _base_of(checkpoint: Checkpoint, adapter: Path) -> Checkpoint:
    """The base checkpoint that an adapter names. One from the Hub may not name a folder of this machine."""
    config = read_json(adapter / "adapter_config.json")
    base_id, revision = config.get("base_model_name_or_path"), config.get("revision")
    if not isinstance(base_id, str) or not base_id.strip() or not isinstance(revision, str | None):
        raise UserError("The adapter does not name its base checkpoint", got=f"{checkpoint.name}: {str(base_id)[:80]}",
                        hint="set base_model_name_or_path in adapter_config.json")
    if checkpoint.origin == "folder" or base_id.startswith(EMBEDDED):
        base = Checkpoint.parse(base_id)
    else:  # somebody else's words: they may not name a folder of this machine, not even to learn whether it is there
        model_id, _, commit = base_id.partition("@")
        if not HUB_ID.fullmatch(model_id):
            raise UserError("The adapter names no base checkpoint on the Hub", got=checkpoint.name,
                            hint="set base_model_name_or_path in adapter_config.json to an id on the Hub")
        base = Checkpoint(model_id, commit or None)
    if base.origin == "Hub" and base.revision is None and revision:
        base = replace(base, revision=revision)
    return base


def _is_pickled(folder: Path) -> bool:
    return any((folder / name).is_file() for name in PICKLED) and not list(folder.glob("*.safetensors"))


def _unpickled(request: Request, source: Path) -> Path:
    """An older checkpoint with its weights in safetensors."""
    if not request.download.is_trusted:
        raise UserError("The checkpoint has no weights in safetensors", got=PICKLED[0],
                        hint="publish it as model.safetensors; pickled weights of others are not opened here")

    def convert(folder: Path) -> None:
        from shared.checkpoint.from_pickle import to_safetensors

        if request.progress is not None:
            request.progress(0.0, f"Converting {source.name} to safetensors, once")
        to_safetensors(source, folder)

    return made_once(f"safetensors-{_fingerprint(source)}", convert, request.download.folder, of=(source,))


def _converted(request: Request, source: Path) -> Path:
    """The same weights in CTranslate2's form, float16 on disk (the engine quantises them as it loads)."""

    def convert(folder: Path) -> None:
        from shared.checkpoint.to_ctranslate2 import to_ctranslate2

        if request.progress is not None:
            request.progress(0.0, f"Converting {source.name} for CTranslate2, once")
        to_ctranslate2(source, folder)

    return made_once(f"ctranslate2-{_fingerprint(source)}", convert, request.download.folder, of=(source,))


def _fingerprint(*folders: Path) -> str:
    """Changes when a folder's weights or configuration do; contents of large files count by size and time."""
    digest = hashlib.sha256(str(CONVERSION).encode())
    for folder in folders:
        if COMMIT.fullmatch(folder.name):  # a snapshot of the Hub's cache: its name is its content
            digest.update(folder.name.encode())
            continue
        for path in sorted(path for path in folder.iterdir() if path.suffix in FINGERPRINTED):
            stat = path.stat()
            small = path.read_bytes() if stat.st_size < 1 << 24 else f"{stat.st_size} {stat.st_mtime_ns}".encode()
            digest.update(path.name.encode() + small)
    return digest.hexdigest()[:16]


