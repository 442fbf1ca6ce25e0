"""Speech that Debian ships: voice prompts of Asterisk, dialogues of three games, sentences of a Russian reader, names
of Tux Paint's stamps.

Each corpus is one package or two, sound and text, pinned to a version and its SHA-256, fetched with `apt-get download`
or taken from a folder, unpacked without dpkg. None has splits of its own.
"""

from __future__ import annotations

import gzip
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from feature_pipeline.archives import corpora_folder, sha256, unpacked
from feature_pipeline.rows import AudioRef, Row
from feature_pipeline.settings import Language
from feature_pipeline.sources import games
from shared.errors import UserError
from shared.system import processes

# Name, version, SHA-256, from Debian's archive (`apt-cache show PACKAGE` gives the same hashes).
PACKAGES = {
    "asterisk-core-sounds-en": ("1.6.1-1", "973e797d28e37fa6ca3c0a9d6fa717e77cf1268ae916bf09fd3503113cdffa50"),
    "asterisk-core-sounds-en-g722": ("1.6.1-1", "38c5261820b406dcb0ecb37675720da2b0864850690690352ca52707eb623806"),
    "asterisk-core-sounds-es": ("1.6.1-1", "9afdab7f559f036649fb406e625899306ca1004df8ebe39c30bfbd5912d66f74"),
    "asterisk-core-sounds-es-g722": ("1.6.1-1", "e4e3b4281057d3b81b779298fd6be705f57411513955c518eed1bcaabbd615b8"),
    "asterisk-core-sounds-it": ("1.6.1-1", "3884d9457e12f21caa018c18f0d587df5d53ebea14b673d8453a134c5941ab3b"),
    "asterisk-core-sounds-it-g722": ("1.6.1-1", "46b4cf7afc508a5fcfc051b7ea233251c0d195dd4ef83cc4b7facb4c6429b016"),
    "asterisk-core-sounds-ru": ("1.6.1-1", "28a61616bb0cd3345a7ea532dec4df9f071e5d0fa9f8c1a563ea9669002f39ab"),
    "asterisk-core-sounds-ru-g722": ("1.6.1-1", "673b4238a6b8269960f055d868c6a11083f7a0d00979167cb01554046b48ed9b"),
    "fillets-ng-data": ("1.0.1-1.1", "25de89afd8b1adf7bcace8290248a6a22c89cd42300317e69000e162c032cf84"),
    "fillets-ng-data-cs": ("1.0.1-1.1", "3ecef99b9456f1c80c9625c6f2418642b52d58e7167a46bad7a412db17991b14"),
    "fillets-ng-data-nl": ("1.0.1-1.1", "afb4443fda9ab507dee578b75be857d121718a1cd6017a474f30e0eb13dc9d10"),
    "festvox-ru": ("0.5+dfsg-6", "21ef3f0f2978ecf2e2eddb367cb0ff4a72572196d28dc69feb84f4177af5e6c4"),
    "drascula": ("1.0+ds4-2", "ed4af8e2d41ad446e2f3b73533daa1804e2f13f62f596c0b02b8dc39544f22b4"),
    "drascula-spanish": ("1.0+ds4-2", "87b5f12df3fcd7ca16097c802dff1ab55e40c9ebc21209fa3f031e1661b4b8e5"),
    "flight-of-the-amazon-queen": ("1.0.0-9", "40c08fd258d6fe95c46c1eaf5e9137f84ba330657995a281bd887c94a560a0f1"),
    "tuxpaint-stamps-default": ("2022.06.04-1", "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34"),
}
APT = processes.Limits(memory=1 << 30, written=1 << 30, seconds=3600)  # the largest package has 161 MB
LANGUAGES = {"asterisk": ("en", "es", "it", "ru"), "fillets": ("cs", "nl"), "festvox": ("ru",),
             "drascula": ("en", "es"), "amazon-queen": ("en",),
             "tuxpaint": ("be", "bg", "ca", "da", "el", "es", "fr", "ro", "ru")}

_STRING = r'"((?:[^"\\]|\\.)*)"'
# dialogId("vit-m-hlava", "font_small", "English") then dialogStr("Czech"): id, role, text
_DIALOGUE = re.compile(rf"dialogId\(\s*{_STRING}\s*,\s*{_STRING}\s*,\s*{_STRING}\s*\)\s*dialogStr\(\s*{_STRING}")
_UTTERANCE = re.compile(rf"^\(\s*(\S+)\s+{_STRING}\s*\)", re.M)  # ( ru_0001 "text" )


@dataclass(frozen=True)
class Debian:
    """Speech from Debian packages."""

    corpus: Literal["asterisk", "fillets", "festvox", "tuxpaint", "drascula", "amazon-queen"]
    language: Language  # of the speech, one of LANGUAGES[corpus]
    debs: str | None = None  # folder of .deb files; None: the cache, filled by `apt-get download`

    def __post_init__(self) -> None:
        if self.language not in LANGUAGES[self.corpus]:
            raise UserError(f"{self.corpus} is not packaged in this language", got=self.language,
                            hint=f"choose from {', '.join(LANGUAGES[self.corpus])}")

    def provenance(self) -> dict[str, object]:
        return {"packages": {f"{name} {PACKAGES[name][0]}": PACKAGES[name][1] for name in self._packages()}}

    def stamp(self) -> str:
        return ""  # the pinned hashes are enough

    def rows(self) -> Iterator[Row]:
        # The game's package holds 70 MB of pictures and music beside the dialogues.
        folders = [_unpacked_package(name, self.debs, _is_speech_or_text) / "usr/share" for name in self._packages()]
        read = {"asterisk": _prompts, "fillets": _dialogues, "festvox": _sentences, "tuxpaint": _stamps,
                "drascula": games.drascula, "amazon-queen": games.amazon_queen}[self.corpus]
        return read(folders[0], folders[-1], self.language)

    def _packages(self) -> tuple[str, ...]:
        """The package with the sound, then the one with the text, if they are two."""
        return {"asterisk": (f"asterisk-core-sounds-{self.language}-g722", f"asterisk-core-sounds-{self.language}"),
                "fillets": (f"fillets-ng-data-{self.language}", "fillets-ng-data"),
                "festvox": ("festvox-ru",), "amazon-queen": ("flight-of-the-amazon-queen",),
                "drascula": ("drascula-spanish", "drascula") if self.language == "es" else ("drascula",),
                "tuxpaint": ("tuxpaint-stamps-default",)}[self.corpus]


