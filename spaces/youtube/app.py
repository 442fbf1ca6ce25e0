"""A link to a video, and what is said in it, with the configured checkpoints (BASE, FINE_TUNED)."""

from shared.ui.pages.youtube import page
from shared.ui.server.launch import Page, launch

if __name__ == "__main__":
    launch("Whisper for links", [Page("Links", "links", page)])
