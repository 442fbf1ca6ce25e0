"""The Hub as a job needs it: which machines there are, and where files lie.

The door to huggingface_hub for jobs and buckets; nothing of training is known here.
"""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import (
    BucketFile,
    CommitOperationAdd,
    HfApi,
    HfFileSystem,
    JobHardwareInfo,
    JobInfo,
)
from huggingface_hub.errors import BucketNotFoundError

from shared.errors import UserError


def machine(api: HfApi, flavor: str) -> JobHardwareInfo:
    """The machine of this name. Raises UserError with those there are."""
    there = api.list_jobs_hardware()
    for one in there:
        if one.name == flavor:
            return one
    names = ", ".join(f"{one.name} ({price(one, 1):.2f} $ an hour)" for one in there)
    raise UserError("There is no such machine for jobs", got=flavor, limit=names, hint="choose one with FLAVOR=…")


def price(one: JobHardwareInfo, hours: float) -> float:
    """US dollars for so many hours."""
    per_hour = {"minute": 60, "hour": 1, "second": 3600}[one.unit_label]
    return one.unit_cost_usd * per_hour * hours


def stored(api: HfApi, bucket: str, folder: str) -> dict[str, int]:
    """The files of a folder in a bucket, relative to it, and their bytes; none where there is no such bucket."""
    try:
        found = [one for one in api.list_bucket_tree(bucket, prefix=folder, recursive=True)
                 if isinstance(one, BucketFile)]
    except BucketNotFoundError:
        return {}
    return {one.path.removeprefix(f"{folder}/"): one.size for one in found if one.path.startswith(f"{folder}/")}


def fetch(bucket: str, folder: str, names: dict[str, int], target: Path) -> None:
    """Download files (names and bytes) of a folder in a bucket. Raises UserError where one came short."""
    files = HfFileSystem(skip_instance_cache=True)
    for name, n_bytes in names.items():
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        files.get_file(f"hf://buckets/{bucket}/{folder}/{name}", str(place))
        if place.stat().st_size != n_bytes:
            raise UserError("A file of the bucket came short", got=f"{name}: {place.stat().st_size} bytes",
                            limit=f"{n_bytes}", hint="run this again")


def sent(api: HfApi, repo: str, content: dict[str, bytes | Path], title: str) -> str:
    """Put files into a private data set repository, in one commit, whose id is returned; what is there is not sent.

    Raises UserError where the repository is there and public.
    """
    api.create_repo(repo, repo_type="dataset", private=True, exist_ok=True)
    if not api.dataset_info(repo).private:
        raise UserError("The repository for what a job needs is public", got=repo,
                        hint="make it private in its settings on the Hub: your recordings would be seen there")
    adding = [CommitOperationAdd(name, value) for name, value in content.items()]
    return api.create_commit(repo, adding, commit_message=title, repo_type="dataset").oid


def bucket_made(api: HfApi, bucket: str) -> None:
    """A private bucket, made if it is not there. Raises UserError where it is public."""
    api.create_bucket(bucket, private=True, exist_ok=True)
    if not api.bucket_info(bucket).private:
        raise UserError("The bucket for runs is public", got=bucket,
                        hint="make it private in its settings on the Hub: your run would be seen there")


def unfinished(api: HfApi, owner: str, labels: dict[str, str]) -> JobInfo | None:
    """A job with these labels that has not ended."""
    return next(iter(api.list_jobs(namespace=owner, labels=labels, status=["SCHEDULING", "RUNNING"])), None)
