"""Recording one's own corpus and training on it, from a page of the suite; on one's own machine only.

`corpus` is the folder of sentences and recordings, `runner` the commands that make a checkpoint of it, `page` what a
person sees. Everything is done by `feature_pipeline` and `training` as their commands do it.
"""

from training.studio.page import PAGE, offered

__all__ = ["PAGE", "offered"]
