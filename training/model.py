"""The model as it is trained: short encoder contexts, LoRA or not, and checkpoints that are complete.

Enters: a checkpoint's folder and the config. Leaves: a stock WhisperForConditionalGeneration whose encoder takes any
even number of frames, and folders that transformers loads as they are. Knows nothing of data.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import peft
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import (
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from shared.checkpoint import Checkpoint, files
from shared.checkpoint.adapter import load_model
from shared.checkpoint.added_tokens import add_language_tokens
from shared.checkpoint.embedded import write_preprocessor_config
from shared.checkpoint.info import copy_facts
from shared.checkpoint.tokenizer import Tokens
from shared.errors import UserError
from shared.whisper_constants import DECODER_POSITIONS, MAX_FIRST_STAMP
from training.config import Config
from training.data import IGNORED


def accept_short_context(encoder: WhisperEncoder) -> None:
    """Let an encoder take log-mel (batch, n_mels, n_frames) of any even n_frames up to 3000: the first positions only.

    The stock forward checks the length against the config and adds every row of `embed_positions`; for the time of one
    forward both are cut to the input's length. Weights, state dict and class stay as they are.
    """
    replaced: list[tuple[nn.Embedding, int]] = []

    def shorten(module: nn.Module, args: tuple[Any, ...], given: dict[str, Any]) -> None:
        features = args[0] if args else given["input_features"]
        n_positions, full = features.shape[-1] // 2, encoder.embed_positions
        replaced.append((full, encoder.config.max_source_positions))
        encoder.embed_positions = nn.Embedding.from_pretrained(full.weight[:n_positions], freeze=True)
        encoder.config.max_source_positions = n_positions

    def restore(module: nn.Module, args: tuple[Any, ...], given: dict[str, Any], output: object) -> None:
        encoder.embed_positions, encoder.config.max_source_positions = replaced.pop()

    encoder.register_forward_pre_hook(shorten, with_kwargs=True)
    encoder.register_forward_hook(restore, with_kwargs=True, always_call=True)


def load_base(config: Config, languages: Sequence[str] = ()
              ) -> tuple[Checkpoint, WhisperForConditionalGeneration, WhisperProcessor]:
    """The base checkpoint ready to be trained.

    Args:
        config: names the base, the task and the tokens of the languages.
        languages: of the speech in the data, the main one first; the config's own if there is none.

    Returns:
        The checkpoint with its commit, the model in float32 that takes short contexts, and its processor; both with the
        tokens the config adds, and with a generation configuration as complete as Whisper's own.

    Raises:
        UserError: the base is not to be had, or has no token for a language.
    """
    checkpoint, folder = files(Checkpoint.parse(config.base), "transformers")
    model = load_model(folder)
    accept_short_context(model.model.encoder)
    _complete_generation_config(model, folder)
    try:
        processor = WhisperProcessor.from_pretrained(folder)
    except OSError:  # a base without preprocessor_config.json
        features = WhisperFeatureExtractor(feature_size=model.config.num_mel_bins)
        processor = WhisperProcessor(features, WhisperTokenizer.from_pretrained(folder))
    if is_multilingual(model):
        add_language_tokens(model, processor.tokenizer, config.added_tokens)
        spoken = tuple(languages) or tuple(filter(None, [config.language]))
        _force(model, processor, config, spoken)
    model.config.use_cache = True
    return checkpoint, model, processor


def _force(model: WhisperForConditionalGeneration, processor: WhisperProcessor, config: Config, spoken: Sequence[str]
           ) -> None:
    """Write task and, where there is one only, the language into the generation configuration."""
    vocabulary, generation = processor.tokenizer.get_vocab(), model.generation_config
    unknown = sorted(code for code in spoken if f"<|{config.token_of(code)}|>" not in vocabulary)
    if unknown:
        raise UserError("Whisper has no token for the language", got=", ".join(unknown),
                        hint=f"name a related language whose token is used: language_tokens={{{unknown[0]}: …}}; with "
                             "add_tokens=true it gets one of its own")
    generation.task = config.task
    generation.language = None
    if len(spoken) == 1:
        code = config.token_of(spoken[0])
        added = f"<|{code}|>" in config.added_tokens
        generation.language = f"<|{code}|>" if added else code  # transformers knows the added token, not its language
        if not added:
            processor.tokenizer.set_prefix_tokens(language=code, task=config.task)


def _complete_generation_config(model: WhisperForConditionalGeneration, folder: Path) -> None:
    """Whisper's own fields, where an old or home-made base lacks them; without, transformers refuses language and task.

    Forced ids of transformers 4 go, from both configurations: they contradict the language and task that are asked for.
    """
    generation, tokens = model.generation_config, Tokens(folder)
    known = {
        "is_multilingual": tokens.is_multilingual, "no_timestamps_token_id": tokens.no_timestamps,
        "prev_sot_token_id": tokens.previous, "max_initial_timestamp_index": MAX_FIRST_STAMP,
        "return_timestamps": False, "decoder_start_token_id": tokens.start, "eos_token_id": tokens.end,
        "pad_token_id": tokens.end, "bos_token_id": tokens.end,
        "begin_suppress_tokens": [*tokens.encode(" "), tokens.end],
        "suppress_tokens": sorted({*tokens.non_speech, *range(tokens.start, tokens.no_timestamps)}),
    }
    if tokens.is_multilingual:
        known |= {"lang_to_id": {f"<|{code}|>": number for code, number in tokens.languages.items()},
                  "task_to_id": {"transcribe": tokens.transcribe, "translate": tokens.translate}}
    complete = (folder / "generation_config.json").is_file() and getattr(generation, "no_timestamps_token_id", None)
    for key, value in known.items():
        if not complete or getattr(generation, key, None) is None:
            setattr(generation, key, value)
    if not getattr(generation, "max_length", None) or generation.max_length < DECODER_POSITIONS:
        generation.max_length = model.config.max_target_positions
    generation.forced_decoder_ids = None
    for key in ("forced_decoder_ids", "suppress_tokens", "begin_suppress_tokens"):
        if getattr(model.config, key, None) is not None:
            setattr(model.config, key, None)
    generation._from_model_config = False  # otherwise save_pretrained leaves out Whisper's own fields


def is_multilingual(model: nn.Module) -> bool:
    """Whether it knows language and task tokens; English-only checkpoints do not."""
    return bool(getattr(model.generation_config, "is_multilingual", True))


def trainable(model: WhisperForConditionalGeneration, config: Config, base: Checkpoint) -> nn.Module:
    """The model with what the config says made trainable: everything, all but the encoder, or a LoRA adapter.

    The encoder's positions are sinusoids and stay as they are, as in Whisper's own training.
    """
    if config.steps.gradient_checkpointing:  # from here on, so that the preflight measures it too
        (getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable)(
            {"use_reentrant": False})  # the other kind gives layers behind frozen ones no gradient
    method = config.method
    if method.kind == "lora":
        _check_targets(model, method.lora_targets)
        lora = peft.LoraConfig(r=method.lora_rank, lora_alpha=method.lora_alpha, lora_dropout=method.lora_dropout,
                               target_modules=list(method.lora_targets), base_model_name_or_path=base.model_id,
                               revision=base.revision, trainable_token_indices=_added_ids(model, config))
        return peft.get_peft_model(model, lora)
    model.model.encoder.requires_grad_(method.kind == "full")
    model.model.encoder.embed_positions.requires_grad_(False)
    return model


def _check_targets(model: nn.Module, targets: Sequence[str]) -> None:
    """Raises UserError where no module is called so: peft stops only where none of them is."""
    layers = {name.rsplit(".", 1)[-1] for name, module in model.named_modules()
              if isinstance(module, nn.Linear | nn.Embedding | nn.Conv1d)}
    unknown = [target for target in targets if target.rsplit(".", 1)[-1] not in layers]
    if unknown:
        raise UserError("The model has no modules of these names", got=", ".join(unknown),
                        limit=", ".join(sorted(layers)), hint="correct method.lora_targets")


def _added_ids(model: WhisperForConditionalGeneration, config: Config) -> list[int] | None:
    """The rows of the embedding that LoRA trains as well: those of added tokens."""
    return [model.generation_config.lang_to_id[token] for token in config.added_tokens] or None


def token_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
               ) -> torch.Tensor:
    """Cross entropy per token over all clips of one step, so that accumulation and more GPUs change nothing.

    Whisper's own loss averages each forward pass by itself.
    """
    total = cross_entropy(outputs.logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum")
    return total / (num_items_in_batch if num_items_in_batch is not None else (labels != IGNORED).sum())


def plain(model: nn.Module) -> WhisperForConditionalGeneration:
    """The Whisper model inside, without peft's wrapper."""
    return model.get_base_model() if isinstance(model, peft.PeftModel) else model


