import inspect

import pytest
from lightning.pytorch import Trainer

from detkit.errors import UserError
from detkit.train.options import INSTEAD, check_trainer


def test_arguments_of_the_trainer_pass():
    check_trainer({"devices": 2, "precision": "bf16-mixed", "strategy": "ddp", "limit_train_batches": 3, "deterministic": True})


def test_a_typo_is_an_error_that_suggests():
    with pytest.raises(UserError, match=r"trainer: .*no argument 'precison'; did you mean 'precision'\?"):
        check_trainer({"precison": 16})


@pytest.mark.parametrize("name", INSTEAD)
def test_what_detkit_decides_is_refused_and_exists(name):
    assert name in inspect.signature(Trainer).parameters
    with pytest.raises(UserError, match=f"trainer.{name}: detkit decides this; "):
        check_trainer({name: 1})


def test_whole_batches_are_not_cast_to_half_precision():
    with pytest.raises(UserError, match=r"trainer\.precision: bf16-true would round the boxes too; write bf16-mixed"):
        check_trainer({"precision": "bf16-true"})


def test_processes_that_are_copies_are_refused():
    with pytest.raises(UserError, match=r"trainer\.strategy: ddp_spawn would leave the run's results .*; write ddp"):
        check_trainer({"strategy": "ddp_spawn"})


def test_a_limit_is_a_number():
    with pytest.raises(UserError, match=r"trainer\.limit_val_batches: 'abc' is no number; write 10"):
        check_trainer({"limit_val_batches": "abc"})


def test_max_epochs_names_the_recipe():
    with pytest.raises(UserError, match=r"write recipe\.epochs"):
        check_trainer({"max_epochs": 3})
