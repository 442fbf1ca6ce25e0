"""Whisper from the microphone: one page, the configured checkpoints (BASE, FINE_TUNED)."""

from shared.ui.launch import Page, launch
from shared.ui.microphone import page

if __name__ == "__main__":
    launch("Whisper from the microphone", [Page("Microphone", "microphone", page)])
