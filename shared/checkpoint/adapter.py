"""A LoRA adapter merged into its base checkpoint by peft: a complete checkpoint afterwards.

Enters: a base in transformers' form and an adapter folder as peft saves it. Leaves: a folder in transformers' form.
The arithmetic is peft's (`merge_and_unload`); this module checks what goes in, and that every tensor of the adapter was
used. Imports torch, so it is not on the package's door. LoRA: Hu et al. 2021, arXiv:2106.09685.
"""

from __future__ import annotations

import re
import shutil
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

import peft
import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import WhisperForConditionalGeneration, WhisperTokenizer
from transformers.utils import logging

from shared.checkpoint.added_tokens import add_language_tokens
from shared.checkpoint.info import copy_facts, copy_files, update_json
from shared.checkpoint.weights import ADAPTER, check_finite, header, read_json, weight_files
from shared.errors import UserError

Rank = Annotated[int, Field(ge=1, le=4096)]  # larger than any matrix of Whisper is wide


def _not_zero(value: float) -> float:
    if not value:  # the product would be multiplied by it
        raise ValueError("the adapter would change nothing")
    return value


Alpha = Annotated[float, AfterValidator(_not_zero)]
Tokens = Annotated[list[int], Field(max_length=100_000)]
# Keys of adapter_config.json that concern training, or where it lies: merging is the same whatever they say.
WITHOUT_EFFECT = frozenset({
    "auto_mapping", "base_model_name_or_path", "revision", "task_type", "inference_mode", "lora_dropout",
    "peft_version", "eva_config", "megatron_core", "qalora_group_size", "runtime_config",
})
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
OUTPUT, EMBEDDING = "proj_out.weight", "model.decoder.embed_tokens.weight"


class LoraSettings(BaseModel):
    """The keys of adapter_config.json that decide what is merged, with the types and values that can be."""

    model_config = ConfigDict(strict=True, extra="allow")

    peft_type: Literal["LORA"]
    r: Rank = 8
    lora_alpha: Alpha = 8
    target_modules: list[str] | str | None = None
    exclude_modules: list[str] | str | None = None
    bias: Literal["none", "all", "lora_only"] = "none"
    use_rslora: bool = False
    use_dora: bool = False
    lora_bias: bool = False
    fan_in_fan_out: bool = False
    modules_to_save: list[str] | None = None
    rank_pattern: dict[str, Rank] | None = None
    alpha_pattern: dict[str, Alpha] | None = None
    layers_to_transform: list[int] | int | None = None
    layers_pattern: list[str] | str | None = None
    trainable_token_indices: Tokens | dict[str, Tokens] | None = None
    target_parameters: list[str] | None = None
    ensure_weight_tying: bool = False
    # Other ways to begin change the base's own weights as well, and the adapter alone does not say how.
    init_lora_weights: bool | Literal["gaussian", "eva", "orthogonal"] | None = True

    def unsupported(self) -> list[str]:
        """Keys that are set and that this module does not know."""
        return sorted(key for key, value in (self.model_extra or {}).items() if value and key not in WITHOUT_EFFECT)

    def patterns(self) -> list[str]:
        """What peft takes for regular expressions."""
        single = (self.target_modules, self.exclude_modules)
        return [*(one for one in single if isinstance(one, str)), *(self.rank_pattern or {}),
                *(self.alpha_pattern or {})]


