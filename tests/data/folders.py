"""Tiny data sets in every format, written by hand."""

from pathlib import Path

from .conftest import picture, write_image

SIZE = (40, 60)  # height, width


def images(root: Path, *names):
    for name in names:
        write_image(root / name, picture(SIZE, {}))


def texts(root: Path, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def voc(objects=(), size=SIZE, image="", database="Unknown"):
    """The text of an XML file with objects (name, xmin, ymin, xmax, ymax)."""
    height, width = size
    boxes = "".join(
        f"<object><name>{name}</name><difficult>{int(name == 'hard')}</difficult><bndbox><xmin>{a}</xmin><ymin>{b}</ymin>"
        f"<xmax>{c}</xmax><ymax>{d}</ymax></bndbox><part><name>head</name><bndbox><xmin>1</xmin></bndbox></part></object>"
        for name, a, b, c, d in objects
    )
    return (
        f"<annotation><filename>{image}</filename><source><database>{database}</database></source>"
        f"<size><width>{width}</width><height>{height}</height></size>{boxes}</annotation>"
    )


def shown(annotations):
    """Boxes of a split as (file stem, class name, x, y, width, height), rounded."""
    rows = []
    for index in range(len(annotations)):
        stem = Path(annotations.paths[index]).stem
        mine = slice(annotations.starts[index], annotations.starts[index + 1])
        for label, box in zip(annotations.labels[mine], annotations.boxes[mine], strict=True):
            rows.append((stem, annotations.names[label], *(round(float(value), 4) for value in box)))
    return rows