def complete(folder: Path, model: nn.Module, processor: WhisperProcessor, run: dict) -> None:
    """Put beside saved weights (or a saved adapter) all that makes them a checkpoint, and `run.json`."""
    inner = plain(model)
    processor.save_pretrained(folder)
    write_preprocessor_config(folder, inner.config.num_mel_bins)
    inner.generation_config.save_pretrained(folder)
    path = folder / "config.json"
    if path.is_file():
        copy_facts(run, path)
    (folder / "run.json").write_text(json.dumps(run, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    adapter = folder / "adapter_config.json"
    if adapter.is_file():  # peft writes the folder the base was loaded from; what it is called is what must stay
        config = json.loads(adapter.read_text(encoding="utf-8"))
        config |= {"base_model_name_or_path": run["base"], "revision": run["base_revision"]}
        adapter.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (folder / "README.md").unlink(missing_ok=True)  # peft's empty card, with that folder's path in it


def small_adapter(source: Path, folder: Path) -> None:
    """A saved adapter in float16, with its configuration and run.json only: what is shipped and merged elsewhere."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = load_file(source / "adapter_model.safetensors")
    path = folder / "adapter_model.safetensors"
    save_file({name: weight.half().contiguous() for name, weight in weights.items()}, path, metadata={"format": "pt"})
    path.chmod(0o644)
    for name in ("adapter_config.json", "run.json"):
        shutil.copyfile(source / name, folder / name)
