"""The four apps as pages of one, with one model in memory and one queue; checkpoints from BASE and FINE_TUNED."""

from shared.ui.launch import launch
from shared.ui.suite import PAGES

if __name__ == "__main__":
    launch("Whisper suite", PAGES)
