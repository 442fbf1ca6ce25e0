"""One recipe for many languages: a data set, a LoRA adapter and a comparison for each, and one table of them all.

`recipe` is the config, `work` does the commands of each language in child processes,
`outcome` is how far each came, `table` writes it down.
"""

from training.languages.outcome import Outcome, outcomes
from training.languages.recipe import Recipe, load
from training.languages.table import table
from training.languages.work import work

__all__ = ["Outcome", "Recipe", "load", "outcomes", "table", "work"]
