"""A checkpoint as ONNX for a browser or any other ONNX runtime, in float32, float16 or 8 bits, and a recogniser of it.

Enters: a folder in transformers' form. Leaves: encoder.onnx, decoder.onnx, vocabulary.json (the text tokens by id,
bytes written as in tokenizer.json) and model.json (shapes, token ids, how a clip is cropped): all that a page needs.
Both parts take any length, so a clip costs what it lasts; `onnx_network` states their inputs.

- float32: as it is.
- float16: weights stored in 16 bits and widened when the file is opened: half of the download, the same arithmetic.
- int8: products by onnxruntime's dynamic quantisation, one scale for each output. Convolutions and positions stay in
  float16.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from shared.audio.features import frames_for, log_mel
from shared.checkpoint import facts
from shared.checkpoint.tokenizer import Tokens, tokenizer_file, tokens_of
from shared.checkpoint.weights import read_json
from shared.engines import Decoded
from shared.errors import UserError
from shared.inference import quality
from shared.inference.context import POLICIES
from shared.inference.window_decoder import TOKENS_PER_SECOND
from shared.whisper_constants import (
    DECODER_POSITIONS,
    ENCODER_POSITIONS,
    FRAMES_PER_POSITION,
    MAX_NEW_TOKENS,
    N_FRAMES_FULL,
    SAMPLE_RATE,
    WINDOW_SAMPLES,
)
from training.onnx_network import DECODER_IN, DECODER_OUT, ENCODER_IN, ENCODER_OUT, Decoder, Encoder, Weights

if TYPE_CHECKING:
    import onnx
    import onnxruntime

Step = Callable[..., Sequence[np.ndarray]]  # arrays of DECODER_IN -> arrays of DECODER_OUT
PRECISIONS = ("float32", "float16", "int8")
PARTS = ("encoder.onnx", "decoder.onnx")
OPSET = 20  # the first with Gelu; onnxruntime 1.17 and later read it
SMALL = 4096  # values: a constant of fewer stays in float32 (biases, norms)
EXAMPLE_FRAMES = 440  # of the clip that the exporter runs once; its length leaves no trace


def write_onnx(source: Path, folder: Path, precisions: tuple[str, ...] = PRECISIONS, *, room: bool = False,
               parts: tuple[str, ...] = PARTS) -> None:
    """Write the checkpoint `source` into the new folder `folder`, one folder in it for each precision.

    room: a stock checkpoint that is known to need only some seconds of silence behind a clip (`inference.context`).
    parts: which of the two files are wanted.
    Raises UserError for a checkpoint that cannot be exported, or where the libraries are missing.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise UserError("Exporting to ONNX needs two more packages", got=f"no {error.name}",
                        hint="pip install -e '.[train]'") from error
    described = _described(source, room)
    weights = Weights(source)
    draft = folder / "float32"
    draft.mkdir(parents=True)
    for part in parts:
        (_export_encoder if part == "encoder.onnx" else _export_decoder)(weights, draft / part)
    del weights
    for precision in precisions:
        made = folder / precision
        made.mkdir(exist_ok=True)
        for part in parts:
            if precision == "float16":
                _save(_halved(_open(draft / part)), made / part)
            elif precision == "int8":
                _quantise(draft / part, made / part)
        (made / "model.json").write_text(json.dumps(described), encoding="utf-8")
        (made / "vocabulary.json").write_text(json.dumps(_vocabulary(source), ensure_ascii=False), encoding="utf-8")
    if "float32" not in precisions:
        for path in draft.iterdir():
            path.unlink()
        draft.rmdir()


# the graphs


def _export_encoder(weights: Weights, path: Path) -> None:
    half = torch.export.Dim("half", min=2, max=ENCODER_POSITIONS)
    _export(Encoder(weights), (torch.zeros(weights.n_mels, EXAMPLE_FRAMES),), ({1: FRAMES_PER_POSITION * half},), path,
            (ENCODER_IN, ENCODER_OUT))


def _export_decoder(weights: Weights, path: Path) -> None:
    """The example has several tokens and a past: lengths of 0 and 1 would be taken for constants.

    Each input is a tensor of its own: one given twice would become one input.
    """
    layers, heads = weights.decoder_layers, weights.decoder_heads
    size, n, n_past, n_positions = weights.d_model // heads, 3, 5, 70
    past = [torch.zeros(n_past, layers, heads, size) for _ in "kv"]
    cross = torch.zeros(layers, heads, size, n_positions), torch.zeros(layers, heads, n_positions, size)
    dim = torch.export.Dim
    tokens, before = dim("n", min=1, max=DECODER_POSITIONS - 1), dim("n_past", min=0, max=DECODER_POSITIONS - 1)
    positions = dim("n_positions", min=2, max=ENCODER_POSITIONS)
    _export(Decoder(weights), (torch.zeros(n, dtype=torch.long), *past, *cross),
            ({0: tokens}, {0: before}, {0: before}, {3: positions}, {2: positions}), path, (DECODER_IN, DECODER_OUT))


