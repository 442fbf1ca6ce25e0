"""The page without a server as a static Space, put on the Hub by the real client."""

from __future__ import annotations

import importlib
import json
import re
import zipfile
from pathlib import Path

import pytest
from hub_server import HubServer
from huggingface_hub import HfApi, SpaceCard
from paths import ROOT
from speech import clips

from shared.errors import UserError
from shared.system.command import USER_ERROR

HUB_FILES = ("config.json", "generation_config.json", "tokenizer.json", "model.safetensors")


def clips_zip(path: Path) -> None:
    """Two Italian clips and the table of their texts."""
    chosen = [clip for clip in clips("it") if clip.path.suffix == ".flac"][:2]
    with zipfile.ZipFile(path, "w") as archive:
        rows = ["file_name,text", *(f'{clip.path.name},"{clip.text}"' for clip in chosen)]
        archive.writestr("metadata.csv", "\n".join(rows))
        for clip in chosen:
            archive.write(clip.path, clip.path.name)


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "spaces"))
    return importlib.import_module("deploy").main


def test_the_page_is_not_one_of_several_apps(main, hub: HubServer, capsys):
    """Its checkpoints are others than those of the apps on a server."""
    assert main(["upload", "suite", "browser", "--yes"]) == USER_ERROR
    assert "deployed by itself" in capsys.readouterr().err and not hub.store.repos("space")


def test_only_the_page_is_compared_with_its_checkpoints(main, hub: HubServer, tmp_path: Path, capsys):
    assert main(["upload", "suite", "--test-set", str(tmp_path / "clips.zip"), "--yes"]) == USER_ERROR
    assert "Only the page without a server is compared" in capsys.readouterr().err and not hub.store.repos("space")


def test_a_gradio_space_of_that_name_is_left_alone(main, hub: HubServer, capsys):
    hub.add("space", "tester/whisper-browser", {"app.py": b""})
    assert main(["upload", "browser", "--yes"]) == USER_ERROR
    assert re.search("another kind.*gradio.*Limit: static", capsys.readouterr().err)


@pytest.mark.parametrize(("there", "private", "offered"), [("static", False, True), ("static", True, False),
                                                           ("gradio", False, False), (None, False, False)])
def test_the_suite_offers_the_owners_public_page(main, hub: HubServer, tmp_path: Path, there, private, offered):
    if there:
        HfApi().create_repo("tester/whisper-browser", repo_type="space", space_sdk=there, private=private)
    pair = ["--base", "embedded:whisper-base", "--fine-tuned", "embedded:whisper-base-it"]
    assert main(["upload", "suite", "--out", str(tmp_path), *pair, "--yes", "--hardware", "cpu-basic"]) == 0
    variables = {key: item.value for key, item in HfApi().get_space_variables("tester/whisper-suite").items()}
    assert variables == {"BASE": "embedded:whisper-base", "FINE_TUNED": "embedded:whisper-base-it",
                         **({"BROWSER_PAGE": "tester/whisper-browser"} if offered else {})}


@pytest.mark.slow
def test_the_static_space_is_what_the_bundle_is(main, hub: HubServer, tmp_path: Path, capsys):
    pytest.importorskip("onnxscript")
    from training_world import random_base  # here: it imports torch and transformers

    try:
        importlib.import_module("browser_bundle").onnxruntime_web()
    except UserError as error:
        pytest.skip(f"SKIPPED: onnxruntime-web is not here and cannot be fetched: {error}")
    model = random_base(tmp_path / "model", writes="ciao")
    commit = hub.add("model", "tester/small", {name: (model / name).read_bytes() for name in HUB_FILES})
    for name in ("one", "two"):  # as many as a free account may host, which static ones are not counted among
        hub.add("space", f"tester/{name}", {"app.py": b""})
    chosen = ["--base", "tester/small", "--fine-tuned", "tester/small"]
    clips_zip(tmp_path / "clips.zip")
    tested = ["--test-set", str(tmp_path / "clips.zip"), "--language", "it"]
    assert main(["upload", "browser", "--out", str(tmp_path / "bundles"), *chosen, "--yes", *tested,
                 "--bound", "-1"]) == USER_ERROR  # nothing is better by a point than itself
    assert "is worse than the checkpoint" in capsys.readouterr().err
    assert [space.id for space in hub.store.repos("space")] == ["tester/one", "tester/two"]
    code = main(["upload", "browser", "--out", str(tmp_path / "bundles"), *chosen, "--yes", "--private", *tested])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert "Make the Space tester/whisper-browser: private, static, " in printed.out
    rate = re.search(r"fine-tuned: ([\d.]+) % WER on 2 clips, in a browser ([\d.]+) % \(\+0.00\)", printed.out)
    assert rate and rate[1] == rate[2] and "base: " in printed.out
    info = HfApi().space_info("tester/whisper-browser")
    assert info.sdk == "static" and info.private
    there = hub.read("space", "tester/whisper-browser")
    card = SpaceCard(there["README.md"].decode()).data
    assert (card.sdk, card.app_file, card.models) == ("static", "index.html", ["tester/small"])
    assert card.custom_headers["cross-origin-embedder-policy"] == "require-corp"
    assert {"index.html", "page.js", "worker.js", "service-worker.js", "ort/ort-wasm-simd-threaded.wasm"} < set(there)
    bundle = json.loads(there["bundle.json"])
    assert [model["id"] for model in bundle["models"]] == [f"tester/small@{commit}"] * 2
    assert {name for name in bundle["page"] if name != "./"} <= set(there)
    assert all(len(there[file["path"]]) == file["bytes"] for model in bundle["models"] for file in model["files"])
    assert b"VERSION" not in there["service-worker.js"] and not [name for name in there if name.endswith(".py")]
