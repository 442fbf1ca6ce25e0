"""Whisper from the microphone: one page, the configured checkpoints (BASE, FINE_TUNED)."""

from shared.ui.pages.microphone import page
from shared.ui.server.launch import Page, launch

if __name__ == "__main__":
    launch("Whisper from the microphone", [Page("Microphone", "microphone", page)])
