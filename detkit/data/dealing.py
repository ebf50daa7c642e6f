"""Dealing images to splits: seeded, whole groups at a time, with each class in proportion.

Stratification is iterative (Sechidis, Tsoumakas and Vlahavas, 2011, On the Stratification of Multi-Label Data), for groups of
images and numbers of boxes: the rarest class that is still to be dealt comes first, and each group that holds it goes to the
split that lacks most of what the group holds; what has no box is dealt last.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detkit.errors import UserError


def sizes_of(wanted: Sequence[str | None], images: int) -> np.ndarray:
    """Return how many images each split gets.

    Args:
        wanted: of each split a fraction (``0.1``), a number of images (``500``), or None for the rest, at most once.
        images: how many there are.

    Raises:
        UserError: they are no such numbers, or don't add up.
    """
    shares = [_share(text, images) for text in wanted]
    rest = images - sum(share for share in shares if share is not None)
    if rest < -1e-6 * images or (None not in shares and rest > 1e-6 * images):
        asked = ", ".join(str(text) for text in wanted if text is not None)
        raise UserError(
            f"{asked} of {images} images make {images - rest:g}, not {images}; leave --train out to give it the rest"
        )
    exact = np.array([rest if share is None else share for share in shares])
    whole = np.floor(exact + 1e-9).astype(np.int64)
    order = np.argsort(-(exact - whole), kind="stable")
    whole[order[: images - int(whole.sum())]] += 1
    return whole


def _share(text: str | None, images: int) -> float | None:
    """Return the number of images that a word asks for; a number with a point is a fraction."""
    if text is None:
        return None
    try:
        value = float(text)
        share = value * images if "." in text else value
        if 0 <= share <= images:
            return share
    except ValueError:
        pass
    raise UserError(f"'{text}' is no share of {images} images; write a fraction such as 0.1, or a number of images such as 50")


def deal(groups: np.ndarray, boxes: np.ndarray, sizes: np.ndarray, seed: int) -> np.ndarray:
    """Return the split (I,) of each image.

    Args:
        groups: (I,) which group, from 0, each image is of; a group stays together.
        boxes: (I, C) boxes of each class, to be in proportion; C = 0 deals at random.
        sizes: (S,) images that each split is to get; exact where every group is one image.
        seed: of all that is random.
    """
    count = int(groups.max()) + 1
    members = np.bincount(groups, minlength=count)
    content = np.zeros((count, boxes.shape[1]), np.int64)
    np.add.at(content, groups, boxes)
    content = np.concatenate([content, members[:, None]], axis=1)
    table = _Table(sizes, content.sum(0))
    split = np.full(count, -1)
    waiting = np.random.default_rng(seed).permutation(count)
    while len(waiting):
        left = content[waiting].sum(0)
        label = int(np.where(left > 0, left, left.max() + 1).argmin())
        holding = content[waiting, label] > 0
        for group in _largest_first(waiting[holding], content[:, label]):
            split[group] = table.take(content[group])
        waiting = waiting[~holding]
    return split[groups]


class _Table:
    """What the splits still lack of each class, and, in the last column, of images.

    Args:
        sizes: (S,) images that each split is to get.
        totals: (C + 1,) of all splits.
    """

    def __init__(self, sizes: np.ndarray, totals: np.ndarray) -> None:
        self._totals = np.maximum(totals, 1)
        self._shares = sizes / sizes.sum()
        self._lacking = totals * self._shares[:, None]

    def take(self, content: np.ndarray) -> int:
        """Give a group with this content (C + 1,) to a split, and return which.

        It is the one that lacks most of what the group has, relative to what it is to get, where what is rare counts most.
        Splits without room for its images come last.
        """
        wanted = self._totals * np.maximum(self._shares, 1e-9)[:, None]
        need = (self._lacking / wanted * (content / self._totals)).sum(1)
        fits = (self._lacking[:, -1] >= content[-1] - 1e-6) & (self._shares > 0)
        chosen = int((np.where(fits, need, -np.inf) if fits.any() else self._lacking[:, -1]).argmax())
        self._lacking[chosen] -= content
        return chosen


def _largest_first(groups: np.ndarray, amounts: np.ndarray) -> list[int]:
    """Return groups by their ``amounts``; equal ones in the order in which they are given."""
    return groups[np.argsort(-amounts[groups], kind="stable")].tolist()