def merge_adapter(base_folder: Path, adapter_folder: Path, out_folder: Path) -> None:
    """Write base + adapter into `out_folder`: weights, tokenizer, all configurations, and what run.json says of it.

    Args:
        base_folder: a complete checkpoint in transformers' form.
        adapter_folder: holds adapter_config.json and adapter_model.safetensors; its tokenizer is taken if it has one.
        out_folder: is made if it is not there. Weights keep the base's type; the sum is taken in float32.

    Raises:
        UserError: the adapter is of another kind than LoRA, damaged, incomplete, or made for another base.
    """
    settings = checked_settings(adapter_folder)
    given = set(header(adapter_folder / ADAPTER))
    run = read_json(adapter_folder / "run.json") if (adapter_folder / "run.json").is_file() else {}
    base = load_model(base_folder)
    tokenizer = _with_added_tokens(base, base_folder, run.get("added_tokens"))
    shapes = {name: tensor.shape for name, tensor in base.state_dict().items()}
    merged = _merged(base, adapter_folder, settings, given)
    state = merged.state_dict()
    if {name: tensor.shape for name, tensor in state.items()} != shapes:
        raise _another_base("other tensors after merging")
    untouched = all(bool((tensor == 0).all()) for name, tensor in load_file(adapter_folder / ADAPTER).items()
                    if "lora_A" not in name and "lora_embedding_A" not in name)
    if untouched:
        raise UserError("The adapter changes nothing", got=f"all of {ADAPTER} but its first factors is zero",
                        hint="save it after training; DeepSpeed's ZeRO-3 saves zeros unless it gathers the weights")
    broken = next((name for name, tensor in state.items() if not torch.isfinite(tensor).all()), None)
    if broken is not None:
        raise UserError("The adapter's weights are not numbers", got=f"NaN or infinite values in {broken}",
                        hint="use an earlier checkpoint of its training")
    out_folder.mkdir(parents=True, exist_ok=True)
    tied = torch.equal(state[OUTPUT], state[EMBEDDING])
    del state
    _save(merged, stored_types(base_folder), out_folder, tied)
    _copy_the_rest(base_folder, adapter_folder, out_folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(out_folder)
        base.generation_config.save_pretrained(out_folder)
    _describe(run, out_folder, base.config.vocab_size, tied)


def checked_settings(adapter_folder: Path) -> LoraSettings:
    """adapter_config.json, if it can be merged here. Raises UserError."""
    if not (adapter_folder / ADAPTER).is_file():
        raise UserError("The adapter is not complete", got=f"no {ADAPTER} in {adapter_folder.name}",
                        hint="save it with peft's save_pretrained; pickled weights can run code and are not read")
    values = read_json(adapter_folder / "adapter_config.json")
    try:
        settings = LoraSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"][:1]))
        raise UserError("This adapter cannot be merged", got=f"{key} = {str(values.get(key))[:80]} ({first['msg']})",
                        limit="LoRA as peft saves it",
                        hint="merge it with peft (merge_and_unload) and use the merged checkpoint") from None
    if settings.unsupported():
        raise UserError("This adapter cannot be merged", got=f"it uses {', '.join(settings.unsupported())}",
                        hint="merge it with peft (merge_and_unload) and use the merged checkpoint")
    for pattern in settings.patterns():  # a repeated group can take hours to compare with a few letters
        if len(pattern) > 300 or re.search(r"\)\s*[*+{]", pattern):
            raise UserError("This adapter cannot be merged", got=f"the pattern {pattern[:80]!r}",
                            limit="300 characters, no repeated group", hint="list the modules by their names")
    return settings


def load_model(folder: Path) -> WhisperForConditionalGeneration:
    """The model of a checkpoint folder in float32. Raises UserError where weights are missing or of other sizes.

    transformers alone fills what is missing with random numbers.
    """
    for path in weight_files(folder):
        header(path)
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model, report = WhisperForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True, local_files_only=True, use_safetensors=True)
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise UserError("The checkpoint's weights and its configuration do not belong together",
                        got=f"{folder.name}: {_first_line(error)}", hint="fetch or save it again") from error
    finally:
        if bars:
            logging.enable_progress_bar()
    for name, weight in model.state_dict().items():
        check_finite(name, weight)
    missing = sorted(set(report["missing_keys"]) - {OUTPUT})
    if missing:
        raise UserError("The checkpoint is not complete", got=f"{len(missing)} tensors missing, such as {missing[0]}",
                        hint="fetch or save it again")
    return model


def stored_types(folder: Path) -> dict[str, torch.dtype]:
    """The type of each tensor on disk."""
    return {name: DTYPES.get(entry["dtype"], torch.float32) for path in weight_files(folder)
            for name, entry in header(path).items()}


