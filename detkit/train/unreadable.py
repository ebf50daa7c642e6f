"""``unreadable.txt``: the images that a run could not read, which were skipped."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from lightning.pytorch import Callback, LightningModule, Trainer

from detkit.train.gather import gathered
from detkit.train.loaders import Loaders
from detkit.train.runs import tell, told
from detkit.weights.files import replace_file

UNREADABLE = "unreadable.txt"


class UnreadableImages(Callback):
    """Lists them at the end of each epoch, a line an image: split, path and what is wrong, with tabs between.

    Under several processes each one has met others; a resumed run adds to the list that it finds.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._count = 0

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the list, if there is one."""
        shares = gathered(trainer, _lines(trainer))
        if trainer.is_global_zero:
            self._write({line for share in shares for line in share})

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write what the first process knows; the others may not be there any more."""
        if trainer.is_global_zero:
            self._write(set(_lines(trainer)))

    def _write(self, lines: set[str]) -> None:
        if not lines:
            return
        lines |= _read(self.file)
        if len(lines) > self._count:
            self._count = len(lines)
            text = "".join(f"{line}\n" for line in sorted(lines))
            with told(f"{self.file} could not be written"):
                replace_file(self.file, text.encode(errors="surrogateescape"))
            tell(f"images that could not be read and were skipped: {len(lines)}; all of them are in {self.file}")


def listed(file: Path) -> set[str]:
    """Return the paths that a list names; none where there is no list."""
    return {line.split("\t")[1] for line in _read(file) if line.count("\t") >= 2}


def _read(file: Path) -> set[str]:
    return set(file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()) if file.is_file() else set()


def _lines(trainer: Trainer) -> list[str]:
    """Return a line for each image that this process could not read."""
    found = cast(Loaders, trainer.datamodule).unreadable  # type: ignore[attr-defined]
    return [f"{split}\t{path}\t{reason}" for split, reasons in found.items() for path, reason in reasons.items()]
