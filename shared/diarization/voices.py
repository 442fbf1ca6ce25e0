"""A voice as 192 numbers: CAM++ of 3D-Speaker, trained on 200 000 Chinese and English voices (arXiv 2303.00332).

Enters: log-mel bands. Leaves: embeddings. For inference alone: normalisation is folded into the layer before it, and
layers that each read all that came before write into one buffer in place of joining it anew. That is the same network
in under half of its time; batches small enough for the processor's cache take the least. Where products are of
bfloat16, what passes from layer to layer and the statistics at the end stay float32.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

SEGMENT = 100  # frames over which a layer's near context is averaged
GROWTH = 32  # channels that each layer adds
BLOCKS = ((12, 1), (24, 2), (16, 2))  # layers and dilation of each
EPSILON = 1e-5  # of batch normalisation


class CamPlusPlus:
    """Log-mel bands (batch, n_frames, 80) → (batch, 192)."""

    def __init__(self, tensors: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> None:
        """tensors: float32, by their names in the checkpoint. dtype: of its products, float32 or bfloat16."""
        self.dtype = dtype
        weights, exact = _Weights(tensors, dtype), _Weights(tensors, torch.float32)
        self._head = _Head(weights)
        self._tdnn = weights.folded("xvector.tdnn.linear", "xvector.tdnn.nonlinear.batchnorm")
        self._blocks = [_Block(weights, number, *shape) for number, shape in enumerate(BLOCKS, 1)]
        self._out = weights.affine("xvector.out_nonlinear.batchnorm")
        weight, bias = exact.folded("xvector.dense.linear", "xvector.dense.nonlinear.batchnorm")
        self._dense = weight[..., 0].contiguous(), bias

    def __call__(self, bands: Tensor) -> Tensor:
        x = functional.conv1d(self._head(bands.to(self.dtype)), *self._tdnn, stride=2, padding=2).relu_()
        x = x.transpose(1, 2).float().contiguous()  # (batch, n_frames, n_channels) from here on
        for block in self._blocks:
            x = block(x)
        scale, shift = self._out
        x = torch.addcmul(shift, x, scale).relu_()
        return functional.linear(torch.cat([x.mean(1), x.std(1)], 1), *self._dense)


class _Head:
    """Two-dimensional convolutions over time and frequency: (batch, n_frames, 80) → (batch, 320, n_frames)."""

    def __init__(self, weights: _Weights) -> None:
        def folded(name: str, norm: str) -> tuple[Tensor, Tensor]:
            weight, bias = weights.folded(f"head.{name}", f"head.{norm}")
            return weight.contiguous(memory_format=torch.channels_last), bias

        self._first, self._last = folded("conv1", "bn1"), folded("conv2", "bn2")
        self._residuals = [
            (folded(f"{at}.conv1", f"{at}.bn1"), folded(f"{at}.conv2", f"{at}.bn2"),
             folded(f"{at}.shortcut.0", f"{at}.shortcut.1") if at.endswith("0") else None)
            for at in ("layer1.0", "layer1.1", "layer2.0", "layer2.1")]

    def __call__(self, bands: Tensor) -> Tensor:
        x = functional.conv2d(bands.transpose(1, 2)[:, None], *self._first, padding=1).relu_()
        for one, two, shortcut in self._residuals:
            stride = (1, 1) if shortcut is None else (2, 1)
            y = functional.conv2d(x, *one, stride=stride, padding=1).relu_()
            y = functional.conv2d(y, *two, padding=1)
            x = (y + (x if shortcut is None else functional.conv2d(x, *shortcut, stride=stride))).relu_()
        return functional.conv2d(x, *self._last, stride=(2, 1), padding=1).relu_().flatten(1, 2)


class _Block:
    """Layers that each read what all before have written, then half as many channels: (batch, n_frames, width)."""

    def __init__(self, weights: _Weights, number: int, n_layers: int, dilation: int) -> None:
        names = [f"xvector.block{number}.tdnnd{layer}" for layer in range(1, n_layers + 1)]
        self._layers = [_Layer(weights, name, dilation) for name in names]
        self._norm = weights.affine(f"xvector.transit{number}.nonlinear.batchnorm")
        self._halved = weights[f"xvector.transit{number}.linear.weight"][..., 0].contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        width = x.shape[2]
        written = x.new_empty(*x.shape[:2], width + GROWTH * len(self._layers))
        written[..., :width] = x
        for layer in self._layers:
            written[..., width : width + GROWTH] = layer(written[..., :width])
            width += GROWTH
        scale, shift = self._norm
        x = torch.addcmul(shift, written, scale).relu_().to(self._halved.dtype)
        return functional.linear(x, self._halved).float()


class _Layer:
    """One layer of the densely connected TDNN, weighted by its context over 1 s and over all."""

    def __init__(self, weights: _Weights, name: str, dilation: int) -> None:
        self._norm = weights.affine(f"{name}.nonlinear1.batchnorm")
        weight, bias = weights.folded(f"{name}.linear1", f"{name}.nonlinear2.batchnorm")
        self._narrow = weight[..., 0].contiguous(), bias
        local = weights[f"{name}.cam_layer.linear_local.weight"]  # (32, 128, 3)
        self._local, self._dilation = local.permute(0, 2, 1).flatten(1).contiguous(), dilation
        self._context = [(weights[f"{name}.cam_layer.{part}.weight"][..., 0].contiguous(),
                          weights[f"{name}.cam_layer.{part}.bias"]) for part in ("linear1", "linear2")]

    def __call__(self, x: Tensor) -> Tensor:
        n_frames, (scale, shift) = x.shape[1], self._norm
        x = torch.addcmul(shift, x, scale).relu_().to(self._local.dtype)
        x = functional.linear(x, *self._narrow).relu_()
        near = torch.cat([part.mean(1, keepdim=True).expand_as(part) for part in x.split(SEGMENT, 1)], 1) \
            if n_frames > SEGMENT else x.mean(1, keepdim=True)
        one, two = self._context
        context = functional.linear(functional.linear(x.mean(1, keepdim=True) + near, *one).relu_(), *two).sigmoid_()
        apart = functional.pad(x, (0, 0, self._dilation, self._dilation))
        beside = torch.cat([apart[:, at : at + n_frames] for at in range(0, 3 * self._dilation, self._dilation)], 2)
        return functional.linear(beside, self._local).mul_(context)


class _Weights:
    """The checkpoint's tensors by name, in `dtype`."""

    def __init__(self, tensors: Mapping[str, Tensor], dtype: torch.dtype) -> None:
        self._tensors, self.dtype = tensors, dtype

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name].to(self.dtype)

    def affine(self, norm: str) -> tuple[Tensor, Tensor]:
        """Batch normalisation as (scale, shift), in float32."""
        tensors = self._tensors
        scale = (tensors[f"{norm}.running_var"] + EPSILON).rsqrt()
        if f"{norm}.weight" in tensors:
            scale = scale * tensors[f"{norm}.weight"]
        shift = -tensors[f"{norm}.running_mean"] * scale
        return scale, shift + tensors[f"{norm}.bias"] if f"{norm}.bias" in tensors else shift

    def folded(self, layer: str, norm: str) -> tuple[Tensor, Tensor]:
        """A convolution without bias and the normalisation that follows, as (weight, bias) of one."""
        scale, shift = self.affine(norm)
        weight = self._tensors[f"{layer}.weight"]
        return (weight * scale.view(-1, *[1] * (weight.dim() - 1))).to(self.dtype), shift.to(self.dtype)
