"""python -m training.soup OUT RUN [RUN ...] [key=value ...]: several runs' weights become one checkpoint.

Enters: finished runs from one base on the same data, which may differ in seed, steps, method and augmentation. Leaves:
OUT/, a run's folder like theirs, for evaluation, publishing and export, with an adapter where all have one. The
weights are the mean of the runs' (model soup, arXiv:2203.05482) with a share of the base's own (WiSE-FT,
arXiv:2109.01903), chosen on a validation split: the runs' own, or that of other speech (`validation=`), for voices and
texts other than those of training. What single runs learned by heart differs and averages out; what the base knew and a
small set does not teach comes back. It costs nothing in serving: one checkpoint of the same size. One run alone may be
mixed with the base too.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from feature_pipeline.settings import Many, options_of
from shared.checkpoint import weight_files
from shared.errors import UserError
from shared.system.command import reported
from training import config as settings
from training.config import COMPLETE, Config, Data
from training.data import Clips, open_sets
from training.model import complete, load_base
from training.validation import Validation

Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Options:
    """How the share of the base is found."""

    base_shares: Many[float] = (0.0, 0.1, 0.2, 0.3, 0.4)  # those that are tried; one alone is taken untried
    max_clips: int = 0  # validation clips; 0: all
    validation: str = ""  # a data set of other voices or texts, whose validation split chooses; "": the runs' own


@dataclass(frozen=True)
class Part:
    """One finished run."""

    folder: Path
    config: Config
    run: dict[str, Any]  # its run.json


def soup(out: str | Path, runs: Sequence[str | Path], options: Options = Options(), *,
         say: Callable[[str], None] = print) -> Path:
    """Mix the runs' models, choose the share of the base, write the folder `out` and return it.

    Raises UserError if a run is not done, if the runs do not belong together, or if `out` holds something else.
    """
    out = Path(out)
    parts = [_part(Path(run)) for run in runs]
    _checked(parts, out, options)
    first = parts[0]
    config = replace(first.config, name=out.name, out=str(out.parent))
    base, model, processor = load_base(config, tuple(first.run["finetuned_languages"]))
    own = {name: weight.clone() for name, weight in model.state_dict().items()}
    mean = _mean(parts)
    share = options.base_shares[0]
    rates: dict[float, dict[str, float]] = {}
    if len(options.base_shares) > 1:
        heard = replace(config, data=(Data(options.validation),)) if options.validation else config
        rows = open_sets(heard, "validation", options.max_clips)
        if others := sorted({*rows.unique("language")} - {*first.run["finetuned_languages"]}):
            raise UserError("The validation clips are in another language than the runs", got=", ".join(others),
                            limit=", ".join(first.run["finetuned_languages"]), hint="give a data set in that")
        validation = Validation(config, first.folder / "model", Clips(rows, config, training=False), lambda _: None)
        for share, found in _tried(model, mean, own, validation, options.base_shares):
            rates[share] = found
            say(f"base {share:4.0%}   validation WER {found['wer']:6.2f} %   CER {found['cer']:6.2f} %   "
                f"{len(rows)} clips")
        share = min(rates, key=lambda tried: (rates[tried]["rank"], tried))
    model.load_state_dict(_mixed(mean, own, share))
    run = first.run | {
        "name": out.name, "config": settings.plain(config), "method": "soup", "base_share": share, "step": None,
        "share_chosen_on": options.validation or None,  # None: the runs' own validation split, or not chosen
        "validation_wer": rates[share]["wer"] if rates else None,
        "seconds": sum(part.run["seconds"] for part in parts),
        "timestamps": all(part.run["timestamps"] for part in parts),
        "parts": [{key: part.run[key] for key in ("name", "method", "step", "seconds", "validation_wer", "config")}
                  for part in parts]}
    run.pop("peak_mb", None)  # of one run's training
    shutil.rmtree(out / "model", ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    settings.save(config, out / "config.yaml")
    model.save_pretrained(out / "model")
    complete(out / "model", model, processor, run)
    _mix_adapters(parts, share, out / "adapter", run)
    (out / "run.json").write_text(json.dumps(run, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (out / "model" / COMPLETE).touch()
    say(f"{len(parts)} run(s) with {share:.0%} of {base.model_id}: {out}")
    return out


def _part(folder: Path) -> Part:
    if not (folder / "model" / COMPLETE).is_file():
        raise UserError("The run has no model yet", got=folder, hint="let `python -m training.finetune` end first")
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    if "parts" in run:
        raise UserError("This is a mixture already", got=folder, hint="mix the runs it was made of")
    return Part(folder, settings.of_run(folder), run)


def _checked(parts: Sequence[Part], out: Path, options: Options) -> None:
    """The weights of one base only can be averaged, and only the same data keeps test sentences out of training."""
    first = parts[0]
    for part in parts[1:]:
        for name, own in _in_common(part).items():
            if own != _in_common(first)[name]:
                raise UserError(f"The runs do not belong together: their {name} differs",
                                got=f"{first.folder}: {_in_common(first)[name]}, {part.folder}: {own}",
                                hint="mix runs from one base on the same data")
    if not options.base_shares or not all(0 <= share < 1 for share in options.base_shares):
        raise UserError("base_shares are shares of the base", got=options.base_shares, limit="0 to below 1",
                        hint="[0, 0.2, 0.4], or [0] for none")
    if options.validation and len(options.base_shares) == 1:
        raise UserError("There is nothing to choose for the validation clips", got=f"base_shares={options.base_shares}",
                        hint="give several shares, for example [0, 0.3, 0.5, 0.7], or leave validation out")
    held = out / "run.json"
    if out.is_dir() and any(out.iterdir()) and not (held.is_file() and "parts" in json.loads(held.read_text("utf-8"))):
        raise UserError("The folder holds something else", got=out, hint="name another for the mixture")


def _in_common(part: Part) -> dict[str, object]:
    config, run = part.config, part.run
    return {"base": (run["base"], run["base_revision"]), "language": run["finetuned_languages"], "task": config.task,
            "text language": config.text_language, "tokens": (config.language_tokens, config.add_tokens),
            "data": [source.path for source in config.data], "context": run["short_context"]}


def _mean(parts: Sequence[Part]) -> Weights:
    """Of the runs' weights, float32, one run in memory at a time."""
    total: Weights = {}
    for part in parts:
        for path in weight_files(part.folder / "model"):
            for name, weight in load_file(path).items():
                own = weight.float() / len(parts)
                total[name] = total[name] + own if name in total else own
    return total


