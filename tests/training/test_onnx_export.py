"""The ONNX form of a checkpoint: the same text as the original, at any length, within its bound."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from paths import DATA
from training_world import random_base, small_data

from shared.audio import load_audio
from shared.audio.features import log_mel
from shared.checkpoint.info import copy_facts
from shared.engines.torch_model import States, WhisperNetwork
from shared.errors import UserError
from training import config as settings
from training import export
from training.config import Config, Data
from training.onnx_network import DECODER_IN

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow
ITALIAN = ["it_priv-introsaved.flac", "it_vm-mailboxfull.flac"]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of a small model that writes one word, exported in all three precisions."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    data = small_data(folder.parent / "set", train=ITALIAN, validation=ITALIAN, test=ITALIAN)
    base = random_base(folder.parent / "base", writes="ciao")
    shutil.copytree(base, folder / "model")
    described = {"name": "small", "base": str(base), "finetuned_languages": ["it"], "short_context": "any"}
    copy_facts(described, folder / "model" / "config.json")
    (folder / "model" / "run.json").write_text(json.dumps(described))
    settings.save(Config(name="small", base=str(base), data=(Data(str(data)),), language="it"), folder / "config.yaml")
    export.export(folder, export.Options(forms=("onnx",)), say=lambda text: None)
    return folder


def test_the_three_precisions_write_what_the_original_writes(run):
    found = json.loads((run / "export" / "export.json").read_text())
    assert [found[form] for form in export.ONNX] == [found["original"]] * 3
    sizes = {form: sum(path.stat().st_size for path in (run / "export" / form).glob("*.onnx")) for form in export.ONNX}
    assert sizes["onnx-int8"] < 0.6 * sizes["onnx-float16"] < 0.4 * sizes["onnx-float32"], sizes
    assert {path.name for path in (run / "export").iterdir()} == {"export.json", *export.ONNX}  # and no draft


@pytest.mark.parametrize("n_frames", [4, 258, 3000])
def test_logits_are_the_engines_own_at_any_length(run, n_frames):
    """Token by token from an empty past in onnxruntime, and all tokens at once in torch."""
    network = WhisperNetwork(run / "model", "cpu", "float32")
    features = log_mel(load_audio(DATA / ITALIAN[0]).samples, 80, n_frames)
    ids = np.random.default_rng(0).integers(0, 51865, 12)
    memory = network.memory(States(network.encode(torch.from_numpy(features)[None]), (n_frames // 2,)), len(ids))
    hidden, _ = network.step(torch.from_numpy(ids)[None], memory)
    expected = network.logits(hidden[0]).numpy()
    encoder, decoder = (onnxruntime.InferenceSession(run / "export" / "onnx-float32" / f"{part}.onnx")
                        for part in ("encoder", "decoder"))
    cross = encoder.run(None, {"features": features})
    keys = values = np.zeros((0, 2, 2, 32), np.float32)
    for at, n in ((0, 4), *((at, 1) for at in range(4, len(ids)))):  # a prompt, then one by one
        given = dict(zip(DECODER_IN, (ids[at : at + n], keys, values, *cross), strict=True))
        logits, new_keys, new_values = decoder.run(None, given)
        keys, values = np.concatenate([keys, new_keys]), np.concatenate([values, new_values])
        np.testing.assert_allclose(logits, expected[at + n - 1], atol=2e-3)


def test_an_export_beyond_the_bound_is_removed(run):
    before = (run / "export" / "onnx-int8" / "model.json").read_bytes()
    with pytest.raises(UserError, match="onnx-int8 export is worse"):
        export.export(run, export.Options(forms=("onnx-int8",), bound=-200.0), say=lambda text: None)
    assert not (run / "export" / "onnx-int8").exists() and before
    assert not [path for path in (run / "export").iterdir() if path.name.startswith(".")]


def test_the_base_is_exported_beside_it(run):
    found = export.export(run, export.Options(forms=("onnx-int8",), checkpoint="base"), say=lambda text: None)
    described = json.loads((run / "export-base" / "onnx-int8" / "model.json").read_text())
    assert described["silence"] is None and described["tuned_for"] is None  # a stock checkpoint is not cropped
    assert found["onnx-int8"] == found["original"]
