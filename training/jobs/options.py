"""Where a job runs and for how long at most."""

from __future__ import annotations

from dataclasses import dataclass

from shared.errors import UserError

MOST_HOURS = 240.0


@dataclass(frozen=True)
class Options:
    """What a training job on Hugging Face asks for.

    Attributes:
        flavor: the machine, by its name on the Hub: t4-small, l4x1, a10g-small …
        hours: after so long the job is ended (0.5: 30 minutes), and it costs at most what this time costs; above 0, at
            most 240.
        owner: user or organisation that pays and keeps the files; None: the token's user.
    """

    flavor: str = "t4-small"
    hours: float = 6.0
    owner: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.hours <= MOST_HOURS:  # NaN is neither
            raise UserError("The time limit of a job is out of range", got=f"{self.hours:g} hours",
                            limit=f"above 0, at most {MOST_HOURS:g}", hint="set it within that")

    @property
    def seconds(self) -> int:
        """The time limit in whole seconds."""
        return max(1, round(3600 * self.hours))
