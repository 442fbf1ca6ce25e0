"""What the Hub reads of a checkpoint: the card's front matter, and results for the leaderboards of benchmarks.

Enters: the facts of an evaluated run. Leaves: values for YAML. What the Hub would refuse or link wrongly is left out: a
folder is no `base_model` and no data set's id. `.eval_results/` is read for data sets that are benchmarks only, whose
`eval.yaml` names the tasks (https://huggingface.co/docs/hub/eval-results).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, RemoteEntryNotFoundError

from feature_pipeline.licences import licence_fields
from shared.checkpoint import Checkpoint
from shared.errors import UserError
from shared.languages import iso_639
from training.data import set_name
from training.facts import Facts
from training.report import search_of

BASES = {"embedded:whisper-base": "openai/whisper-base"}
EVAL_RESULTS = ".eval_results"
OURS = "whisper-spaces-"  # files of this program there; others' stay


@dataclass(frozen=True)
class HubSet:
    """A data set of the run that is one of the Hub's. name: its short name in the scores. splits: as it calls them."""

    repo: str
    commit: str
    config: str | None
    name: str
    splits: tuple[str, ...]


def front_matter(facts: Facts, name: str, *, adapter: bool = False) -> dict[str, Any]:
    """The YAML at the top of a card.

    Args:
        facts: of the run.
        name: of the checkpoint, a Hub id or a short name.
        adapter: the card is for the LoRA adapter alone.
    """
    hub_sets, base = list(_hub_sets(facts)), base_model(facts.config.base)
    return {
        "language": [iso_639(code) for code in facts.languages], **licence_fields(facts.licence),
        **({"base_model": base, "base_model_relation": "adapter" if adapter else "finetune"} if base else {}),
        "library_name": "peft" if adapter else "transformers", "pipeline_tag": "automatic-speech-recognition",
        "tags": ["whisper", "automatic-speech-recognition", *(["lora"] if adapter else [])], "metrics": ["wer", "cer"],
        **({"datasets": sorted({one.repo for one in hub_sets})} if hub_sets else {}),
        "model-index": [{"name": name, "results": [_result(facts, hub_sets)]}],
    }


def base_model(base: str) -> str | None:
    """The base's id on the Hub; None for a folder."""
    if base in BASES:
        return BASES[base]
    checkpoint = Checkpoint.parse(base)
    return checkpoint.model_id if checkpoint.origin == "Hub" else None


def eval_results(facts: Facts) -> dict[str, str]:
    """Files for `.eval_results/`, by name: one a task of a benchmark whose whole split was scored.

    Raises:
        UserError: the Hub does not say whether a data set is a benchmark.
    """
    options, tuned = facts.scores["options"], facts.scores["systems"]["fine-tuned"]
    if options["max_clips"] or not options.get("accents", True):  # a part of the split is not the benchmark
        return {}
    found = {}
    for one in _hub_sets(facts):
        part = tuned["by"].get("set", {}).get(one.name) or (tuned if len(facts.config.data) == 1 else None)
        if part is None:
            continue
        for task in _tasks(one, options["split"]):
            entry = EvalResultEntry(
                dataset_id=one.repo, task_id=task, value=round(part["wer"], 2), dataset_revision=one.commit,
                notes=f"WER in %, whisper-spaces' normaliser, {part['clips']} clips, {search_of(options)}")
            name = f"{OURS}{one.repo.replace('/', '--')}-{task}.yaml"
            found[name] = yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False)
    return found


def _result(facts: Facts, hub_sets: list[HubSet]) -> dict[str, Any]:
    tuned = facts.scores["systems"]["fine-tuned"]
    data: dict[str, Any] = {"type": Path(facts.scores["data"]).name, "name": facts.sets}
    if len(hub_sets) == 1 and len(facts.config.data) == 1:
        data["type"] = hub_sets[0].repo
        data |= {"config": hub_sets[0].config} if hub_sets[0].config else {}
        data["revision"] = hub_sets[0].commit
    how = "normalised" if facts.scores["options"].get("accents", True) else "normalised, without accents"
    return {
        "task": {"type": "automatic-speech-recognition", "name": "Automatic Speech Recognition"},
        "dataset": data | {"split": facts.scores["options"]["split"],
                           "args": {"language": ", ".join(facts.languages)}},
        "metrics": [{"type": "wer", "value": round(tuned["wer"], 2), "name": f"WER, {how}",
                     "args": {"interval_95": [_round(tuned["wer_low"]), _round(tuned["wer_high"])]}},
                    {"type": "cer", "value": round(tuned["cer"], 2), "name": f"CER, {how}"}],
    }


def _hub_sets(facts: Facts) -> Iterator[HubSet]:
    """The data sets that come from one data set of the Hub each."""
    for source in facts.config.data:
        sources = facts.manifests.get(source.path, {}).get("sources", ())
        if len(sources) == 1 and sources[0].get("kind") == "hub" and sources[0].get("commit"):
            one = sources[0]
            yield HubSet(one["repo"], one["commit"], one.get("config"), set_name(facts.config, source),
                         tuple(one.get("splits", ())))


def _tasks(data: HubSet, split: str) -> Iterator[str]:
    """Ids of the tasks that the data set's eval.yaml gives for its configuration and split."""
    if split not in data.splits:  # made by the pipeline
        return
    try:
        path = hf_hub_download(data.repo, "eval.yaml", repo_type="dataset", revision=data.commit)
        listed = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except RemoteEntryNotFoundError:
        return  # not a benchmark, as nearly all
    except (HfHubHTTPError, httpx2.HTTPError, OSError, ValueError, yaml.YAMLError) as error:
        raise UserError("The Hub does not say whether the data set is a benchmark",
                        got=f"{data.repo}: {str(error)[:120]}", hint="run the same command again") from error
    tasks = listed.get("tasks") if isinstance(listed, dict) else None
    for task in tasks if isinstance(tasks, list) else ():
        if isinstance(task, dict) and task.get("id") and task.get("split", "test") == split \
                and task.get("config", "default") == (data.config or "default"):
            yield str(task["id"])


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
