"""The pages of the suite as one app, with one model in memory and one queue; checkpoints from BASE and FINE_TUNED.

On one's own machine, where the package `training` is, there is a page that trains as well.
"""

from importlib.util import find_spec

from shared.ui.pages.suite import NAME, pages_with
from shared.ui.server.launch import Page, launch


def own_pages() -> tuple[Page, ...]:
    if find_spec("training") is None:  # a Space has no more than it serves with
        return ()
    from training.studio import PAGE, offered

    return (PAGE,) if offered() else ()


if __name__ == "__main__":
    launch(NAME, pages_with(*own_pages()))
