"""Short recordings decoded as one: what is decoded together follows from the recordings and their order alone.

Enters: recordings of at most a window. Leaves: what was found in each. Threads read the files, and nothing else: were
the batches those that happen to wait, as in `together`, 8 bits would round the same clip otherwise from run to run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from shared.audio import AudioSource, Source
from shared.audio.windows import Window
from shared.errors import UserError
from shared.inference.batches import Batches, Job
from shared.options import Options
from shared.transcript import Segment

N_TOGETHER = 64  # recordings from which batches of like length are chosen: four of the largest on a CPU
N_READERS = 4  # files read at the same time


@dataclass(frozen=True)
class Read:
    """A recording that was read to its end, and the speech found in it."""

    source: AudioSource
    windows: list[Window]


def read_each(sources: Sequence[Source], windows_of: Callable[[AudioSource], Iterator[Window]]
              ) -> list[Read | UserError]:
    """Every recording, or why it cannot be read."""
    def read(source: Source) -> Read | UserError:
        try:
            opened = AudioSource(source)
            return Read(opened, list(windows_of(opened)))
        except UserError as error:
            return error

    with ThreadPoolExecutor(N_READERS) as readers:
        return list(readers.map(read, sources))


def decode_each(recordings: Sequence[Read], jobs_of: Callable[[Iterable[Window]], Iterator[Job]], options: Options
                ) -> list[list[tuple[str, list[Segment]]]]:
    """For each recording (language, segments) of its windows, in order.

    jobs_of: the jobs of one recording's windows.
    """
    owners: list[int] = []  # by place of the job: which recording's it is

    def jobs() -> Iterator[Job]:
        for owner, one in enumerate(recordings):
            for job in jobs_of(one.windows):
                job.place = len(owners)
                owners.append(owner)
                yield job

    parts: dict[int, tuple[str, list[Segment]]] = {}
    for batch in Batches(jobs()).decoded(options):
        for job, segments, _ in batch:  # what is left of a window comes after it
            parts.setdefault(job.place, (job.language, []))[1].extend(segments)
    found: list[list[tuple[str, list[Segment]]]] = [[] for _ in recordings]
    for place in sorted(parts):
        found[owners[place]].append(parts[place])
    return found
