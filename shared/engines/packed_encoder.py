"""The encoder over clips of several lengths at once, without padding: for a GPU, where one short clip fills nothing.

Enters: log-mels of any even lengths. Leaves: `States` as each clip alone gives them. After the two convolutions the
clips lie one after the other, (n_positions of all, d_model); linear layers do not mind, and attention is given where
each begins. Silence behind a clip is never computed and never seen by another clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from shared.engines.torch_model import States, WhisperNetwork


def encode_packed(network: WhisperNetwork, features: Sequence[np.ndarray], ops: Any) -> States:
    """Encoder states of clips of any lengths.

    Args: features: log-mel float32 (n_mels, n_frames) each, n_frames even and at most 3000. ops: `cuda_kernels` on a
        GPU, `static_ops` elsewhere.
    Returns: the states, each row filled with zeros behind its own length.
    """
    lengths = [mel.shape[1] // 2 for mel in features]
    longest = max(lengths)
    padded = np.zeros((len(features), network.n_mels, 2 * longest), dtype=np.float32)
    for row, mel in zip(padded, features, strict=True):
        row[:, : mel.shape[1]] = mel
    x = torch.from_numpy(padded).to(network.device, network.dtype)
    # Zeros behind a clip are what the convolutions take to be there anyway, and no kept position reaches past them.
    x = functional.gelu(functional.conv1d(x, *network.conv[0], padding=1))
    x = functional.gelu(functional.conv1d(x, *network.conv[1], stride=2, padding=1)).transpose(1, 2)
    x = (x + network.encoder_positions[:longest]).flatten(0, 1)
    if min(lengths) == longest:
        return States(_encode(network, x, lengths, ops).view(len(features), longest, -1), tuple(lengths))
    inside = torch.arange(longest) < torch.tensor(lengths)[:, None]
    place = torch.nonzero(inside.flatten()).flatten().to(network.device)
    hidden = torch.zeros_like(x)
    hidden[place] = _encode(network, x[place], lengths, ops)
    return States(hidden.view(len(features), longest, -1), tuple(lengths))


def _encode(network: WhisperNetwork, x: Tensor, lengths: Sequence[int], ops: Any) -> Tensor:
    """The transformer layers over clips lying one after the other."""
    x = x.contiguous()
    ends = torch.tensor([0, *np.cumsum(lengths).tolist()], dtype=torch.int32, device=x.device)
    norms = [layer["norm"] for layer in network.encoder[1:]] + [network.encoder_norm]
    h = network.encoder[0]["norm"](x)
    for layer, following in zip(network.encoder, norms, strict=True):
        attended = _attend(layer["qkv"](h), lengths, ends, network.encoder_heads)
        ops.add_norm(x, layer["out"](attended), layer["ffn_norm"], h)
        ops.add_norm(x, layer["down"](functional.gelu(layer["up"](h))), following, h)
    return h


def _attend(qkv: Tensor, lengths: Sequence[int], ends: Tensor, n_heads: int) -> Tensor:
    """Self-attention of each clip within itself. qkv: (n_positions of all, 3 × d_model)."""
    q, k, v = (x.unflatten(-1, (n_heads, -1)) for x in qkv.chunk(3, dim=-1))
    if qkv.is_cuda and qkv.dtype != torch.float32:  # flash attention, which knows half precision only
        longest = max(lengths)
        return torch.ops.aten._flash_attention_forward(
            q, k, v, ends, ends, longest, longest, 0.0, False, False)[0].flatten(1)
    clips = zip(*(x.split(list(lengths)) for x in (q, k, v)), strict=True)
    rows = [functional.scaled_dot_product_attention(*(x.transpose(0, 1)[None] for x in clip))[0] for clip in clips]
    return torch.cat([row.transpose(0, 1) for row in rows]).flatten(1)
