"""python -m shared.ui: the suite from an installed package, as spaces/suite/app.py starts it from a checkout."""

from shared.ui.pages.suite import NAME, PAGES
from shared.ui.server.launch import launch

if __name__ == "__main__":
    launch(NAME, PAGES)
