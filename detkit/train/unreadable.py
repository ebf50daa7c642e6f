"""``unreadable.txt``: the images that a run could not read, which were skipped."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from lightning.pytorch import Callback, LightningModule, Trainer

from detkit.data.loader import MOST_TOLD
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
        """Share what each process has met, tell of what is new to the first one, and write the list, if there is one."""
        found = _found(trainer)
        for share in gathered(trainer, found):
            for split, reasons in share.items():
                known = found[split]
                for path in sorted(reasons.keys() - known.keys()):
                    known[path] = reasons[path]
                    if len(known) <= MOST_TOLD:
                        tell(f"{reasons[path]}; until then it is skipped")
        if trainer.is_global_zero:
            self._write(found)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write what the first process knows; the others may not be there any more."""
        if trainer.is_global_zero:
            self._write(_found(trainer))

    def _write(self, found: dict[str, dict[str, str]]) -> None:
        lines = {f"{split}\t{path}\t{reason}" for split, reasons in found.items() for path, reason in reasons.items()}
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


def _found(trainer: Trainer) -> dict[str, dict[str, str]]:
    """Return what is wrong with the images that this process could not read, by path, of each split."""
    return cast(Loaders, trainer.datamodule).unreadable  # type: ignore[attr-defined]
