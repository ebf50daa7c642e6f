"""COCO's handing out of boxes to detections, for all images and classes at once."""

from __future__ import annotations

import numpy as np


def hand_out(detections: np.ndarray, boxes: np.ndarray, shared: np.ndarray) -> np.ndarray:
    """Say which detection gets which box: each in turn the one that it likes best of those that are left.

    Whoever is next in line gets a box for certain where nobody before it may still want that box. All that is certain is given
    away at once, what is taken is struck off all lists, and so on until the lists are empty. A few rounds do for all images.

    Args:
        detections: (P,) ascending; a lower number is served earlier. One entry for each box that a detection may get, in
            the order of its liking.
        boxes: (P,) rows of boxes.
        shared: (A,) bool: boxes that any number of detections may have.

    Returns:
        (P,) bool, at most one True a detection, and one a box that is not shared.
    """
    given = np.zeros(len(detections), bool)
    served = np.zeros(detections[-1] + 1 if len(detections) else 0, bool)
    taken = np.zeros(len(shared), bool)
    earliest = np.empty(len(shared), np.int64)
    left = np.arange(len(detections))
    while len(left):
        who, what = detections[left], boxes[left]
        favourite = np.diff(who, prepend=-1) != 0
        earliest[what[::-1]] = who[::-1]  # of several values for a box the last one stays: the lowest number
        certain = favourite & (shared[what] | (earliest[what] == who))
        given[left[certain]] = served[who[certain]] = taken[what[certain]] = True
        left = left[~served[who] & (shared[what] | ~taken[what])]
    return given
