"""Assignment and criterion of YOLO a second time, written plainly: loops, sorts, full tables, numbers of Python."""

import math


def ciou(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    wa, ha, wb, hb = a[2] - a[0], a[3] - a[1], b[2] - b[0], b[3] - b[1]
    iou = width * height / (wa * ha + wb * hb - width * height)
    diagonal = (max(a[2], b[2]) - min(a[0], b[0])) ** 2 + (max(a[3], b[3]) - min(a[1], b[1])) ** 2
    distance = ((a[0] + a[2] - b[0] - b[2]) ** 2 + (a[1] + a[3] - b[1] - b[3]) ** 2) / 4
    v = 4 / math.pi**2 * (math.atan(wa / ha) - math.atan(wb / hb)) ** 2
    return iou - distance / diagonal - (v * v / (1 - iou + v) if v else 0)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def assign(scores, boxes, anchors, truth, labels, candidates=10, alpha=0.5, beta=6.0, smallest=0.0):
    """Assign in one image, from lists; return {prediction: (box, weight)}."""
    overlap = {}  # (box, prediction) -> CIoU, where the anchor lies inside the box
    for m, (left, top, right, bottom) in enumerate(truth):
        more_x, more_y = max(0.0, smallest - (right - left)) / 2, max(0.0, smallest - (bottom - top)) / 2
        for n, (x, y) in enumerate(anchors):
            if left - more_x < x < right + more_x and top - more_y < y < bottom + more_y:
                overlap[m, n] = max(0.0, ciou(boxes[n], truth[m]))
    aligned = {(m, n): sigmoid(scores[n][labels[m]]) ** alpha * value**beta for (m, n), value in overlap.items()}

    claims = {}
    for m in range(len(truth)):
        mine = sorted((-value, n) for (box, n), value in aligned.items() if box == m and value > 0)
        for _, n in mine[:candidates]:
            claims.setdefault(n, []).append(m)
    owner = {}
    for n, claimants in claims.items():
        around = [m for m in range(len(truth)) if (m, n) in overlap]
        owner[n] = claimants[0] if len(claimants) == 1 else max(around, key=lambda m: (overlap[m, n], -m))

    result = {}
    for n, m in owner.items():
        rivals = [other for other, box in owner.items() if box == m]
        highest = max(aligned[m, other] for other in rivals)
        result[n] = (m, aligned[m, n] * max(overlap[m, other] for other in rivals) / (highest + 1e-9))
    return result, sum(len(claimants) > 1 for claimants in claims.values())


def decode(logits, anchor, stride):
    """Bin logits of four sides -> box and the log-probabilities of each side's bins."""
    sides, logs = [], []
    for side in logits:
        total = sum(math.exp(value) for value in side)
        sides.append(stride * sum(i * math.exp(value) / total for i, value in enumerate(side)))
        logs.append([value - math.log(total) for value in side])
    x, y = anchor
    return [x - sides[0], y - sides[1], x + sides[2], y + sides[3]], logs


def criterion(raw, targets):
    """Return [box, class, dfl] with the published gains, in Python's numbers."""
    anchors, strides = raw.anchors.tolist(), raw.strides.tolist()
    box = cross_entropy = dfl = total = 0.0
    for image, (found, classes) in enumerate(targets.per_image()):
        truth, labels, scores = found.tolist(), classes.tolist(), raw.scores[image].tolist()
        logits = raw.distances[image].tolist()
        decoded = [decode(logits[n], anchors[n], strides[n]) for n in range(len(anchors))]
        assigned, _ = assign(scores, [item[0] for item in decoded], anchors, truth, labels)
        for n, row in enumerate(scores):
            m, weight = assigned.get(n, (None, 0.0))
            for label, logit in enumerate(row):
                p, t = sigmoid(logit), weight if m is not None and labels[m] == label else 0.0
                cross_entropy -= t * math.log(p) + (1 - t) * math.log(1 - p)
        for n, (m, weight) in assigned.items():
            predicted, logs = decoded[n]
            box += weight * (1 - ciou(predicted, truth[m]))
            x, y = anchors[n]
            wanted = [x - truth[m][0], y - truth[m][1], truth[m][2] - x, truth[m][3] - y]
            for log, distance in zip(logs, wanted, strict=True):
                value = min(max(distance / strides[n], 0), len(log) - 1.01)
                low = math.floor(value)
                dfl -= weight / 4 * ((low + 1 - value) * log[low] + (value - low) * log[low + 1])
            total += weight
    scale = len(targets.counts) / max(total, 1)
    return [7.5 * box * scale, 0.5 * cross_entropy * scale, 1.5 * dfl * scale]
