"""Voices that belong together: clustering of speaker embeddings, their number found or given.

Enters: embeddings and the seconds of speech behind each. Leaves: a group for each. Knows nothing of audio.
"""

from __future__ import annotations

import numpy as np

# Found on voices of benchmarks/speakers.py that are not reported; docs/speakers-and-words.md has the others' figures.
NEAR = 0.6  # cosine distance, averaged over pairs, up to which groups are joined first
FARTHEST = 0.45  # between the means of two groups, up to which they are one voice
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
    groups = agglomerated(embeddings[sure], NEAR)
    if groups.max() + 1 < enough:
        groups = agglomerated(embeddings[sure], NEAR, n_groups)
    sums = np.zeros((groups.max() + 1, embeddings.shape[1]))
    np.add.at(sums, groups, embeddings[sure] * seconds[sure, None])
    sums, sizes = _merged(sums, np.bincount(groups, weights=seconds[sure]), n_groups)
    kept = sizes >= _least(sizes) if n_groups is None else np.argsort(-sizes)[:n_groups]
    centres = directions(sums[kept] if len(sums[kept]) else sums[[sizes.argmax()]])
    return np.unique((embeddings @ centres.T).argmax(1), return_inverse=True)[1]


def _merged(sums: np.ndarray, sizes: np.ndarray, n_groups: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Groups as the sums of their embeddings, the nearest made one until the rest are far apart and no more are large.

    A voice that varies is far from itself pair by pair, its noise counted in each; the means of two halves are near.
    """
    means = directions(sums)
    likeness = means @ means.T - 2 * np.eye(len(means))
    while len(sums) > (n_groups or 1):
        one, other = np.unravel_index(likeness.argmax(), likeness.shape)
        too_many = n_groups is not None and (sizes >= _least(sizes)).sum() > n_groups
        if likeness[one, other] < 1 - FARTHEST and not too_many:
            break
        sums[one] += sums[other]
        sizes[one] += sizes[other]
        likeness[one] = likeness[:, one] = directions(sums) @ directions(sums[one : one + 1])[0]
        likeness[one, one] = -1
        sums, sizes = np.delete(sums, other, 0), np.delete(sizes, other)
        likeness = np.delete(np.delete(likeness, other, 0), other, 1)
    return sums, sizes


def _least(sizes: np.ndarray) -> float:
    return float(np.clip(LEAST_SHARE * sizes.sum(), LEAST_SECONDS, ENOUGH_SECONDS))


def agglomerated(embeddings: np.ndarray, farthest: float, n_groups: int | None = None) -> np.ndarray:
    """Average linkage by cosine distance, up to a distance or to a number of groups: group of each, int (n,)."""
    if len(embeddings) == 1:
        return np.zeros(1, dtype=int)
    from scipy.cluster.hierarchy import fcluster, linkage  # a quarter of a second that only speakers need

    tree = linkage(embeddings, "average", metric="cosine")
    if n_groups is None:
        return fcluster(tree, farthest, "distance") - 1
    return fcluster(tree, n_groups, "maxclust") - 1


def directions(sums: np.ndarray) -> np.ndarray:
    """Rows at length 1."""
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)


def best_path(scores: np.ndarray, costs: np.ndarray | float) -> np.ndarray:
    """(n, n_groups) → int (n,): the way of the highest sum. costs: of each change from row to row, (n - 1,)."""
    total = scores[0]
    came_from: list[np.ndarray] = []
    for row, change in zip(scores[1:], np.broadcast_to(costs, len(scores) - 1), strict=True):
        stay = total >= total.max() - change
        came_from.append(np.where(stay, np.arange(len(total)), total.argmax()))
        total = np.where(stay, total, total.max() - change) + row
    path = [int(total.argmax())]
    for step in reversed(came_from):
        path.append(int(step[path[-1]]))
    return np.array(path[::-1])
