"""RT-DETR under the trainer: what its losses, its random numbers and its frozen norms need of it."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from detkit.cli.config import configured
from detkit.cli.demo import RTDETR
from detkit.losses.dense_proposals import DenseProposals
from detkit.losses.detr import DETRCriterion
from detkit.nn.norm import FrozenNorm
from detkit.overrides import override
from detkit.recipes import AdamW, detr_recipe
from detkit.train.evaluate import evaluate
from detkit.train.fit import fit
from detkit.train.module import DetectorModule
from detkit.weights.checkpoint import read_checkpoint
from tests.train.test_resume import assert_same, resume, state, stop_at
from tests.train.tiny import tiny_experiment, tiny_rtdetr

ROOT = Path(__file__).resolve().parents[2]
LOSSES = [prefix + name for prefix in ("", "aux_", "denoised_", "proposal_") for name in ("class", "l1", "box")]


def experiment_of(root, output, *, model=None, **recipe):
    """Two epochs of five batches under the published recipe, but for its speed; one of the images has no box."""
    settings = {"epochs": 2, "batch": 4, "optimizer": AdamW(lr=1e-3), "lr_scale": {}, "warmup_steps": 2}
    experiment = tiny_experiment(root, output, model=model or tiny_rtdetr())
    return experiment.model_copy(update={"recipe": detr_recipe(**(settings | recipe))})


@pytest.fixture(scope="module")
def done(rectangles, tmp_path_factory):
    return fit(experiment_of(rectangles, tmp_path_factory.mktemp("runs")), progress=False)


def rows(run):
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_each_loss_is_logged_by_its_name(done):
    for row in rows(done.run):
        parts = [float(row[f"loss_{name}"]) for name in LOSSES]
        assert all(part > 0 for part in parts) and float(row["loss"]) == pytest.approx(sum(parts))
        assert {name for name in row if name.startswith("loss_")} == {f"loss_{name}" for name in LOSSES}


def test_labels_and_predictions_are_drawn(done):
    assert Image.open(done.paths["pictures"]).size[0] > 64
    assert (done.run / "train_batch_2.jpg").is_file()


def test_a_run_stopped_in_mid_epoch_goes_on_with_the_same_noise(done, rectangles, tmp_path, monkeypatch):
    stop_at(monkeypatch, "training_step", 1, 2)
    stopped = fit(experiment_of(rectangles, tmp_path), progress=False)
    monkeypatch.undo()
    assert stopped.interrupted and len(rows(stopped.run)) == 1
    ours, theirs = state(resume(stopped.run).run), state(done.run)
    for entry in ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "global_step", "random"):
        assert_same(ours[entry], theirs[entry], entry)


def test_a_checkpoint_is_evaluated_at_any_depth(done, rectangles, tmp_path):
    last = evaluate(done.run / "best.ckpt", ["model.head.eval_layer=2"], output=tmp_path, progress=False)
    assert last.result == done.best
    at_last = last.paths["results"].read_text()
    first = evaluate(done.run / "best.ckpt", ["model.head.eval_layer=1"], output=tmp_path, progress=False)
    assert first.paths["results"].read_text() != at_last


@pytest.mark.parametrize("changes", [["trainer.precision=bf16-mixed"], ["trainer.precision=64-true"]], ids=str)
def test_precisions_train(rectangles, tmp_path, changes):
    result = fit(override(experiment_of(rectangles, tmp_path, epochs=1), changes), progress=False)
    weights = read_checkpoint(result.run / "last.ckpt").live
    assert all(value.isfinite().all() for value in weights.values())


def test_deterministic_training_repeats_itself(rectangles, tmp_path):
    model = tiny_rtdetr(criterion=DETRCriterion(dense=DenseProposals()))
    experiment = override(experiment_of(rectangles, tmp_path, model=model, epochs=1), ["trainer.deterministic=true"])
    try:
        first, second = (read_checkpoint(fit(experiment, progress=False).run / "last.ckpt").live for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    assert_same(first, second)


def test_batches_of_several_sizes_train(rectangles, tmp_path, monkeypatch):
    sizes, original = [], DetectorModule.rescaled

    def spy(self, batch, epoch, number):
        batch = original(self, batch, epoch, number)
        sizes.append(batch.images.shape[-2:])
        return batch

    monkeypatch.setattr(DetectorModule, "rescaled", spy)
    result = fit(experiment_of(rectangles, tmp_path, multi_scale=0.6), progress=False)
    assert len(set(sizes)) > 1 and all(side % 32 == 0 for size in sizes for side in size)
    assert all(float(row["loss"]) > 0 for row in rows(result.run))


def test_frozen_norms_and_the_frozen_stem_stay_as_they_were_loaded(done, rectangles, tmp_path):
    frozen = experiment_of(rectangles, tmp_path, model=tiny_rtdetr(norm="frozen"), epochs=1, freeze=("backbone.stages.0",))
    result = fit(override(frozen, [f"init={done.paths['best']}", "recipe.lr_scale={'backbone': 0.1}"]), progress=False)
    loaded, ended = read_checkpoint(done.run / "best.ckpt").weights, read_checkpoint(result.run / "last.ckpt")
    for name, value in loaded.items():
        still = name.startswith(("backbone.stem.", "backbone.stages.0.")) or (name.startswith("backbone.") and ".norm." in name)
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(ended.live[name], value) == still or not value.any(), name
            assert not still or torch.equal(ended.weights[name], value), f"average of {name}"
    model = DetectorModule(frozen.model.build(2), frozen, ["red", "blue"])
    assert sum(isinstance(part, FrozenNorm) for part in model.modules()) > 10


SCRIPT = """
import sys
import torch
from torch import nn
from detkit.losses.detr import DETRCriterion
from detkit.losses.dense_proposals import DenseProposals
from detkit.overrides import override
from detkit.train.fit import fit
from detkit.train.module import DetectorModule
from tests.train.test_rtdetr import experiment_of
from tests.train.tiny import tiny_rtdetr

