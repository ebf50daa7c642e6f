"""Writing splits in COCO's, YOLO's and Pascal VOC's format, each in the layout that its reader finds by itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from detkit.data.annotations import Annotations
from detkit.data.copying import Copier
from detkit.data.layout import Splits

Writer = Callable[[Path, Splits, Copier], None]


def write_coco(out: Path, splits: Splits, copier: Copier) -> None:
    """Write ``annotations/instances_{train,val}.json`` and the images in ``train/`` and ``val/``; all ids are kept.

    Both files number the classes as the training file does.
    """
    (out / "annotations").mkdir()
    for split, part in _both(splits):
        names = copier.copy(part, out / split)
        content = replace(part, category_ids=splits.train.category_ids).to_coco()
        for image, name in zip(content["images"], names, strict=True):
            image["file_name"] = name
        _write(out / "annotations" / f"instances_{split}.json", json.dumps(content, ensure_ascii=False))


def write_yolo(out: Path, splits: Splits, copier: Copier) -> None:
    """Write ``data.yaml``, ``images/{train,val}/`` and ``labels/{train,val}/``.

    Crowds are left out; images without boxes get an empty label file.
    """
    import yaml

    for split, part in _both(splits):
        names = copier.copy(part, out / "images" / split, shown=True)
        labels = out / "labels" / split
        labels.mkdir(parents=True)
        for index, name in enumerate(names):
            boxes, numbers = _objects(part, index)
            height, width = part.size(index)
            shares = np.concatenate([boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]], 1) / [width, height, width, height]
            rows = zip(numbers.tolist(), shares.tolist(), strict=True)
            text = "".join(f"{label} {' '.join(_short(value, 10) for value in row)}\n" for label, row in rows)
            _write(labels / f"{Path(name).stem}.txt", text)
    described = {"train": "images/train", "val": "images/val", "names": dict(enumerate(splits.names))}
    _write(out / "data.yaml", yaml.safe_dump(described, sort_keys=False, allow_unicode=True))


def write_voc(out: Path, splits: Splits, copier: Copier) -> None:
    """Write ``Annotations/``, ``JPEGImages/``, ``ImageSets/Main/{train,val}.txt``, and ``classes.txt`` for their order.

    Crowds are left out. Corners are edges, with fractions where they have them: see `detkit.data.voc`.
    """
    (out / "Annotations").mkdir()
    lists = out / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for split, part in _both(splits):
        names = copier.copy(part, out / "JPEGImages")
        for index, name in enumerate(names):
            tree = _voc_tree(part, index, name)
            tree.write(out / "Annotations" / f"{Path(name).stem}.xml", encoding="utf-8")
        _write(lists / f"{split}.txt", "".join(f"{Path(name).stem}\n" for name in names))
    _write(out / "classes.txt", "".join(f"{name}\n" for name in splits.names))


WRITERS: dict[str, Writer] = {"coco": write_coco, "yolo": write_yolo, "voc": write_voc}


def _both(splits: Splits) -> list[tuple[str, Annotations]]:
    return [("train", splits.train), ("val", splits.val)]


def _objects(annotations: Annotations, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the boxes (N, 4) xywh and labels (N,) of an image that are no crowds."""
    mine = slice(annotations.starts[index], annotations.starts[index + 1])
    single = ~annotations.crowds[mine]
    return annotations.boxes[mine][single], annotations.labels[mine][single]


def _voc_tree(annotations: Annotations, index: int, name: str) -> ElementTree.ElementTree[ElementTree.Element]:
    root = ElementTree.Element("annotation")
    _tag(root, "folder", "JPEGImages")
    _tag(root, "filename", name)
    height, width = annotations.size(index)
    size = _tag(root, "size")
    for side, pixels in (("width", width), ("height", height), ("depth", 3)):
        _tag(size, side, str(pixels))
    boxes, labels = _objects(annotations, index)
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    for label, box in zip(labels.tolist(), corners.tolist(), strict=True):
        item = _tag(root, "object")
        _tag(item, "name", annotations.names[label])
        _tag(item, "difficult", "0")
        around = _tag(item, "bndbox")
        for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
            _tag(around, side, _short(value, 6))
    ElementTree.indent(root)
    return ElementTree.ElementTree(root)


def _tag(parent: ElementTree.Element, name: str, text: str | None = None) -> ElementTree.Element:
    child = ElementTree.SubElement(parent, name)
    child.text = text
    return child


def _short(value: float, digits: int) -> str:
    """Return a number with at most so many decimals."""
    return f"{value:.{digits}f}".rstrip("0").rstrip(".")


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
