"""What a check found, as one HTML file that needs no other: findings, pictures of the offenders, charts."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

import cv2
import numpy as np

from detkit.cli.charts import class_bars, size_map
from detkit.cli.check_report import contents
from detkit.data.check.decoders import overheard
from detkit.data.check.examine import Checked
from detkit.data.check.findings import Effect, Exhibit, Finding
from detkit.data.images import ImageError, load_image
from detkit.errors import UserError

SIDE = 300
"""Pixels of the longer side of a picture."""
MARGIN = 24
"""Pixels around a picture, so that boxes that reach out of it are seen."""
MARK = (230, 30, 60)
SHADES = {Effect.REFUSED: "#b3261e", Effect.CHANGES: "#b26a00", Effect.MENDED: "#2f6fb5", Effect.NOTED: "#666"}
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; color: #222 }
table { border-collapse: collapse } td, th { padding: .2em .8em; text-align: left; border-bottom: 1px solid #ddd }
td.count { text-align: right } .effect { color: #fff; border-radius: 4px; padding: 0 .4em }
figure { display: inline-block; margin: .5em; vertical-align: top } figcaption { font-size: 12px; max-width: 320px;
overflow-wrap: anywhere } li, code { font-family: ui-monospace, monospace; font-size: 13px; overflow-wrap: anywhere }
"""


def write_page(checked: Checked, name: str, file: Path) -> None:
    """Write the page, replacing an older one.

    Raises:
        UserError: it cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(page(checked, name), encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"{file} cannot be written ({error.strerror or error}); give another place with --html") from None


def page(checked: Checked, name: str) -> str:
    """Return the page as text."""
    body = [f"<h1>{escape(name)}</h1>", *(f"<p>{escape(line)}</p>" for line in contents(checked))]
    body.append(_table(checked) if checked.findings else "<p>Nothing is wrong with it.</p>")
    body += [_section(number, finding) for number, finding in enumerate(checked.findings, 1)]
    body += _charts(checked)
    head = f'<meta charset="utf-8"><title>{escape(name)}</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'


def _table(checked: Checked) -> str:
    rows = [
        f'<tr><td><a href="#{number}">{escape(finding.what)}</a></td><td>{finding.split}</td>'
        f'<td class="count">{finding.count:,}</td><td>{_badge(finding)}</td></tr>'
        for number, finding in enumerate(checked.findings, 1)
    ]
    return f"<table><tr><th>finding</th><th>split</th><th>count</th><th>effect</th></tr>{''.join(rows)}</table>"


def _section(number: int, finding: Finding) -> str:
    places = "".join(f"<li>{escape(place)}</li>" for place in finding.places)
    figures = "".join(_figure(exhibit) for exhibit in finding.exhibits)
    title = f'<h2 id="{number}">{escape(finding.what)} ({finding.split}, {finding.count:,}) {_badge(finding)}</h2>'
    return f"{title}<p>{escape(finding.remedy)}</p><ul>{places}</ul>{figures}"


def _badge(finding: Finding) -> str:
    return f'<span class="effect" style="background:{SHADES[finding.effect]}">{finding.effect.value}</span>'


def _figure(exhibit: Exhibit) -> str:
    pictures = "".join(_picture(path, exhibit) for path in exhibit.paths)
    return f"<figure>{pictures}<figcaption>{escape(exhibit.caption)}</figcaption></figure>"


def _picture(path: str, exhibit: Exhibit) -> str:
    """Return an image with its boxes, as part of the page; nothing where it cannot be decoded."""
    try:
        with overheard():
            image = load_image(path, exhibit.upright)
    except ImageError:
        return ""
    scale = SIDE / max(image.shape[:2])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    canvas = cv2.copyMakeBorder(small, MARGIN, MARGIN, MARGIN, MARGIN, cv2.BORDER_CONSTANT, value=(245, 245, 245))
    for x, y, width, height in exhibit.boxes:
        corners = np.array([x, y, x + width, y + height]) * scale + MARGIN
        left, top, right, bottom = corners.round().clip(-(2**14), 2**14).astype(int).tolist()
        cv2.rectangle(canvas, (left, top), (right, bottom), MARK, 2)
        cv2.drawMarker(canvas, (left, top), MARK, cv2.MARKER_TILTED_CROSS, 8, 2)
    encoded = cv2.imencode(".jpg", canvas[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(encoded).decode()}">'


def _charts(checked: Checked) -> list[str]:
    """Return how many boxes each class has, and how large they are."""
    if not checked.splits:
        return []
    counts: dict[str, np.ndarray] = {
        split: np.bincount(part.labels[~part.crowds], minlength=len(checked.names)) for split, part in checked.splits.items()
    }
    parts = [
        "<h2>Boxes by class</h2>",
        f"<p>{', '.join(counts)}</p>",
        class_bars(checked.names, counts),
        "<h2>Sizes of boxes</h2>",
    ]
    for split, part in checked.splits.items():
        shares = part.boxes[:, 2:] / part.sizes[part.owners][:, ::-1]
        parts.append(f"<figure>{size_map(shares, split)}<figcaption>{split}</figcaption></figure>")
    return parts
