"""The stages of a build over several machines: the same function as `workers.run`, over Ray Data.

    python -m feature_pipeline.build CONFIG --on ray           # a cluster of this machine's cores
    RAY_ADDRESS=auto python -m feature_pipeline.transcribe …   # the cluster this machine belongs to

Every worker holds one stage, and with it at most one model. Files pass between stages, so `out` and the sources must
lie where all machines see them, and this project be installed on each. Scheduling and retrying are Ray's.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from feature_pipeline.stages import Job, Stage
from shared.errors import UserError


def run_on_ray(stage: Stage, jobs: Iterable[Job]) -> Iterator[int]:
    """Rows made by each finished job, in no order. Raises what a stage raises, and UserError where Ray is missing."""
    try:
        import ray
        from ray.data import ActorPoolStrategy
    except ImportError:
        raise UserError("Ray is not installed", got="--on ray", hint="pip install 'ray[data]'") from None
    items = [{"source": str(source.absolute()), "target": str(target.absolute())} for source, target in jobs]
    if not items:
        return
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False  # the build shows its own
    resources = ray.cluster_resources()
    n_gpus = 1 if stage.uses_model and resources.get("GPU") else 0
    n_workers = int(resources["GPU"] if n_gpus else resources["CPU"])
    done = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        _Worker, fn_constructor_args=(stage,), batch_size=1, num_cpus=1, num_gpus=n_gpus,
        compute=ActorPoolStrategy(min_size=1, max_size=max(1, min(n_workers, len(items)))))
    for row in done.iter_rows():
        if row["error"]:
            raise pickle.loads(row["error"])
        yield int(row["rows"])


class _Worker:
    """One process of the cluster with its stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        try:
            rows = self._stage(Path(str(batch["source"][0])), Path(str(batch["target"][0])))
        except UserError as error:  # Ray would wrap it in a page of its own frames, and try it again
            return {"rows": [0], "error": [pickle.dumps(error)]}
        return {"rows": [rows], "error": [b""]}
