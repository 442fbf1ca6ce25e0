"""A LoRA adapter folded into its base checkpoint: W + (alpha / rank) B A, a plain checkpoint afterwards.

Enters: a base in transformers' form and an adapter folder as peft saves it. Leaves: a complete checkpoint. Knows
nothing of training; peft is not needed to serve. LoRA: Hu et al. 2021, arXiv:2106.09685.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from shared.errors import UserError

PREFIX = "base_model.model."  # what peft puts before the names of the model it wraps
FACTS = ("finetuned_languages", "short_context", "timestamps")  # what config.json says of a tuned checkpoint


def merge_adapter(base_folder: Path, adapter_folder: Path, out_folder: Path) -> None:
    """Write base + adapter into out_folder: weights, tokenizer, all configurations, and what run.json says of it.

    Weights keep the base's type; the sum is taken in float32. Raises UserError if the adapter is of another kind
    than LoRA on linear layers, or belongs to another base.
    """
    from safetensors.torch import load_file, save_file

    config = json.loads((adapter_folder / "adapter_config.json").read_text(encoding="utf-8"))
    if config.get("peft_type") != "LORA" or config.get("use_dora") or config.get("bias", "none") != "none":
        raise UserError("This adapter cannot be merged", got=config.get("peft_type"),
                        limit="LoRA without bias, not DoRA",
                        hint="merge it with peft (merge_and_unload) and use the merged checkpoint")
    rank = config["r"]
    scale = config["lora_alpha"] / (rank**0.5 if config.get("use_rslora") else rank)
    adapter = load_file(adapter_folder / "adapter_model.safetensors")
    targets = {name.removeprefix(PREFIX).removesuffix(".lora_A.weight"): name.removesuffix("lora_A.weight")
               for name in adapter if name.endswith(".lora_A.weight")}
    out_folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(base_folder.glob("model*.safetensors")):
        state = load_file(path)
        for module in [module for module in targets if f"{module}.weight" in state]:
            weight, stem = state[f"{module}.weight"], targets.pop(module)
            down, up = adapter[f"{stem}lora_A.weight"].float(), adapter[f"{stem}lora_B.weight"].float()
            if weight.shape != (up.shape[0], down.shape[1]):
                raise _another_base(f"{module}: {tuple(weight.shape)} and {(up.shape[0], down.shape[1])}")
            state[f"{module}.weight"] = (weight.float() + scale * (up @ down)).to(weight.dtype).contiguous()
        save_file(state, out_folder / path.name, metadata={"format": "pt"})
    if targets:
        raise _another_base(f"{len(targets)} modules that the base lacks, such as {min(targets)}")
    _copy_the_rest(base_folder, adapter_folder, out_folder)


def _copy_the_rest(base_folder: Path, adapter_folder: Path, out_folder: Path) -> None:
    for path in base_folder.iterdir():
        if path.is_file() and path.suffix in (".json", ".txt") and path.name != "README.md":
            shutil.copyfile(path, out_folder / path.name)
    for name in ("README.md", "run.json"):
        if (adapter_folder / name).is_file():
            shutil.copyfile(adapter_folder / name, out_folder / name)
    run = json.loads((adapter_folder / "run.json").read_text(encoding="utf-8")) if (
        adapter_folder / "run.json").is_file() else {}
    _update(out_folder / "config.json", {key: run[key] for key in FACTS if key in run})
    forced = {key: run[key] for key in ("language", "task") if run.get(key)}
    _update(out_folder / "generation_config.json", forced)


def _update(path: Path, values: dict) -> None:
    if values and path.is_file():
        known = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(known | values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _another_base(got: str) -> UserError:
    return UserError("The adapter was trained for another base checkpoint", got=got,
                     hint="name the right one as base_model_name_or_path in adapter_config.json")
