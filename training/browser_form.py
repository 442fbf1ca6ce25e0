"""A checkpoint as the page without a server reads it: the encoder as ONNX, the decoder as its weights in 8 bits.

Enters: a folder in transformers' form. Leaves: encoder.onnx, model.json and vocabulary.json as `onnx_form` writes them,
and decoder.safetensors, which `spaces/browser/decoder.js` runs: onnxruntime-web takes four times as long for a step of
one token (docs/apps.md).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from shared.engines.torch_decoding import Rules
from shared.errors import UserError
from training.onnx_form import OnnxRecogniser, Step, write_onnx
from training.onnx_network import Decoder, Weights

PRECISION = "int8"
DECODER = "decoder.safetensors"
LARGEST = 127  # of a weight in 8 bits; symmetric, so that there is no zero point


def write_browser(source: Path, folder: Path, *, room: bool = False) -> None:
    """Write the checkpoint `source` into the new folder `folder`.

    Args:
        source: in transformers' form.
        folder: is made.
        room: as for `write_onnx`.

    Raises:
        UserError: the checkpoint cannot be exported, or the libraries are missing.
    """
    weights = Weights(source)
    check_shape(weights)
    write_onnx(source, folder, (PRECISION,), room=room, parts=("encoder.onnx",))
    for path in (folder / PRECISION).iterdir():
        path.rename(folder / path.name)
    (folder / PRECISION).rmdir()
    write_decoder(Decoder(weights), folder / DECODER)


def check_shape(weights: Weights) -> None:
    """Raise UserError for a network that the page's products would read wrongly: they take so many values at a time."""
    inner = weights.get("decoder.layers.0.fc1.weight").shape[0]
    head = weights.d_model // weights.decoder_heads
    for what, n, block in (("width", weights.d_model, 32), ("feed-forward width", inner, 32), ("head size", head, 16)):
        if n % block:
            raise UserError(f"The page without a server cannot run a decoder of this {what}", got=n,
                            limit=f"a multiple of {block}", hint="all of Whisper's own sizes are")


def write_decoder(network: Decoder, path: Path) -> None:
    """Matrices as (n_out, n_in) in 8 bits, with NAME.scales: one for each output. All else in float32."""
    tensors = {}
    for name, tensor in network.state_dict().items():
        if tensor.dim() == 2 and name != "positions":
            rows = tensor.T
            scales = (rows.abs().amax(dim=1) / LARGEST).clamp(min=torch.finfo(torch.float32).tiny)
            tensors[name] = (rows / scales[:, None]).round().to(torch.int8).contiguous()
            tensors[f"{name}.scales"] = scales.contiguous()
        else:
            tensors[name] = tensor.float().contiguous()
    save_file(tensors, path)


def read_decoder(network: Decoder, path: Path) -> None:
    """Give the network the weights of the file, widened to float32."""
    stored = load_file(path)
    network.load_state_dict({
        name: (tensor.float() * stored[f"{name}.scales"][:, None]).T if tensor.dtype == torch.int8 else tensor
        for name, tensor in stored.items() if not name.endswith(".scales")})


class BrowserRecogniser(OnnxRecogniser):
    """What the page does, in Python, with the page's files; products in float32 where the page has 13 to 16 bits.

    Where the checkpoint writes times, so it does here, by the server's own rules: they change what text comes.
    """

    def __init__(self, folder: Path, source: Path) -> None:
        super().__init__(folder, source)
        self._timestamps = bool(self._model["timestamps"])
        stamps = range(self._model["first_stamp"], self._model["last_stamp"] + 1)
        never = [i for i in self._model["never"] if not (self._timestamps and i in stamps)]
        self._rules = Rules(self._tokens, torch.tensor(never), torch.tensor(self._model["never_first"]))

    def _forbid(self, logits: np.ndarray, ids: list[int]) -> None:
        self._rules.apply(torch.from_numpy(logits)[None], [ids], self._timestamps)

    def _decoder_of(self, folder: Path, source: Path) -> Step:
        network = Decoder(Weights(source))
        read_decoder(network, folder / DECODER)

        def step(*given: np.ndarray) -> list[np.ndarray]:
            with torch.inference_mode():
                return [tensor.numpy() for tensor in network(*map(torch.from_numpy, given))]

        return step
