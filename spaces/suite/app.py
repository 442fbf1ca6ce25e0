"""The four apps as pages of one, with one model in memory and one queue; checkpoints from BASE and FINE_TUNED."""

from shared.ui.pages.suite import NAME, PAGES
from shared.ui.server.launch import launch

if __name__ == "__main__":
    launch(NAME, PAGES)
