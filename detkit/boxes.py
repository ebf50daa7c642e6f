"""Box maths: conversions, areas and the IoU family.

Boxes are (..., 4) tensors, xyxy unless a name says otherwise, in any one unit. Functions of two boxes broadcast:
``iou(a, b)`` pairs them one to one, ``iou(a[:, None], b)`` each with each. Measures of half precision boxes are computed
and returned in float32; other dtypes stay. Empty and inverted boxes count as having no extent, and every value and
gradient is finite for them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

EPSILON = 1e-9
"""Extents up to this are none: a fiftieth of a pixel, squared, in boxes normalised to an image of 640 pixels."""


def lift(values: Tensor) -> Tensor:
    """Return half precision values as float32, others as they are."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


# --- one box ---------------------------------------------------------------------------------------------------------


def to_cxcywh(boxes: Tensor) -> Tensor:
    """Xyxy -> centre x, centre y, width, height."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat(((low + high) / 2, high - low), -1)


def to_xyxy(boxes: Tensor) -> Tensor:
    """Centre x, centre y, width, height -> xyxy."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat((centre - half, centre + half), -1)


def from_distances(distances: Tensor, anchors: Tensor) -> Tensor:
    """Distances left, top, right, bottom (..., 4) from points x, y (..., 2), in one unit -> xyxy."""
    return torch.cat((anchors - distances[..., :2], anchors + distances[..., 2:]), -1)


def to_distances(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Xyxy (..., 4) -> distances left, top, right, bottom from points x, y (..., 2); the inverse of `from_distances`."""
    return torch.cat((anchors - boxes[..., :2], boxes[..., 2:] - anchors), -1)


def normalise(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixels of an image of ``size`` (height, width) -> shares of its sides, be the boxes xyxy or cxcywh."""
    height, width = size
    return torch.stack((boxes[..., 0::2] / width, boxes[..., 1::2] / height), -1).flatten(-2)


def to_pixels(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Shares of the sides of an image of ``size`` (height, width) -> pixels; the inverse of `normalise`."""
    height, width = size
    return torch.stack((boxes[..., 0::2] * width, boxes[..., 1::2] * height), -1).flatten(-2)


def clip(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut boxes at the borders of an image of ``size`` (height, width)."""
    height, width = size
    x, y = boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)
    return torch.stack((x, y), -1).flatten(-2)


def sides(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return widths and heights (...), at least zero."""
    boxes = lift(boxes)
    return (boxes[..., 2] - boxes[..., 0]).clamp(min=0), (boxes[..., 3] - boxes[..., 1]).clamp(min=0)


def area(boxes: Tensor) -> Tensor:
    """Return areas (...)."""
    width, height = sides(boxes)
    return width * height


def scaled(boxes: Tensor, factor: float) -> Tensor:
    """Scale boxes about their centres: extents times ``factor``."""
    low, high = lift(boxes[..., :2]), lift(boxes[..., 2:])
    outwards = (high - low) * ((factor - 1) / 2)
    return torch.cat((low - outwards, high + outwards), -1)


# --- two boxes: the terms --------------------------------------------------------------------------------------------


def overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return the areas (...) of intersection and union."""
    a, b = lift(a), lift(b)
    width = (torch.minimum(a[..., 2], b[..., 2]) - torch.maximum(a[..., 0], b[..., 0])).clamp(min=0)
    height = (torch.minimum(a[..., 3], b[..., 3]) - torch.maximum(a[..., 1], b[..., 1])).clamp(min=0)
    shared = width * height
    return shared, area(a) + area(b) - shared


def hull(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return width and height (...) of the smallest box around both."""
    a, b = lift(a), lift(b)
    width = torch.maximum(a[..., 2], b[..., 2]) - torch.minimum(a[..., 0], b[..., 0])
    height = torch.maximum(a[..., 3], b[..., 3]) - torch.minimum(a[..., 1], b[..., 1])
    return width, height


def centre_offset(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return x and y (...) from the centre of ``b`` to that of ``a``."""
    a, b = lift(a) / 2, lift(b) / 2
    return (a[..., 0] + a[..., 2]) - (b[..., 0] + b[..., 2]), (a[..., 1] + a[..., 3]) - (b[..., 1] + b[..., 3])


def centre_distance(a: Tensor, b: Tensor) -> Tensor:
    """Return the squared distance (...) between the centres."""
    x, y = centre_offset(a, b)
    return x.square() + y.square()


def ratio(part: Tensor, whole: Tensor) -> Tensor:
    """Return part / whole (...), or the part itself where the whole has no extent: no gradient explodes there."""
    return part / whole.where(whole > EPSILON, 1)


def emptiness(a: Tensor, b: Tensor, union: Tensor) -> Tensor:
    """Return the share (...) of the hull that is in neither box, where ``union`` is the area of both."""
    width, height = hull(a, b)
    around = width * height
    return ratio(around - union, around)


def remoteness(a: Tensor, b: Tensor) -> Tensor:
    """Return the squared distance (...) of the centres as a share of the squared diagonal of the hull."""
    width, height = hull(a, b)
    return ratio(centre_distance(a, b), width.square() + height.square())


def side_differences(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return the differences (...) of the widths and of the heights as shares of the larger one, in [0, 1]."""
    pairs = zip(sides(a), sides(b), strict=True)
    width, height = (ratio((first - second).abs(), torch.maximum(first, second)) for first, second in pairs)
    return width, height


# --- two boxes: the measures -----------------------------------------------------------------------------------------


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Return intersection over union (...), in [0, 1]."""
    shared, union = overlap(a, b)
    return ratio(shared, union)


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """(..., N, 4) and (..., M, 4) -> the IoU (..., N, M) of each with each."""
    return iou(a[..., :, None, :], b[..., None, :, :])


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Return the generalised IoU (...), in [-1, 1]: IoU - (hull - union) / hull (Rezatofighi et al., arXiv:1902.09630)."""
    shared, union = overlap(a, b)
    return ratio(shared, union) - emptiness(a, b, union)


def diou(a: Tensor, b: Tensor) -> Tensor:
    """Return the distance IoU (...), in [-1, 1]: IoU - (centre distance / hull diagonal)^2 (Zheng et al., arXiv:1911.08287)."""
    return iou(a, b) - remoteness(a, b)


def ciou(a: Tensor, b: Tensor) -> Tensor:
    """Return the complete IoU (...): DIoU - alpha * v (Zheng et al., arXiv:1911.08287), see `disproportion`."""
    plain = iou(a, b)
    return plain - remoteness(a, b) - disproportion(a, b, plain)


def disproportion(a: Tensor, b: Tensor, plain: Tensor) -> Tensor:
    """Return the term alpha * v (...) of the complete IoU, where ``plain`` is the IoU.

    v = 4 / pi^2 * (atan(width / height) of a - that of b)^2 measures the difference of shape; alpha = v / (1 - IoU + v)
    weighs it and takes no gradient.
    """
    shape = (_angle(a) - _angle(b)).square()
    return ratio(shape, 1 - plain + shape).detach() * shape


def _angle(boxes: Tensor) -> Tensor:
    """Return the angle (...) between the diagonal and the vertical, as a share of the right angle."""
    width, height = sides(boxes)
    height = height.where(width + height > EPSILON, 1)
    return torch.atan2(width, height) * (2 / math.pi)