def _merged(base: WhisperForConditionalGeneration, folder: Path, settings: LoraSettings, given: set[str]
            ) -> torch.nn.Module:
    """peft's merge; whatever peft meets in a folder made elsewhere becomes a UserError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            known = {key: value for key, value in settings.model_dump().items()
                     if key in LoraSettings.model_fields and key != "peft_type" and value is not None}
            wrapped = peft.PeftModel(base, peft.LoraConfig(inference_mode=True, **known))
            expected = set(peft.get_peft_model_state_dict(wrapped, save_embedding_layers=False))
            result = wrapped.load_adapter(str(folder), "default", torch_device="cpu", local_files_only=True)
            missing = sorted(expected - given)
            unused = [name for name in sorted(result.unexpected_keys) if not _is_tied_copy(name, folder)]
            if missing:
                raise _another_base(f"{len(missing)} tensors that its configuration asks for are not in it, such as "
                                    f"{missing[0]}")
            if unused:
                raise _another_base(f"{len(unused)} tensors that the base has no place for, such as {unused[0]}")
            return wrapped.merge_and_unload()
    except UserError:
        raise
    except Exception as error:  # peft's own checks raise whatever comes; the folder is somebody else's
        raise _another_base(_first_line(error)) from error


def _is_tied_copy(name: str, folder: Path) -> bool:
    """Whether this is the embedding's tensor over again under the name of the output layer, which peft ties to it."""
    twin = name.replace(".proj_out.", ".model.decoder.embed_tokens.")
    with safe_open(folder / ADAPTER, "pt") as file:
        return twin != name and {name, twin} <= set(file.keys()) and torch.equal(
            file.get_tensor(name), file.get_tensor(twin))


def _save(model: torch.nn.Module, types: dict[str, torch.dtype], folder: Path, tied: bool) -> None:
    """The tensors under their names in the base's types; the output layer only where it is not the embedding.

    Each takes the place of its float32 original before the next is made, so that there is never a second model.
    """
    default = types.get(EMBEDDING, torch.float32)
    for name, parameter in model.named_parameters():
        parameter.data = parameter.data.to(types.get(name, default)).contiguous()
    kept = {name: tensor.to(types.get(name, default)).contiguous() for name, tensor in model.state_dict().items()
            if name != OUTPUT or not tied}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def _copy_the_rest(base_folder: Path, adapter_folder: Path, out_folder: Path) -> None:
    for path in base_folder.iterdir():
        if path.is_file() and path.suffix in (".json", ".txt") and not path.name.endswith(".index.json"):
            shutil.copyfile(path, out_folder / path.name)
    copy_files(("README.md", "run.json"), adapter_folder, out_folder)


def _describe(run: dict[str, Any], folder: Path, vocab_size: int, tied: bool) -> None:
    """What the adapter's run says of the checkpoint, into its configurations."""
    copy_facts(run, folder / "config.json")
    update_json(folder / "config.json", {"tie_word_embeddings": tied, "vocab_size": vocab_size})
    forced = {key: run[key] for key in ("language", "task") if isinstance(run.get(key), str)}
    if f"<|{forced.get('language')}|>" in (run.get("added_tokens") or {}):
        forced["language"] = f"<|{forced['language']}|>"  # transformers knows the token, not the language
    update_json(folder / "generation_config.json", forced)


def _with_added_tokens(base: WhisperForConditionalGeneration, folder: Path, added: object) -> WhisperTokenizer | None:
    """The base's tokenizer with the tokens that the adapter's training added to both; None if there were none."""
    if not added:
        return None
    if not isinstance(added, dict) or not all(isinstance(like, str) for like in added.values()) or len(added) > 100:
        raise _another_base("added_tokens in run.json")
    tokenizer = WhisperTokenizer.from_pretrained(folder, local_files_only=True)
    add_language_tokens(base, tokenizer, added)
    base.generation_config._from_model_config = False  # otherwise save_pretrained leaves out Whisper's own fields
    return tokenizer


def _another_base(got: str) -> UserError:
    return UserError("The adapter cannot be merged; it was damaged, or trained for another base checkpoint", got=got,
                     hint="name the right base as base_model_name_or_path in adapter_config.json, or save it again")


def _first_line(error: BaseException) -> str:
    lines: list[Any] = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160] if lines else ''}"

