"""The model as it is trained: short encoder contexts, LoRA or not, and checkpoints that are complete.

Enters: a checkpoint's folder and the config. Leaves: a stock WhisperForConditionalGeneration whose encoder takes any
even number of frames, and folders that transformers loads as they are. Knows nothing of data.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import peft
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import WhisperForConditionalGeneration, WhisperProcessor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from shared.checkpoint import Checkpoint, files
from shared.checkpoint.embedded import write_preprocessor_config
from shared.errors import UserError
from training.config import Config
from training.data import IGNORED


class ShortContextEncoder(WhisperEncoder):
    """Whisper's encoder on inputs shorter than 30 s: the first positions only. Same weights, same state dict."""

    def forward(self, input_features: torch.Tensor, *args, **kwargs):
        """input_features: (batch, n_mels, n_frames), n_frames even and at most 3000."""
        with _positions(self, input_features.shape[-1] // 2):
            return super().forward(input_features, *args, **kwargs)


@contextlib.contextmanager
def _positions(encoder: WhisperEncoder, n_positions: int) -> Iterator[None]:
    """The stock forward checks the length against the config and adds every row of `embed_positions`."""
    full, config = encoder.embed_positions, encoder.config
    said = config.max_source_positions
    encoder.embed_positions = nn.Embedding.from_pretrained(full.weight[:n_positions], freeze=True)
    config.max_source_positions = n_positions
    try:
        yield
    finally:
        encoder.embed_positions, config.max_source_positions = full, said


def load_base(config: Config) -> tuple[Checkpoint, WhisperForConditionalGeneration, WhisperProcessor]:
    """The base checkpoint (with its commit), the model in float32 with the short-context encoder, its processor.

    Raises UserError if it is not to be had, or does not know the language.
    """
    checkpoint, folder = files(Checkpoint.parse(config.base), "transformers")
    model = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    model.model.encoder.__class__ = ShortContextEncoder
    processor = WhisperProcessor.from_pretrained(folder)
    generation = model.generation_config
    if is_multilingual(model):
        if f"<|{config.language}|>" not in processor.tokenizer.get_vocab():
            raise UserError("Whisper has no token for the language", got=config.language,
                            hint="use the code of a related language it knows")
        generation.language, generation.task = config.language, config.task
        processor.tokenizer.set_prefix_tokens(language=config.language, task=config.task)
    generation.forced_decoder_ids = None
    generation._from_model_config = False  # otherwise save_pretrained leaves out Whisper's own fields
    model.config.use_cache = True
    return checkpoint, model, processor


def is_multilingual(model: nn.Module) -> bool:
    """Whether it knows language and task tokens; English-only checkpoints do not."""
    return bool(getattr(model.generation_config, "is_multilingual", True))


def trainable(model: WhisperForConditionalGeneration, config: Config, base: Checkpoint) -> nn.Module:
    """The model with what the config says made trainable: everything, all but the encoder, or a LoRA adapter.

    The encoder's positions are sinusoids and stay as they are, as in Whisper's own training.
    """
    method = config.method
    if method.kind == "lora":
        lora = peft.LoraConfig(r=method.lora_rank, lora_alpha=method.lora_alpha, lora_dropout=method.lora_dropout,
                               target_modules=list(method.lora_targets), base_model_name_or_path=base.model_id,
                               revision=base.revision)
        return peft.get_peft_model(model, lora)
    model.model.encoder.requires_grad_(method.kind == "full")
    model.model.encoder.embed_positions.requires_grad_(False)
    return model


def token_loss(outputs, labels: torch.Tensor, num_items_in_batch=None) -> torch.Tensor:
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
        config = json.loads(path.read_text(encoding="utf-8"))
        config |= {key: run[key] for key in ("finetuned_languages", "short_context", "timestamps")}
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
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
