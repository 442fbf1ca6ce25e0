"""Audio and video files to text and subtitles, with the configured checkpoints (BASE, FINE_TUNED)."""

from shared.ui.pages.upload import page
from shared.ui.server.launch import Page, launch

if __name__ == "__main__":
    launch("Whisper for files", [Page("Files", "files", page)])
