"""A linear layer, on a CPU in 8 bits if wanted.

8 bits: one scale for each output of the weight, and one for each row of the input, taken as it comes. Torch's kernels
know one scale for the whole input only, and that doubles the error (encoder of whisper-base, relative to float32: 0.13
against 0.06 with VNNI; CTranslate2 int8 0.06); so rows are brought to one size before the kernel and back after it.

Without VNNI the kernels add products of 8-bit numbers in 16 bits, where only 7 bits of input are safe. Where rows are
many (the encoder's), each is then laid between its own least and largest value: 0.08 in place of 0.13.

Two kernels compute the same. FBGEMM's is the faster one for the few rows of a decoder step (2 to 6 times; equal in the
encoder), but torch reaches it through quantized tensors, whose removal it announced in 2.13
(https://github.com/pytorch/pytorch/issues/184982). Where they are gone, oneDNN's takes plain int8 tensors; so no
version of torch is too new for this file.
"""

from __future__ import annotations

import warnings
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from shared.system.hardware import has_vnni

SMALLEST = 1e-9  # size of a row that holds zeros only
MANY_ROWS = 64  # from here on the care for each row costs next to nothing
ZERO = 64  # of 7 bits without sign, so that whole numbers go from -64 to 63


class Kernel(Protocol):
    """Product of float32 (…, n_in) with the rounded weight: float32 (…, n_out)."""

    def __init__(self, weight: Tensor, scale: Tensor, narrow: bool) -> None:
        """weight: float32 (n_out, n_in). scale: float32 (n_out,), of its 8 bits. narrow: 7 bits of input, not 8."""

    def __call__(self, x: Tensor) -> Tensor:
        """x is rounded with one scale for all of it."""

    def whole(self, x: Tensor) -> Tensor:
        """x is rounded to whole numbers, and those to -64 … 63."""


class Fbgemm:
    def __init__(self, weight: Tensor, scale: Tensor, narrow: bool) -> None:
        self._packed = torch.ops.quantized.linear_prepack(_quantised(weight, scale), None)
        self._narrow = narrow

    def __call__(self, x: Tensor) -> Tensor:
        return torch.ops.quantized.linear_dynamic(x, self._packed, self._narrow)

    def whole(self, x: Tensor) -> Tensor:
        return torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(x, 1.0, ZERO, self._packed)

    @staticmethod
    def is_there() -> bool:
        names = ("linear_prepack", "linear_dynamic", "linear_with_input_q_dq_qweight_dq_output_fp32")
        return hasattr(torch, "quantize_per_channel") and all(hasattr(torch.ops.quantized, name) for name in names)


class OneDnn:
    def __init__(self, weight: Tensor, scale: Tensor, narrow: bool) -> None:
        self._scale, self._zeros = scale, torch.zeros(len(weight), dtype=torch.long)
        self._packed = torch.ops.onednn.qlinear_prepack(_rounded(weight, scale).to(torch.int8), None)
        self._levels = 127 if narrow else 255

    def __call__(self, x: Tensor) -> Tensor:
        low, high = x.amin().clamp_(max=0.0), x.amax().clamp_(min=0.0)
        scale = max(float(high - low), SMALLEST) / self._levels
        return self._product(x / scale, scale, round(float(-low) / scale))

    def whole(self, x: Tensor) -> Tensor:
        return self._product(x.clone(), 1.0, ZERO)

    def _product(self, x: Tensor, scale: float, zero: int) -> Tensor:
        """x: in units of scale; overwritten."""
        rounded = x.round_().add_(zero).clamp_(0, self._levels).to(torch.uint8)
        return torch.ops.onednn.qlinear_pointwise(rounded, scale, zero, self._packed, self._scale, self._zeros, None,
                                                  1.0, 0, torch.float32, "none", [], "")


class Linear:
    """x (…, n_in) → (…, n_out), with the weight in its own type or, on a CPU, in 8 bits."""

    def __init__(self, weight: Tensor, bias: Tensor | None, int8: bool, kernel: type[Kernel] | None = None) -> None:
        """kernel: of the 8 bits; None takes the fastest there is."""
        self._kernel: Kernel | None = None
        self._weight: Tensor | None = weight
        self._bias, self._sums = bias, None
        if int8:
            narrow, scale = not has_vnni(), (weight.abs().amax(1) / 127).clamp_(min=1e-12)
            self._kernel = (kernel or (Fbgemm if Fbgemm.is_there() else OneDnn))(weight, scale, narrow)
            self._sums = _rounded(weight, scale).sum(1).mul_(scale) if narrow else None  # of each output
            self._weight = None

    def __call__(self, x: Tensor) -> Tensor:
        if self._kernel is None:
            assert self._weight is not None
            return functional.linear(x, self._weight, self._bias)
        n_rows = x.numel() // x.shape[-1]
        if n_rows == 1:
            y = self._kernel(x)
            return y if self._bias is None else y.add_(self._bias)
        if self._sums is not None and n_rows >= MANY_ROWS:
            low, high = x.amin(-1, keepdim=True).clamp_(max=0.0), x.amax(-1, keepdim=True).clamp_(min=0.0)
            size = (high - low).div_(2 * ZERO - 1).clamp_(min=SMALLEST)
            moved = low.div_(size).round_().add_(ZERO)  # a whole number, so that zero stays zero
            y = self._kernel.whole((x / size).sub_(moved)).addcmul_(moved, self._sums)
        else:
            size = x.abs().amax(-1, keepdim=True).clamp_(min=SMALLEST)
            y = self._kernel(x / size)
        return y.mul_(size) if self._bias is None else torch.addcmul(self._bias, y, size)


def _quantised(weight: Tensor, scale: Tensor) -> Tensor:
    zero = torch.zeros(len(weight), dtype=torch.long)
    return torch.quantize_per_channel(weight, scale.double(), zero, 0, torch.qint8)


def _rounded(weight: Tensor, scale: Tensor) -> Tensor:
    """Whole numbers, -127 … 127 as the scale is that of the largest, in float32."""
    return (weight / scale[:, None]).round_()


if Fbgemm.is_there():
    # Torch says once in a process that quantized tensors will go. Here, since filters of warnings belong to the whole
    # process and layers are made in several threads.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        _quantised(torch.zeros(1, 1), torch.ones(1))
