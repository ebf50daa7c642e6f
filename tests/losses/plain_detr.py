"""Matching and criterion of RT-DETR a second time, written plainly: loops over layers, images, queries; numbers of Python."""

import math

from scipy.optimize import linear_sum_assignment

from tests.losses.plain import sigmoid


def corners(box):
    x, y, width, height = box
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def overlap(a, b):
    """Return IoU and GIoU of two boxes cxcywh."""
    a, b = corners(a), corners(b)
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    iou = width * height / union
    return iou, iou - (hull - union) / hull


def cross_entropy(p, t):
    return -t * math.log(p) - (1 - t) * math.log(1 - p)


def varifocal(p, quality):
    return 0.75 * p**2 * cross_entropy(p, 0) if quality is None else quality * cross_entropy(p, quality)


def focal(p, quality):
    return 0.75 * p**2 * -math.log(1 - p) if quality is None else 0.25 * (1 - p) ** 2 * -math.log(p)


def mal(p, quality):
    return p**1.5 * cross_entropy(p, 0) if quality is None else cross_entropy(p, quality**1.5)


def match(scores, boxes, truth, labels):
    """Match one image of one layer; return {query: box}."""
    costs = []
    for logits, box in zip(scores, boxes, strict=True):
        row = []
        for wanted, label in zip(truth, labels, strict=True):
            p = sigmoid(logits[label])
            distance = sum(abs(a - b) for a, b in zip(box, wanted, strict=True))
            row.append(2 * (focal(p, 1) - focal(p, None)) + 5 * distance - 2 * overlap(box, wanted)[1])
        costs.append(row)
    return dict(zip(*(index.tolist() for index in linear_sum_assignment(costs)), strict=True)) if truth else {}


def terms(scores, boxes, truth, labels, matches, class_loss, shares=None):
    """Return the sums of class, L1 and GIoU loss of one image of one layer."""
    classes = l1 = giou = 0.0
    for query, (logits, box) in enumerate(zip(scores, boxes, strict=True)):
        share = 1 if shares is None else shares[query]
        found = matches.get(query)
        quality = None if found is None else overlap(box, truth[found])[0]
        for label, logit in enumerate(logits):
            here = found is not None and labels[found] == label
            classes += share * class_loss(sigmoid(logit), quality if here else None)
        if found is not None:
            l1 += share * sum(abs(a - b) for a, b in zip(box, truth[found], strict=True))
            giou += share * (1 - overlap(box, truth[found])[1])
    return classes, l1, giou


def images(raw, targets):
    """Yield (image, boxes cxcywh normalised, labels)."""
    height, width = raw.size
    for image, (found, classes) in enumerate(targets.per_image()):
        truth = []
        for left, top, right, bottom in found.tolist():
            truth.append(
                [(left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height]
            )
        yield image, truth, classes.tolist()


def criterion(raw, targets, class_loss=varifocal):
    """Return the weighted losses by name, in Python's numbers."""
    sums, positives = {}, 0

    def add(prefix, found):
        for name, gain, value in zip(("class", "l1", "box"), (1, 5, 2), found, strict=True):
            sums[prefix + name] = sums.get(prefix + name, 0.0) + gain * value

    for image, truth, labels in images(raw, targets):
        for layer in range(len(raw.boxes)):
            scores, boxes = raw.scores[layer, image].tolist(), raw.boxes[layer, image].tolist()
            found = terms(scores, boxes, truth, labels, match(scores, boxes, truth, labels), class_loss)
            add("" if layer == len(raw.boxes) - 1 else "aux_", found)
        if raw.proposals is not None:
            cells = raw.proposals.chosen[image].tolist()
            scores = [raw.proposals.scores[image, cell].tolist() for cell in cells]
            boxes = [raw.proposals.boxes[image, cell].tolist() for cell in cells]
            add("proposal_", terms(scores, boxes, truth, labels, match(scores, boxes, truth, labels), class_loss))
        if raw.denoised is not None:
            noisy = raw.denoised
            target, positive, share = (values[image].tolist() for values in (noisy.target, noisy.positive, noisy.share))
            known = {place: target[place] for place in range(len(target)) if positive[place] and share[place]}
            positives += sum(share[place] for place in known)
            for layer in range(len(noisy.boxes)):
                scores, boxes = noisy.scores[layer, image].tolist(), noisy.boxes[layer, image].tolist()
                add("denoised_", terms(scores, boxes, truth, labels, known, class_loss, share))
    count = max(1, int(targets.counts.sum()))
    return {name: value / (max(1, positives) if name.startswith("denoised_") else count) for name, value in sums.items()}
