"""One virtual environment for each peer, so that none drags its versions into another or into ours.

    python -m benchmarks.peers.envs            # make them all; each once

Enters: the requirement files beside this one. Leaves: the Python of each environment under the cache; a peer that
cannot be installed is named with pip's reason, and the others go on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

from shared.system.cache import cache_folder

REQUIREMENTS = Path(__file__).parent / "requirements"
UNWANTED = {"openvino-export": ["torchvision"]}  # comes along, not built for the torch beside it, and breaks the import


class NotInstalled(Exception):
    """pip's last words."""


def python_of(name: str) -> Path:
    """The interpreter in which peer `name` runs, installed if it is not; 'ours' is the one running.

    Raises NotInstalled.
    """
    if name == "ours":
        return Path(sys.executable)
    wanted = REQUIREMENTS / f"{name}.txt"
    folder = cache_folder() / "bench" / "envs" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    python, stamp = folder / "bin" / "python", folder / "installed"
    digest = hashlib.sha256(wanted.read_bytes() + sys.version.encode()).hexdigest()
    with FileLock(f"{folder}.lock"):
        if stamp.is_file() and stamp.read_text() == digest:
            return python
        shutil.rmtree(folder, ignore_errors=True)
        print(f"Installing {name} into {folder}", flush=True)
        pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        commands = [[sys.executable, "-m", "venv", str(folder)], [*pip, "install", "-r", str(wanted)]]
        if name in UNWANTED:
            commands.append([*pip, "uninstall", "--yes", *UNWANTED[name]])
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                lines = (done.stderr or done.stdout).strip().splitlines()
                raise NotInstalled(next((line for line in reversed(lines) if "ERROR" in line), lines[-1]))
        stamp.write_text(digest)
    return python


def versions(name: str) -> dict[str, str]:
    """Every package of an environment, for the results."""
    listing = subprocess.run([str(python_of(name)), "-m", "pip", "list", "--format", "json"], capture_output=True,
                             text=True, check=True)
    return {package["name"]: package["version"] for package in json.loads(listing.stdout)}


def main() -> None:
    for path in sorted(REQUIREMENTS.glob("*.txt")):
        try:
            print(f"{path.stem}: {python_of(path.stem)}")
        except NotInstalled as error:
            print(f"{path.stem}: not installed: {error}")


if __name__ == "__main__":
    main()
