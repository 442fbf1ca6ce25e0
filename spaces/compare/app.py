"""The base and the fine-tuned checkpoint (BASE, FINE_TUNED) on the same speech, side by side."""

from shared.ui.pages.compare import page
from shared.ui.server.launch import Page, launch

if __name__ == "__main__":
    launch("Whisper side by side", [Page("Compare", "compare", page)])