def _is_speech_or_text(name: str) -> bool:
    if "/stamps/" in name:
        return name.endswith(".txt") or "_desc" in name
    return name.endswith((".g722", ".ogg", ".wav", ".lua", ".txt.gz", "/txt.done.data", ".ALS", "/drascula.dat",
                          "/queen.1c")) and "/music/" not in name


def _prompts(sounds: Path, texts: Path, language: str) -> Iterator[Row]:
    """Lines `name: text`, `;` comments; one voice. The same names lie as files under the voice's folder."""
    (voice,) = (sounds / "asterisk/sounds").iterdir()
    listing = texts / f"doc/asterisk-core-sounds-{language}/core-sounds-{language}.txt.gz"
    seen = set()
    for line in gzip.decompress(listing.read_bytes()).decode("utf-8-sig").splitlines():
        name, colon, text = line.partition(":")
        path = voice / f"{name.strip()}.g722"
        if line.startswith(";") or not colon or name in seen or not path.is_file():
            continue
        seen.add(name)
        yield Row(name.strip(), AudioRef.file(path), text.strip(), language, speaker=voice.name)


def _dialogues(sounds: Path, texts: Path, language: str) -> Iterator[Row]:
    """One Lua file per level. A level's folder of sounds bears the same name, a sound its dialogue's id."""
    for script in sorted((texts / "games/fillets-ng/script").glob(f"*/*dialogs_{language}.lua")):
        level = script.parent.name
        seen = set()
        for name, role, _english, text in _DIALOGUE.findall(script.read_text(encoding="utf-8")):
            path = sounds / f"games/fillets-ng/sound/{level}/{language}/{name}.ogg"
            if name in seen or not path.is_file():
                continue
            seen.add(name)
            text = re.sub(r"\\(.)", r"\1", text)
            speaker = f"{language}-{role.removeprefix('font_')}" if role else None
            yield Row(f"{level}/{name}", AudioRef.file(path), text, language, speaker=speaker)


def _sentences(sounds: Path, texts: Path, language: str) -> Iterator[Row]:
    """Lines `( ru_0001 "text" )` of one reader; a `+` after a vowel marks its stress and is not spelling."""
    (voice,) = (sounds / "festival/voices/russian").iterdir()
    for name, text in _UTTERANCE.findall((voice / "etc/txt.done.data").read_text(encoding="utf-8")):
        yield Row(name, AudioRef.file(voice / f"wav/{name}.wav"), text.replace("+", ""), language, speaker=voice.name)


def _stamps(sounds: Path, texts: Path, language: str) -> Iterator[Row]:
    """A picture's .txt has lines `XX.utf8=text`, and beside it lies `…_desc_XX.ogg`. The readers are unknown."""
    root = texts / "tuxpaint/stamps"
    for listing in sorted(root.rglob("*.txt")):
        audio = listing.with_name(f"{listing.stem}_desc_{language}.ogg")
        if not audio.is_file():
            continue
        lines = (line.partition(".utf8=") for line in listing.read_text(encoding="utf-8").splitlines())
        found = {code.strip(): text.strip() for code, mark, text in lines if mark}
        yield Row(listing.relative_to(root).with_suffix("").as_posix(), AudioRef.file(audio), found.get(language, ""),
                  language)


def _unpacked_package(name: str, folder: str | None, wanted: Callable[[str], bool]) -> Path:
    version, digest = PACKAGES[name]
    home = Path(folder) if folder else corpora_folder() / "debs"
    path = home / f"{name}_{version}_all.deb"
    if not path.is_file() and folder is None:
        _download(name, version, home)
    if not path.is_file():
        raise UserError("A Debian package is missing", got=path.name,
                        hint=f"put it in {home} (from snapshot.debian.org, or `apt-get download {name}={version}`)")
    found = sha256(path)
    if found != digest:
        raise UserError("A Debian package is not the one this project knows",
                        got=f"{path.name} with SHA-256 {found[:16]}…", limit=f"{digest[:16]}…",
                        hint="delete it and fetch it again")
    return unpacked(path, digest, wanted)


def _download(name: str, version: str, folder: Path) -> None:
    if shutil.which("apt-get") is None:
        raise UserError("Debian packages are fetched with apt-get, which is not here", got=name,
                        hint="set `debs` to a folder that holds the .deb files")
    folder.mkdir(parents=True, exist_ok=True)
    done = processes.run(["apt-get", "download", f"{name}={version}"], APT, cwd=folder,
                        extra=processes.network())
    if done.code:
        reason = "no answer" if done.ended_by else (done.messages.strip().splitlines() or ["no reason given"])[-1]
        raise UserError("apt-get could not fetch a package", got=f"{name} {version}: {reason}",
                        hint="run `apt-get update`, or set `debs` to a folder that holds the .deb files")