def main():
    data, output, batch, *options = sys.argv[1:]
    train = DetectorModule.train

    def still(self, mode=True):  # statistics of a batch differ from those of its halves
        train(self, mode)
        for part in self.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.eval()
        return self

    def keep(self, optimizer):
        if self.trainer.global_step == 0:
            gradients = {name: p.grad.clone() for name, p in self.detector.named_parameters()}
            assert all(gradients[name].stride() == p.stride() for name, p in self.detector.named_parameters())
            torch.save(gradients, f"{output}/{self.trainer.world_size}_{self.trainer.global_rank}.pt")

    DetectorModule.train, DetectorModule.on_before_optimizer_step = still, keep
    model = tiny_rtdetr(denoising=0, criterion=DETRCriterion(dense=DenseProposals()) if "dense" in options else None)
    experiment = experiment_of(data, output, model=model, epochs=1, batch=int(batch))
    words = ["trainer.precision=64-true", *(word for word in options if "=" in word)]
    fit(override(experiment, words), progress=False)

if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("dense", [(), ("dense",)], ids=["published", "dense"])
def test_two_processes_have_the_gradient_of_one(rectangles, tmp_path, dense):
    script = tmp_path / "two.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    for words in (("4",), ("2", "trainer.devices=2", "trainer.strategy=ddp")):
        command = [sys.executable, str(script), str(rectangles), str(tmp_path), *words, *dense]
        done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
    alone, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("1_0", "2_0", "2_1"))
    assert_same(first, second)
    for name, gradient in alone.items():
        torch.testing.assert_close(first[name], gradient, rtol=1e-6, atol=1e-9, msg=name)


@pytest.mark.slow
def test_the_demos_rtdetr_learns_eight_photographs_by_heart(shared_data, tmp_path):
    annotations = "annotations/instances_train2017.json"
    data = [
        f"root={shared_data}/coco128",
        "size=256",
        "limit=8",
        f"train_annotations={annotations}",
        f"val_annotations={annotations}",
    ]
    recipe = [
        "epochs=250",
        "batch=4",
        "eval_every=125",
        "warmup_steps=20",
        "augment=Augment(mosaic=0, scale=0, hue=0, saturation=0, value=0)",
    ]
    words = [*RTDETR, "model.criterion.dense=DenseProposals", f"output={tmp_path}"]
    words += [*(f"data.{word}" for word in data), *(f"recipe.{word}" for word in recipe)]
    experiment, _ = configured(str(ROOT / "configs/rtdetr_hrami.py"), words)
    start = time.process_time()
    result = fit(experiment)
    assert result.best.numbers["AP50"] > 0.9
    assert (time.process_time() - start) / torch.get_num_threads() < 300, "five minutes of a machine that does nothing else"
