"""The description that YOLO data sets come with: ``data.yaml``, with class names and where the splits are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detkit.data.files import numbered
from detkit.data.raw import Split, listing
from detkit.errors import UserError

USUAL = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")


@dataclass(frozen=True)
class DataYaml:
    """What a data.yaml says.

    Attributes:
        path: the file.
        names: class names by number.
        keypoints: numbers of a row that follow its box; 0 for none.
        content: all of it.
    """

    path: Path
    names: dict[int, str]
    keypoints: int
    content: dict[str, Any]

    def sources(self, split: Split) -> list[Path]:
        """Return the folders and lists of a split; none where they are not said, or not there.

        They are relative to ``path``, which is relative to the file. Exported files often say ``../train/images`` or another
        machine's ``path``: what is below the file's own folder comes first.
        """
        stated = self.content.get(split)
        if stated is None and split == "val":
            stated = self.content.get("valid")
        entries = stated if isinstance(stated, list) else [stated]
        found = [self._find(entry) for entry in entries if isinstance(entry, str) and entry]
        return [path for path in found if path is not None]

    def _find(self, entry: str) -> Path | None:
        here = self.path.parent
        base = self.content.get("path")
        below = Path(*[part for part in Path(entry).parts if part not in ("..", "/")])
        candidates = [here / below, here / (base if isinstance(base, str) else "") / entry, here / entry]
        return next((path for path in candidates if path.exists()), None)


def read_data_yaml(root: Path) -> DataYaml | None:
    """Return the description of a data set; None where its folder has none.

    It is data.yaml or dataset.yaml, or else the only YAML file there that has ``names``.

    Raises:
        UserError: it is no YAML, there are several, or its names are wrong, or not as many as it says.
    """
    usual = [root / name for name in USUAL if (root / name).is_file()]
    files = usual[:1] or sorted([*root.glob("*.yaml"), *root.glob("*.yml")])
    found = [(file, content) for file in files if isinstance(content := _load(file), dict) and "names" in content]
    if not found:
        return None
    if len(found) > 1:
        choice = listing([file.name for file, _ in found])
        raise UserError(f"{root} has several descriptions: {choice}; rename the one that counts to data.yaml")
    file, content = found[0]
    keypoints = content.get("kpt_shape")
    names = _names(file, content["names"])
    stated = content.get("nc", len(names))
    if stated != len(names):
        raise UserError(f"{file}: nc is {stated}, and there are {len(names)} names; mend whichever is wrong")
    shape = keypoints if isinstance(keypoints, list) and all(isinstance(n, int) for n in keypoints) else []
    return DataYaml(file, names, math.prod(shape) if shape else 0, content)


def _load(file: Path) -> Any:
    import yaml  # only where there is such a file

    try:
        return yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}); check who may read it") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is no YAML: {' '.join(str(error).split())}") from None


def _names(file: Path, stated: Any) -> dict[int, str]:
    if isinstance(stated, list):
        stated = dict(enumerate(stated))
    if not isinstance(stated, dict) or not stated or not all(isinstance(number, int) for number in stated):
        raise UserError(f"{file}: 'names' must be class names, `names: [cat, dog]`, or by number, `names: {{0: cat, 1: dog}}`")
    for number, name in stated.items():
        if isinstance(name, bool) or not isinstance(name, str | int | float):
            raise UserError(f"{file}: the name of class {number} is {name!r}; write it in quotes")
    ordered = sorted(stated)
    distinct = numbered([str(stated[number]) for number in ordered], str(file))
    return {number: distinct[place] for place, number in enumerate(ordered)}
