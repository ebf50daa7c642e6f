"""The data of a run, in the shape that Lightning asks for."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from lightning.pytorch import LightningDataModule

from detkit.data.annotations import Annotations
from detkit.data.loader import EvalLoader, TrainLoader
from detkit.errors import UserError
from detkit.experiment import Experiment
from detkit.train.runs import tell


class Loaders(LightningDataModule):
    """Makes each process's loaders once the processes know one another."""

    def __init__(self, experiment: Experiment, val: Annotations, train: Annotations | None = None) -> None:
        super().__init__()
        self.experiment, self.val, self.train = experiment, val, train

    @cached_property
    def ground_truth(self) -> dict[str, Any]:
        """The validation split as a COCO dictionary."""
        return self.val.to_coco()

    @cached_property
    def train_loader(self) -> TrainLoader:
        """This process's share of the training images."""
        experiment, trainer = self.experiment, self.trainer
        assert trainer is not None
        assert self.train is not None
        loader = TrainLoader(
            self.train,
            experiment.data,
            experiment.recipe.augment,
            batch=experiment.recipe.batch,
            epochs=experiment.recipe.epochs,
            seed=experiment.seed,
            rank=trainer.global_rank,
            world=trainer.world_size,
        )
        if loader.note:
            tell(loader.note)
        return loader

    @cached_property
    def val_loader(self) -> EvalLoader:
        """This process's share of the validation images."""
        assert self.trainer is not None
        return EvalLoader(
            self.val,
            self.experiment.data,
            batch=self.experiment.recipe.batch,
            rank=self.trainer.global_rank,
            world=self.trainer.world_size,
        )

    @property
    def batches(self) -> int:
        """Training batches of an epoch, as ``trainer.limit_train_batches`` leaves them."""
        assert self.trainer is not None
        limit = self.trainer.limit_train_batches
        count = len(self.train_loader)
        left = min(limit, count) if isinstance(limit, int) else int(count * limit)
        if not left:
            raise UserError(f"trainer.limit_train_batches={limit} leaves none of the {count} batches of an epoch")
        return left

    @property
    def unreadable(self) -> dict[str, dict[str, str]]:
        """What is wrong with the images that this process could not read so far, by path, of each split that it has read."""
        made = {"train": vars(self).get("train_loader"), "val": vars(self).get("val_loader")}
        return {split: loader.unreadable for split, loader in made.items() if loader is not None}

    def train_dataloader(self) -> TrainLoader:
        """Return the training batches."""
        return self.train_loader

    def val_dataloader(self) -> EvalLoader:
        """Return the validation batches."""
        return self.val_loader

    def teardown(self, stage: str) -> None:
        """End the worker processes."""
        for name in ("train_loader", "val_loader"):
            if name in vars(self):
                vars(self)[name].close()

    def on_exception(self, exception: BaseException) -> None:
        """End the worker processes, which Lightning does not ask for here."""
        self.teardown("fit")
