"""A training run on a rented GPU of Hugging Face, by one command that can be repeated until the run is here.

Enters: a run's config. Leaves: runs/NAME as training on this machine leaves it, without its checkpoints. Whether it
has to begin, go on, watch or only fetch, it finds on the Hub: files in a bucket, and jobs that run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from huggingface_hub import HfApi, JobInfo, Volume, get_token

from shared.checkpoint import Checkpoint
from shared.checkpoint.hub_writing import explained, owner_of
from shared.errors import UserError
from shared.system.files import whole_folder
from shared.units import megabytes, spoken_time
from training import config as settings
from training.config import COMPLETE, Config
from training.jobs import hub, sent
from training.jobs.options import Options

Say = Callable[[str], None]
JOBS, RUNS = "whisper-spaces-jobs", "whisper-spaces-runs"  # the data set repository and the bucket of an owner
LABEL = "whisper-spaces-run"
# Debian with uv, which installs what the script's inline metadata names: the client's own choice for `hf jobs uv run`.
IMAGE = "ghcr.io/astral-sh/uv:python3.12-bookworm"
INPUT, KEPT = "/input", "/runs"  # where a job has the commit and the bucket
MODEL = f"model/{COMPLETE}"


def train(path: str | Path, overrides: Sequence[str], options: Options, *,
          agreed: Callable[[], None] = lambda: None, say: Say = print) -> Path:
    """Train on a machine of Hugging Face: begin, go on from the last checkpoint, watch, or fetch what is done.

    Ctrl-C while it watches leaves the job running.

    Args:
        path: a YAML file as for `training.finetune`; its data sets are built on this machine.
        overrides: `key=value` on top of it.
        options: which machine, for how long at most, and whose.
        agreed: called once it is said what will be sent and what it costs at most; raises where that is not wanted.
        say: takes each line, those of the job's log too.

    Returns:
        The run's folder, with the model.

    Raises:
        UserError: what a job could not do (said before anything costs money), the Hub refuses, or the job did not end
            well.
    """
    config = settings.load(path, overrides)
    sent.check(config)
    if (config.folder / MODEL).is_file():
        settings.same_run(config, settings.of_run(config.folder))
        say(f"{config.folder} is done already")
        return config.folder
    if config.folder.is_dir() and any(config.folder.iterdir()):
        raise UserError("The run has begun on this machine", got=config.folder,
                        hint="finish it here, give another name=…, or remove the folder")
    api = HfApi()
    with explained("looking at the account, the machines and the bucket"):
        owner = owner_of(api, options.owner).name
        machine = hub.machine(api, options.flavor)
        bucket = f"{owner}/{RUNS}"
        stored = hub.stored(api, bucket, config.name)
        config = _same_as_stored(bucket, config, stored)
        job = hub.unfinished(api, owner, {LABEL: config.name})
    if MODEL not in stored:
        if job is None:
            content = sent.files(config)
            say(f"machine: {machine.pretty_name}, at most {spoken_time(options.seconds)} for at most "
                f"{hub.price(machine, options.hours):.2f} $; a job that is ended by that limit goes on with the same "
                "command")
            say(f"sent: {len(content)} files, {megabytes(sent.n_bytes(content))} (what is there already is not sent "
                f"again) to the private data set {owner}/{JOBS}; the run is kept in the private bucket {bucket}"
                + ("; the job gets your token, to read the base" if _reads_hub(config) else ""))
            agreed()
            with explained("starting the job"):
                job = _started(api, owner, config, content, options)
        _watched(api, owner, job, config, say)
    return _fetched(api, bucket, config, say)


def _reads_hub(config: Config) -> bool:
    return Checkpoint.parse(config.base).origin == "Hub"


def _same_as_stored(bucket: str, config: Config, stored: dict[str, int]) -> Config:
    """The config with the batch size that the run in the bucket has. Raises UserError if that is another run."""
    if "config.yaml" not in stored:
        return config
    with tempfile.TemporaryDirectory() as folder:
        hub.fetch(bucket, config.name, {"config.yaml": stored["config.yaml"]}, Path(folder))
        before = settings.of_run(Path(folder))
    try:
        return settings.same_run(config, before)
    except UserError as error:
        raise UserError("The bucket holds a run with other settings", got=f"{bucket}/{config.name}: {error}",
                        hint=f"give the run another name, or remove it: "
                             f"`hf buckets rm {bucket}/{config.name} --recursive`") from None


def _started(api: HfApi, owner: str, config: Config, content: dict[str, bytes | Path], options: Options) -> JobInfo:
    bucket, repo = f"{owner}/{RUNS}", f"{owner}/{JOBS}"
    commit = hub.sent(api, repo, content, f"Run {config.name}")
    hub.bucket_made(api, bucket)
    token = get_token()
    return api.run_job(
        image=IMAGE, command=["uv", "run", f"{INPUT}/{sent.SCRIPT}", INPUT, f"{KEPT}/{config.name}"],
        env={"PYTHONUNBUFFERED": "1"}, secrets={"HF_TOKEN": token} if token and _reads_hub(config) else None,
        flavor=options.flavor, timeout=options.seconds, labels={LABEL: config.name}, namespace=owner,
        volumes=[Volume(type="dataset", source=repo, mount_path=INPUT, revision=commit),
                 Volume(type="bucket", source=bucket, mount_path=KEPT)])


def _watched(api: HfApi, owner: str, job: JobInfo, config: Config, say: Say) -> None:
    """The job's log to its end. Raises UserError where it did not end well, or is out of sight."""
    name = f"{owner}/{job.id}"
    say(f"job {job.id}: {job.url}")
    try:
        with explained("watching the job", hint="the job goes on; the same command watches it again"):
            for line in api.fetch_job_logs(job_id=job.id, namespace=owner, follow=True):
                say(line)
            status = api.wait_for_job(job.id, namespace=owner).status
    except KeyboardInterrupt:
        say(f"\nThe job goes on. Watch it again with the same command or `hf jobs logs --follow {name}`; "
            f"stop it with `hf jobs cancel {name}`")
        raise
    if status.stage != "COMPLETED":
        reason = f", {status.message}" if status.message else ""
        raise UserError("The job did not finish the run", got=f"{status.stage}{reason}",
                        hint="its log is above; the same command goes on from the last checkpoint")


def _fetched(api: HfApi, bucket: str, config: Config, say: Say) -> Path:
    """The finished run's files from the bucket, in place of the run's folder, which appears whole or not at all."""
    with explained("fetching the run"):
        stored = hub.stored(api, bucket, config.name)
        _same_as_stored(bucket, config, stored)
        names = {name: size for name, size in stored.items() if not name.startswith("checkpoint-")}
        if MODEL not in names:
            raise UserError("The job ended without a model", got=f"{bucket}/{config.name}",
                            hint="its log says why; the same command goes on from the last checkpoint")
        say(f"fetching {len(names)} files, {megabytes(sum(names.values()))}")
        config.folder.parent.mkdir(parents=True, exist_ok=True)
        with whole_folder(config.folder) as folder:
            hub.fetch(bucket, config.name, names, folder)
    say(f"{config.folder} is here; it stays in the bucket too: `hf buckets rm {bucket}/{config.name} --recursive` "
        "removes it there")
    return config.folder
