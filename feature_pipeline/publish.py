"""A finished data set to where it is wanted: one .zip, any fsspec address, a data set on the Hub."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from feature_pipeline.config import Config
from shared.errors import UserError
from shared.system.files import whole_file

FILES = ("README.md", "report.html", "labels.html", "labels.parquet", "manifest.json")  # last: all is there


def publish(folder: Path, config: Config, say: Callable[[str], None] = print) -> None:
    """Do what `config.output` asks for. Raises UserError."""
    if config.output.zip:
        say(f"zipped to {to_zip(folder, Path(config.output.zip))}")
    if config.output.copy_to:
        say(f"copied to {to_fsspec(folder, config.output.copy_to)}")
    if config.output.hub:
        say(f"pushed to {to_hub(folder, config.output.hub, config.output.hub_private)}")


def to_zip(folder: Path, target: Path) -> Path:
    """One .zip, the same bytes for the same data set; nothing in it is compressed again."""
    with whole_file(target) as draft, zipfile.ZipFile(draft, "w", zipfile.ZIP_STORED) as bundle:
        for path, name in _contents(folder):
            entry = zipfile.ZipInfo(name)  # dated 1980: a zip must not depend on when it was made
            entry.external_attr = 0o644 << 16
            entry.file_size = path.stat().st_size
            with path.open("rb") as source, bundle.open(entry, "w") as member:
                shutil.copyfileobj(source, member, 1 << 20)
    return target


def to_fsspec(folder: Path, url: str) -> str:
    """Copy to a folder at any address fsspec knows. What lies there already in equal size and content is kept."""
    import fsspec

    try:
        files, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise UserError("This address cannot be written to", got=f"{url}: {error}",
                        hint="install what fsspec needs for it (s3fs, gcsfs, adlfs), or correct the address") from None
    root = root.rstrip("/")
    manifest = f"{root}/manifest.json"
    if files.exists(manifest):  # never a manifest beside shards that it does not describe
        files.rm_file(manifest)
    wanted = {f"{root}/{name}" for _, name in _contents(folder)}
    for path, name in _contents(folder):
        files.makedirs(f"{root}/{name}".rsplit("/", 1)[0], exist_ok=True)
        files.put_file(str(path), f"{root}/{name}")
    for stray in files.glob(f"{root}/data/*.parquet"):
        if not any(stray.endswith(name) for name in wanted):
            files.rm_file(stray)
    return url


def to_hub(folder: Path, repo: str, private: bool) -> str:
    """Push as a data set on the Hub in one commit; gives `user/name@commit`."""
    from huggingface_hub import HfApi  # here, with what needs it: most data sets are not sent there

    from shared.checkpoint.hub_writing import explained, owner_of

    api = HfApi()
    with explained(f"sending the data set to {repo}", invalid="correct output.hub, or the data set's README.md"):
        owner_of(api, repo.partition("/")[0] if "/" in repo else None)
        api.create_repo(repo, repo_type="dataset", private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo, repo_type="dataset", folder_path=folder, ignore_patterns=[".*/**"],
            delete_patterns=["data/*.parquet"], commit_message=f"Data set {folder.name}")
    return f"{repo}@{commit.oid}"


def _contents(folder: Path) -> Iterator[tuple[Path, str]]:
    """The data set's files with their names in it; the manifest comes last."""
    if not (folder / "manifest.json").is_file():
        raise UserError("This folder holds no finished data set", got=folder, hint="build it first")
    for path in sorted((folder / "data").glob("*.parquet")):
        yield path, f"data/{path.name}"
    for name in FILES:
        if (folder / name).is_file():
            yield folder / name, name
