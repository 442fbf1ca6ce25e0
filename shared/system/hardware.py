"""What this machine's processor can do, read from it and not guessed from timing.

The rule of `plan_engine` stands on it (docs/inference.md has the measurements): a GPU → torch in float16; an x86 CPU
with AVX2 → torch in 8 bits; any other CPU → CTranslate2 in 8 bits.
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

DEVICES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")  # NVIDIA, Windows' own Linux, AMD


@functools.cache
def cpu_flags() -> frozenset[str]:
    """The instruction sets Linux lists; empty elsewhere."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    found = next((line for line in lines if line.startswith("flags")), "")
    return frozenset(found.partition(":")[2].split())


def has_avx2() -> bool:
    """Integer products of 256 bits, which torch's 8-bit kernels need: Intel since 2013, AMD since 2015."""
    return bool({"avx2", "avx512f"} & cpu_flags())


def has_vnni() -> bool:
    """8-bit products summed in 32 bits in one instruction: Intel since 2019, AMD since Zen 4."""
    return bool({"avx512_vnni", "avx_vnni"} & cpu_flags())


def has_bfloat16() -> bool:
    """Products of bfloat16 in hardware: Intel since 2020 (some), AMD since Zen 4."""
    return bool({"avx512_bf16", "amx_bf16"} & cpu_flags())


def has_gpu() -> bool:
    """Whether torch can use one. Without a driver's device torch is not asked: importing it takes seconds."""
    if sys.platform == "linux" and not os.environ.get("SPACES_ZERO_GPU") and not any(
            Path(path).exists() for path in DEVICES):
        return False
    import torch

    return torch.cuda.is_available()