def _export(module: torch.nn.Module, example: tuple[torch.Tensor, ...], shapes: tuple[dict[int, Any], ...], path: Path,
            names: tuple[tuple[str, ...], tuple[str, ...]]) -> None:
    """shapes: which axes of each input may have any length."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)  # it names every library that it could use and that is not here
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(module.eval(), example, str(path), input_names=list(names[0]),
                              output_names=list(names[1]), dynamic_shapes=shapes, opset_version=OPSET,
                              external_data=False, verbose=False)
    except (torch.onnx.errors.OnnxExporterError, ValueError) as error:
        raise UserError("The checkpoint cannot be written as ONNX", got=" ".join(str(error).split())[:200],
                        hint="a part above 2 GB does not fit into one file; take a smaller model") from error
    finally:
        log.setLevel(level)


def _open(path: Path) -> onnx.ModelProto:
    import onnx

    return onnx.load(str(path))


def _save(model: onnx.ModelProto, path: Path) -> None:
    import onnx

    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """Large constants in float16, each widened by a node that a runtime carries out once, on opening the file."""
    from onnx import TensorProto, helper, numpy_helper

    widened = []
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and int(np.prod(tensor.dims)) > SMALL:
            name = tensor.name
            values = numpy_helper.to_array(tensor)
            if float(np.abs(values).max(initial=0.0)) > np.finfo(np.float16).max:
                continue  # would become infinite
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
            widened.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*widened, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _quantise(source: Path, path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    log = logging.getLogger()
    level = log.level
    log.setLevel(logging.ERROR)  # it advises a step that is for convolutions
    try:
        # Signed and with one scale for each output: the zero point is 0, which `_one_table` relies on.
        quantize_dynamic(str(source), str(path), op_types_to_quantize=["MatMul"], per_channel=True,
                         weight_type=QuantType.QInt8)
    finally:
        log.setLevel(level)
    _save(_halved(_one_table(_open(path))), path)


def _one_table(model: onnx.ModelProto) -> onnx.ModelProto:
    """Let the lookup of token vectors read the 8-bit table of the last product, in place of a second one in float32."""
    from onnx import TensorProto, helper

    tables = {tensor.name for tensor in model.graph.initializer}
    kept: list[onnx.NodeProto] = []
    for node in model.graph.node:
        table = node.input[0] if node.op_type == "Gather" else ""
        if f"{table}_quantized" not in tables:
            kept.append(node)
            continue
        ids, found = node.input[1], node.output[0]
        kept += [helper.make_node("Gather", [f"{table}_quantized", ids], [f"{found}.8"], axis=1),
                 helper.make_node("Cast", [f"{found}.8"], [f"{found}.whole"], to=TensorProto.FLOAT),
                 helper.make_node("Gather", [f"{table}_scale", ids], [f"{found}.scale"], axis=0),
                 helper.make_node("Mul", [f"{found}.whole", f"{found}.scale"], [found])]
    used = {name for node in kept for name in node.input}
    constants = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(kept)
    model.graph.initializer.extend(constants)
    return model


# what stands beside them


def _described(source: Path, room: bool) -> dict[str, Any]:
    """What a program must know to use the two files."""
    tokens, about, config = tokens_of(source), facts(source), read_json(source / "config.json")
    never, never_first = suppressed(source, tokens)
    policy = POLICIES["room" if room and about.short_context == "full" else about.short_context]
    return {
        "n_mels": config["num_mel_bins"], "n_vocabulary": config["vocab_size"],
        "layers": config["decoder_layers"], "heads": config["decoder_attention_heads"],
        "head_size": config["d_model"] // config["decoder_attention_heads"],
        "decoder_positions": DECODER_POSITIONS, "max_tokens": MAX_NEW_TOKENS,
        "silence": policy.silence, "unsure_logprob": policy.unsure_logprob,
        "start": tokens.start, "end": tokens.end, "previous": tokens.previous, "no_timestamps": tokens.no_timestamps,
        "no_speech": tokens.no_speech, "transcribe": tokens.transcribe, "translate": tokens.translate,
        "multilingual": tokens.is_multilingual, "languages": tokens.languages, "never": never,
        "never_first": never_first, "timestamps": about.timestamps, "first_stamp": tokens.first_stamp,
        "last_stamp": tokens.last_stamp, "tuned_for": about.languages, "task": about.task,
        "text_language": about.text_language,
    }


def suppressed(source: Path, tokens: Tokens) -> tuple[list[int], list[int]]:
    """Tokens that never come where text alone is written, so that timestamps are among them, and those that do not come
    first."""
    path = source / "generation_config.json"
    generation = read_json(path) if path.is_file() else {}
    never = {*(generation.get("suppress_tokens") or tokens.non_speech), *range(tokens.start, tokens.n_tokens)}
    return sorted(never), generation.get("begin_suppress_tokens") or [*tokens.encode(" "), tokens.end]


def _vocabulary(source: Path) -> list[str]:
    """Text tokens by id, each byte as the printable character that byte-level BPE has for it."""
    model = read_json(tokenizer_file(source))["model"]
    by_id = {number: token for token, number in model["vocab"].items()}
    return [by_id.get(number, "") for number in range(tokens_of(source).end)]


# used in Python


class OnnxRecogniser:
    """The two files in onnxruntime, greedy and without timestamps."""

    _timestamps = False

    def __init__(self, folder: Path, source: Path) -> None:
        """folder: one precision of `write_onnx`. source: the checkpoint it was made of."""
        self._model = read_json(folder / "model.json")
        self._tokens: Tokens = tokens_of(source)
        self._encoder = _session(folder / "encoder.onnx")
        self._step = self._decoder_of(folder, source)

    def _decoder_of(self, folder: Path, source: Path) -> Step:
        session = _session(folder / "decoder.onnx")
        return lambda *given: session.run(None, dict(zip(DECODER_IN, given, strict=True)))

    @property
    def task(self) -> str:
        """What the checkpoint was tuned to do."""
        return str(self._model["task"])

    def text(self, samples: np.ndarray, language: str, task: str, *, full: bool = False) -> str:
        """samples: float32 at 16 kHz; more than 30 s are cut every 30 s. full: all of the context, padded."""
        parts = [self._window(samples[at : at + WINDOW_SAMPLES], language, task, full)
                 for at in range(0, max(1, len(samples)), WINDOW_SAMPLES)]
        return " ".join(part for part in parts if part)

    def _window(self, samples: np.ndarray, language: str, task: str, full: bool) -> str:
        silence, unsure = self._model["silence"], self._model["unsure_logprob"]
        seconds = len(samples) / SAMPLE_RATE
        n_frames = N_FRAMES_FULL if full or silence is None else frames_for(seconds + silence)
        cross = self._encoder.run(None, {ENCODER_IN[0]: log_mel(samples, self._model["n_mels"], n_frames)})
        decoded = self.decode(cross, self._tokens.prompt(language, task, timestamps=self._timestamps), seconds)
        text = self._tokens.text(decoded.tokens).strip()
        is_cropped, is_silent = n_frames < N_FRAMES_FULL, quality.is_silent(decoded)
        is_wrong = quality.looks_wrong(decoded, text) or (unsure is not None and decoded.avg_logprob < unsure)
        if is_wrong and is_cropped and not is_silent:  # all it may have missed is context
            return self._window(samples, language, task, full=True)
        return "" if is_silent else text

    def decode(self, cross: list[np.ndarray], prompt: list[int], seconds: float) -> Decoded:
        """The likeliest token at each step, from what the encoder gave; seconds: of the clip."""
        layers, _, size, _ = cross[0].shape
        keys = values = np.zeros((0, layers, self._model["heads"], size), np.float32)
        limit = min(self._model["max_tokens"], DECODER_POSITIONS - len(prompt), int(16 + TOKENS_PER_SECOND * seconds))
        at_start, at_end, silence = prompt.index(self._model["start"]) + 1, self._model["end"], self._model["no_speech"]

        def after(following: list[int]) -> np.ndarray:
            nonlocal keys, values
            logits, new_keys, new_values = self._step(np.array(following, np.int64), keys, values, *cross)
            keys, values = np.concatenate([keys, new_keys]), np.concatenate([values, new_values])
            return logits

        logits = after(prompt[:at_start])  # alone first: what follows the start tells whether there is speech
        no_speech = 0.0 if silence is None else float(np.exp(_logprobs(logits)[silence]))
        if prompt[at_start:]:
            logits = after(prompt[at_start:])
        ids: list[int] = []
        logprob = 0.0
        while True:
            self._forbid(logits, ids)
            token = int(logits.argmax())
            logprob += float(_logprobs(logits)[token])
            if token != at_end:
                ids.append(token)
            if token == at_end or len(ids) >= limit:
                return Decoded(tuple(ids), logprob / (len(ids) + 1), no_speech, finished=token == at_end)
            logits = after([token])

    def _forbid(self, logits: np.ndarray, ids: list[int]) -> None:
        """Set what may not come next to -inf, in place. ids: so far."""
        logits[self._model["never"]] = -np.inf
        if not ids:
            logits[self._model["never_first"]] = -np.inf


def _session(path: Path) -> onnxruntime.InferenceSession:
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def _logprobs(logits: np.ndarray) -> np.ndarray:
    top = logits.max()
    return logits - top - np.log(np.exp(logits - top).sum())