def _mixed(mean: Weights, base: Weights, share: float) -> Weights:
    """(1 - share) mean + share base; files leave out the output layer, which is tied to the embedding."""
    tied = {"proj_out.weight": "model.decoder.embed_tokens.weight"}
    return {name: torch.lerp(mean[name if name in mean else tied.get(name, name)], own.float(), share)
            for name, own in base.items()}


def _mix_adapters(parts: Sequence[Part], share: float, folder: Path, run: dict[str, Any]) -> None:
    """The same mixture as one LoRA adapter, where every run has one for the same layers: their ranks add up.

    The sum of products B1 A1 + B2 A2 is the product of B1 beside B2 and A1 above A2; each run's scale goes into its B.
    """
    shutil.rmtree(folder, ignore_errors=True)
    if not all((part.folder / "adapter").is_dir() and not part.config.added_tokens for part in parts):
        return
    found = [load_file(part.folder / "adapter" / "adapter_model.safetensors") for part in parts]
    if any(set(one) != set(found[0]) for one in found):
        return
    scales = [(1 - share) / len(parts) * part.config.method.lora_alpha / part.config.method.lora_rank
              for part in parts]
    mixed = {name: torch.cat([one[name].float() for one in found]) if ".lora_A." in name else torch.cat(
        [one[name].float() * scale for one, scale in zip(found, scales, strict=True)], dim=1) for name in found[0]}
    folder.mkdir()
    save_file(mixed, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    rank = sum(part.config.method.lora_rank for part in parts)
    config = json.loads((parts[0].folder / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    for name, value in (("adapter_config.json", config | {"r": rank, "lora_alpha": rank}), ("run.json", run)):
        (folder / name).write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _tried(model: torch.nn.Module, mean: Weights, own: Weights, validation: Validation, shares: Sequence[float]
           ) -> Iterator[tuple[float, dict[str, float]]]:
    """Each share of the base that is tried, and its rates on the validation clips."""
    for share in shares:
        model.load_state_dict(_mixed(mean, own, share))
        yield share, validation.rates(model)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.soup", description="Mix runs into one checkpoint.")
    parser.add_argument("out", help="the new run's folder, for example runs/italian-soup")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="finished runs; then key=value options")
    given = parser.parse_args(arguments)
    runs = [word for word in given.runs if "=" not in word]
    if not runs:
        parser.error("no run is named")
    chosen = [word for word in given.runs if "=" in word]
    return reported("training.soup", lambda: print(soup(given.out, runs, options_of(Options, chosen))))


if __name__ == "__main__":
    sys.exit(main())
