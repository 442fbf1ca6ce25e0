"""The pages of the apps. Set here, before any of them imports Gradio: where its temporary files go, and no reporting.

All that visitors send and get lives under one folder of this process, which goes with it.
"""

from __future__ import annotations

import os
from pathlib import Path

from shared.system.temporary import temporary_root

ROOT = temporary_root()
UPLOADS = ROOT / "received"  # Gradio's folder: uploads, and copies of what it hands out
RESULTS = ROOT / "results"
STATIC = Path(__file__).parent / "static"  # style sheets and scripts

os.environ["GRADIO_TEMP_DIR"] = str(UPLOADS)
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
