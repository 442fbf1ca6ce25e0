"""Audio and video files to text and subtitles, with the configured checkpoints (BASE, FINE_TUNED)."""

from shared.ui.launch import Page, launch
from shared.ui.upload import page

if __name__ == "__main__":
    launch("Whisper for files", [Page("Files", "files", page)])
