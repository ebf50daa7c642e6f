"""The box losses a second time, as their papers have them: one pair of boxes xyxy, numbers of Python."""

import math

from tests.losses.plain import ciou


def parts(a, b):
    """Return widths and heights, the centres' offset, width and height of the hull, of two boxes."""
    hull = max(a[2], b[2]) - min(a[0], b[0]), max(a[3], b[3]) - min(a[1], b[1])
    offset = (a[0] + a[2] - b[0] - b[2]) / 2, (a[1] + a[3] - b[1] - b[3]) / 2
    return a[2] - a[0], a[3] - a[1], b[2] - b[0], b[3] - b[1], *offset, *hull


def iou(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return width * height / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height)


def giou_loss(a, b):
    wa, ha, wb, hb, _, _, width, height = parts(a, b)
    shared = iou(a, b) * (wa * ha + wb * hb) / (1 + iou(a, b))
    return 1 - iou(a, b) + (width * height - (wa * ha + wb * hb - shared)) / (width * height)


def diou_loss(a, b):
    *_, x, y, width, height = parts(a, b)
    return 1 - iou(a, b) + (x**2 + y**2) / (width**2 + height**2)


def ciou_loss(a, b):
    return 1 - ciou(a, b)


def eiou_loss(a, b):
    wa, ha, wb, hb, *_, width, height = parts(a, b)
    return diou_loss(a, b) + (wa - wb) ** 2 / width**2 + (ha - hb) ** 2 / height**2


def siou_loss(a, b, theta=4):
    wa, ha, wb, hb, x, y, width, height = parts(a, b)
    sine = min(1.0, abs(y) / math.hypot(x, y))
    angle = 1 - 2 * math.sin(math.asin(sine) - math.pi / 4) ** 2
    gamma = 2 - angle
    distance = (1 - math.exp(-gamma * (x / width) ** 2)) + (1 - math.exp(-gamma * (y / height) ** 2))
    shape = sum((1 - math.exp(-abs(p - q) / max(p, q))) ** theta for p, q in ((wa, wb), (ha, hb)))
    return 1 - iou(a, b) + (distance + shape) / 2


def shape_iou_loss(a, b, scale=0.0, theta=4):
    wa, ha, wb, hb, x, y, width, height = parts(a, b)
    ww, hh = 2 * wb**scale / (wb**scale + hb**scale), 2 * hb**scale / (wb**scale + hb**scale)
    diagonal = width**2 + height**2
    shape_w, shape_h = hh * abs(wa - wb) / max(wa, wb), ww * abs(ha - hb) / max(ha, hb)
    shape = (1 - math.exp(-shape_w)) ** theta + (1 - math.exp(-shape_h)) ** theta
    return 1 - iou(a, b) + hh * x**2 / diagonal + ww * y**2 / diagonal + shape / 2


def mpdiou_loss(a, b, size):
    corners = sum((p - q) ** 2 for p, q in zip(a, b, strict=True))
    return 1 - iou(a, b) + corners / (size[0] ** 2 + size[1] ** 2)


def wiou_loss(a, b, overlap=iou):
    *_, x, y, width, height = parts(a, b)
    return math.exp((x**2 + y**2) / (width**2 + height**2)) * (1 - overlap(a, b))


def wiou_weight(loss, mean, version):
    degree = loss / mean
    return degree**0.5 if version == 2 else degree / (3 * 1.9 ** (degree - 3))


def inner_iou(a, b, ratio):
    wa, ha, wb, hb, *_ = parts(a, b)
    (xa, ya), (xb, yb) = ((box[0] + box[2], box[1] + box[3]) for box in (a, b))
    left = max((xa - wa * ratio) / 2, (xb - wb * ratio) / 2)
    right = min((xa + wa * ratio) / 2, (xb + wb * ratio) / 2)
    top = max((ya - ha * ratio) / 2, (yb - hb * ratio) / 2)
    bottom = min((ya + ha * ratio) / 2, (yb + hb * ratio) / 2)
    shared = max(0.0, right - left) * max(0.0, bottom - top)
    return shared / (wa * ha * ratio**2 + wb * hb * ratio**2 - shared)


def focused(value, low, high):
    return 0.0 if value < low else 1.0 if value > high else (value - low) / (high - low)
