"""Voices that belong together: agglomerative clustering of speaker embeddings, their number found or given.

Enters: embeddings and the seconds of speech behind each. Leaves: a group for each. Knows nothing of audio.
"""

from __future__ import annotations

import numpy as np

# Found on half of the voices of benchmarks/speakers.py; docs/speakers-and-words.md has the figures of the other half.
FARTHEST = 0.6  # cosine distance, averaged over pairs, up to which two groups are one voice
SURE_SECONDS = 1.5  # of speech, from which an embedding may found a group
# Of speech that a voice must have to be one of its own, unless the number is given: a share, within these seconds.
LEAST_SHARE, LEAST_SECONDS, ENOUGH_SECONDS = 0.06, 2.0, 4.0
MOST = 4000  # embeddings compared pair by pair (64 MB of distances); of more, those with most speech


def cluster(embeddings: np.ndarray, seconds: np.ndarray, n_groups: int | None = None) -> np.ndarray:
    """(n, n_dims) of length 1, (n,) → group of each, int (n,), numbered from 0 without gaps.

    n_groups: at most so many are made; None to find their number. n ≥ 1.
    """
    sure = np.argsort(-seconds, kind="stable")[:MOST]
    enough = n_groups or 1
    sure = np.sort(sure[: max(int((seconds[sure] >= SURE_SECONDS).sum()), min(enough, len(sure)), 1)])
    groups = agglomerated(embeddings[sure], FARTHEST, n_groups)
    sizes = np.bincount(groups, weights=seconds[sure])
    least = np.clip(LEAST_SHARE * sizes.sum(), LEAST_SECONDS, ENOUGH_SECONDS)
    kept = np.flatnonzero(sizes >= least) if n_groups is None else np.unique(groups)
    if not len(kept):
        kept = np.array([sizes.argmax()])
    centres = np.stack([np.average(embeddings[sure[groups == group]], axis=0, weights=seconds[sure[groups == group]])
                        for group in kept])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    return np.unique((embeddings @ centres.T).argmax(1), return_inverse=True)[1]


def agglomerated(embeddings: np.ndarray, farthest: float = FARTHEST, n_groups: int | None = None) -> np.ndarray:
    """Average linkage by cosine distance, up to a distance or to a number of groups."""
    if len(embeddings) == 1:
        return np.zeros(1, dtype=int)
    from scipy.cluster.hierarchy import fcluster, linkage  # a quarter of a second that only speakers need

    tree = linkage(embeddings, "average", metric="cosine")
    if n_groups is None:
        return fcluster(tree, farthest, "distance") - 1
    return fcluster(tree, n_groups, "maxclust") - 1
