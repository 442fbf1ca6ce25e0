"""Whisper of every size with random weights: for measuring speed, which does not depend on what the weights are.

Enters: a shape's name and a folder with a Whisper tokenizer. Leaves: transformers' model, and our engine over the very
same tensors. The end token is suppressed, so every clip gets exactly as many tokens as are asked for.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

from shared.checkpoint.tokenizer import Tokens, tokens_of
from shared.engines.torch_engine import TorchEngine
from shared.whisper_constants import DECODER_POSITIONS

VOCABULARY = 51865  # of all sizes here; the large ones have one language token more
START, END = 50258, 50257
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True)
class Shape:
    """d_model, layers of encoder and decoder, mel channels; heads are 64 wide, feed-forward is four times as wide."""

    d_model: int
    encoder_layers: int
    decoder_layers: int
    n_mels: int = 80


# Sizes after the config.json of openai/whisper-base, -small, -large-v3-turbo and -large-v3.
SHAPES = {
    "base": Shape(512, 6, 6), "small": Shape(768, 12, 12), "large-v3-turbo": Shape(1280, 32, 4, 128),
    "large-v3": Shape(1280, 32, 32, 128), "tiny": Shape(128, 2, 2),
}


@dataclass
class Pair:
    """The same random weights in transformers and in our engine. folder: config, tokenizer and generation config."""

    name: str
    shape: Shape
    reference: WhisperForConditionalGeneration
    engine: TorchEngine
    tokens: Tokens
    folder: Path

    @property
    def prompt(self) -> list[int]:
        return self.tokens.prompt("en", "transcribe", timestamps=False)


def random_model(shape: Shape, device: str, dtype: torch.dtype, *, seed: int = 1, gain: float = 1.0
                 ) -> WhisperForConditionalGeneration:
    """transformers' Whisper with the weights that its own initialisation draws, made on the device itself.

    gain: what the linear layers' weights are multiplied by; more than 1 makes the audio and earlier tokens count.
    """
    torch.manual_seed(seed)
    config = WhisperConfig(
        vocab_size=VOCABULARY, num_mel_bins=shape.n_mels, d_model=shape.d_model, encoder_layers=shape.encoder_layers,
        decoder_layers=shape.decoder_layers, encoder_attention_heads=shape.d_model // 64,
        decoder_attention_heads=shape.d_model // 64, encoder_ffn_dim=4 * shape.d_model,
        decoder_ffn_dim=4 * shape.d_model, bos_token_id=END, eos_token_id=END, pad_token_id=END,
        decoder_start_token_id=START, num_hidden_layers=shape.encoder_layers)
    with torch.device(device):
        model = WhisperForConditionalGeneration(config)
    for module in model.model.modules():
        if isinstance(module, torch.nn.Linear):
            module.weight.data *= gain
    return model.to(dtype).eval()


def pair(name: str, tokenizer: Path, folder: Path, device: str, compute_type: str, gain: float = 1.0) -> Pair:
    """One shape in both, on one device. folder: an empty one, written to. gain: as for `random_model`."""
    for file in TOKENIZER_FILES:
        if (tokenizer / file).is_file():
            shutil.copyfile(tokenizer / file, folder / file)
    tokens = tokens_of(folder)
    model = random_model(SHAPES[name], device, getattr(torch, compute_type), gain=gain)
    model.generation_config = generation_config(tokens)
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    engine = TorchEngine(folder, device=device, compute_type=compute_type, tensors=model.state_dict())
    return Pair(name, SHAPES[name], model, engine, tokens, folder)


def generation_config(tokens: Tokens) -> GenerationConfig:
    """Whisper's, with the end token suppressed."""
    config = GenerationConfig(
        max_length=DECODER_POSITIONS, bos_token_id=END, eos_token_id=END, pad_token_id=END,
        decoder_start_token_id=START, is_multilingual=True, return_timestamps=False, suppress_tokens=[tokens.end],
        lang_to_id={f"<|{code}|>": number for code, number in tokens.languages.items()},
        task_to_id={"transcribe": tokens.transcribe, "translate": tokens.translate},
        no_timestamps_token_id=tokens.no_timestamps, prev_sot_token_id=tokens.previous)
    config._from_model_config = False  # otherwise save_pretrained leaves out Whisper's own fields
    return config


def saved(pair: Pair) -> Path:
    """The folder with the weights in it as well, for engines that read a checkpoint from disk."""
    pair.reference.save_pretrained(pair.folder)
    path = pair.folder / "generation_config.json"
    fields = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(fields | {"suppress_tokens": [pair.tokens.end]}), encoding="utf-8")
    return pair.folder
