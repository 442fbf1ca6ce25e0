"""A link to a video, and what is said in it, with the configured checkpoints (BASE, FINE_TUNED)."""

from shared.ui.launch import Page, launch
from shared.ui.youtube import page

if __name__ == "__main__":
    launch("Whisper for videos", [Page("Videos", "videos", page)])
