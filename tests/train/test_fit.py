"""What a run leaves behind, and what it refuses to start."""

import csv
import json
import signal
import warnings

import pytest
import torch
from torch import nn

from detkit.cli.config import load_config
from detkit.data.augment import Augment
from detkit.data.spec import Data
from detkit.errors import UserError
from detkit.evaluation import reference
from detkit.experiment import Experiment
from detkit.nn.norm import FrozenNorm
from detkit.overrides import override
from detkit.parts import BlockSpec
from detkit.recipes import AdamW, Recipe
from detkit.spec import to_dict
from detkit.train.evaluate import evaluate
from detkit.train.fit import fit
from detkit.train.module import DetectorModule
from detkit.weights.checkpoint import read_checkpoint
from detkit.zoo import yolov8
from tests.train.tiny import tiny_experiment


@pytest.fixture(scope="module")
def done(rectangles, tmp_path_factory):
    """A finished run of three epochs."""
    experiment = tiny_experiment(rectangles, tmp_path_factory.mktemp("runs"), epochs=3, eval_every=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return fit(override(experiment, ["logger=tensorboard", "plots=true"]), name="tiny", progress=False)


def rows(run):
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_run_folder_holds_all_that_the_design_names(done):
    assert done.run.parts[-2:] == ("tiny", "0")
    names = {path.name for path in done.run.iterdir()}
    pictures = {"train_batch_0.jpg", "train_batch_1.jpg", "train_batch_2.jpg", "val_batch.jpg"}
    assert names == {"best.ckpt", "last.ckpt", "metrics.csv", "config.json", "plots", "tensorboard"} | pictures
    assert any(path.name.startswith("events") for path in (done.run / "tensorboard").iterdir())
    assert all(path.exists() for path in done.paths.values())


def test_the_result_says_what_the_metrics_say(done):
    table = rows(done.run)
    assert [row["epoch"] for row in table] == ["1", "2", "3"]
    assert [row["AP"] != "" for row in table] == [False, True, True], "every second epoch, and the last"
    assert float(table[2]["AP"]) == done.last.numbers["AP"]
    assert float(table[done.best_epoch - 1]["AP"]) == done.best.numbers["AP"] == max(float(row["AP"]) for row in table[1:])
    assert list(done.best.classes) == ["red", "blue"]
    assert not done.interrupted
    for row in table:
        parts = [float(row[f"loss_{name}"]) for name in ("box", "class", "dfl")]
        assert float(row["loss"]) == pytest.approx(sum(parts))


def test_the_stored_config_is_resolved_and_reads_back(done):
    stored = json.loads((done.run / "config.json").read_text())
    assert stored["classes"] == ["red", "blue"]
    assert stored["modules"] == ["tests.train.tiny"]
    assert stored["versions"]["torch"] == torch.__version__
    assert stored["experiment"]["recipe"]["optimizer"]["type"] == "AdamW"
    assert stored["experiment"]["data"]["size"] == [64, 64]
    assert to_dict(load_config(str(done.run / "config.json"))) == stored["experiment"]


def test_checkpoints_are_safe_to_load_and_hold_both_weights(done):
    checkpoint = read_checkpoint(done.run / "best.ckpt")
    assert checkpoint.classes == ("red", "blue")
    assert any(not torch.equal(checkpoint.weights[name], checkpoint.live[name]) for name in checkpoint.weights)


def test_evaluating_the_checkpoint_gives_the_numbers_of_the_run(done, tmp_path):
    scored = evaluate(done.run / "best.ckpt", output=tmp_path, progress=False)
    assert scored.result == done.best
    assert scored.paths["results"] == tmp_path / "results.json"
    found = json.loads(scored.paths["results"].read_text())
    assert {"image_id", "category_id", "bbox", "score"} == set(found[0])
    assert scored.result.numbers["AP"] > 0
    halved = evaluate(done.run / "best.ckpt", ["data.limit=3"], output=tmp_path, progress=False)
    assert halved.result.images == 3


def test_pycocotools_is_one_word_away_and_gives_the_same_numbers(done, tmp_path, monkeypatch):
    asked = []
    match = reference.match_by_pycocotools
    monkeypatch.setattr(reference, "match_by_pycocotools", lambda *words: asked.append(1) or match(*words))
    scored = evaluate(done.run / "best.ckpt", ["coco=pycocotools"], output=tmp_path, progress=False)
    assert scored.result == done.best and asked


def test_a_checkpoint_is_evaluated_as_a_model_that_its_weights_fill(done, tmp_path):
    scored = evaluate(done.run / "best.ckpt", ["model.after.p3=none"], output=tmp_path, progress=False)
    assert scored.result == done.best, "dropout has no weights, and does nothing in evaluation"
    with pytest.raises(
        UserError, match=r"model: .*best\.ckpt can only be used as a model .*; as this one, \d+ tensors are of an"
    ):
        evaluate(done.run / "best.ckpt", ["model.neck.widths=8,8,8"], progress=False)


def test_a_finished_run_says_so(done):
    with pytest.raises(UserError, match=r"has finished its 3 epochs; give more with recipe\.epochs"):
        fit(load_config(str(done.run / "config.json")), resume=done.run)


def test_a_finished_run_goes_on_with_more_epochs_and_tells_of_other_data(rectangles, tmp_path, caplog):
    run = fit(tiny_experiment(rectangles, tmp_path, epochs=1), progress=False).run
    told = "train: these are not the data that the run was begun with, 20 images with "
    for changes, others in ((["recipe.epochs=2"], False), (["recipe.epochs=3", "data.limit=3"], True)):
        fit(override(load_config(str(run / "config.json")), changes), resume=run, progress=False)
        assert (told in caplog.text) == others
    assert "; now there are 3 with " in caplog.text
    assert [row["epoch"] for row in rows(run)] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.after.p3=none", "model: a resumed run keeps its own"),
        ("seed=5", "seed: a resumed run keeps its own"),
        ("recipe.optimizer=SGD", "recipe.optimizer: a resumed run keeps its AdamW"),
        ("recipe.freeze=backbone", "recipe.freeze: a resumed run keeps its freeze, empty; start a new run"),
        ("recipe.freeze_norms=backbone", "recipe.freeze_norms: a resumed run keeps its freeze_norms, empty; start a new run"),
        ("recipe.lr_scale.backbone=0.5", "recipe.lr_scale: a resumed run keeps its lr_scale, empty; start a new run"),
        ("recipe.ema=none", "recipe.ema: a resumed run of this one keeps averaging its weights; start a new run"),
    ],
)
def test_a_resumed_run_keeps_its_own(done, change, message):
    changed = override(load_config(str(done.run / "config.json")), [change, "recipe.epochs=4"])
    with pytest.raises(UserError, match=message):
        fit(changed, resume=done.run)


def test_averages_cannot_begin_in_a_resumed_run(rectangles, tmp_path):
    bare = fit(tiny_experiment(rectangles, tmp_path, epochs=1, ema=None), progress=False)
    changed = override(load_config(str(bare.run / "config.json")), ["recipe.ema=0.99", "recipe.epochs=2"])
    with pytest.raises(UserError, match=r"recipe\.ema: a resumed run of this one has no averaged weights"):
        fit(changed, resume=bare.run, progress=False)


def test_a_run_without_a_checkpoint_cannot_be_resumed(done, tmp_path):
    with pytest.raises(UserError, match=r"has no last\.ckpt to go on from"):
        fit(load_config(str(done.run / "config.json")), resume=tmp_path)


def test_other_data_cannot_take_over_a_run(done, rectangles, tmp_path):
    for split in ("train", "val"):
        content = json.loads((rectangles / f"annotations/instances_{split}2017.json").read_text())
        content["categories"][0]["name"] = "green"
        (tmp_path / f"{split}.json").write_text(json.dumps(content))
    files = [f"data.{split}_annotations={tmp_path / split}.json" for split in ("train", "val")]
    folders = [f"data.{split}_images={rectangles / split}2017" for split in ("train", "val")]
    changed = override(load_config(str(done.run / "config.json")), [*files, *folders, "recipe.epochs=4"])
    with pytest.raises(UserError, match="was trained on the classes red, blue; now there are green, blue"):
        fit(changed, resume=done.run)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("trainer.max_epochs=3", "trainer.max_epochs: detkit decides this; write recipe.epochs"),
        ("trainer.device=2", "no argument 'device'; did you mean 'devices'"),
        ("trainer.precision=17", "trainer: .*17"),
        ("recipe.freeze=backbonne", "no part 'backbonne' with parameters; did you mean 'backbone'"),
        ("trainer.limit_val_batches=0.1", "trainer: .*limit_val_batches"),
        ("trainer.limit_train_batches=0.1", "trainer.limit_train_batches=0.1 leaves none"),
        ("init=nowhere.ckpt", "there is no file nowhere.ckpt"),
    ],
)
def test_a_mistake_leaves_no_run_folder(rectangles, tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        fit(override(tiny_experiment(rectangles, tmp_path), [change]), progress=False)
    assert not list((tmp_path / "run").glob("*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("trainer.max_epochs=3", r"trainer\.max_epochs"),
        ("recipe.freeze=backbonne", r"recipe\.freeze: .*did you mean 'backbone'"),
        ("recipe.freeze=backbone,neck,head", r"recipe\.freeze: nothing is left to train"),
        ("recipe.lr_scale.hed=0.1", r"recipe\.lr_scale: .*did you mean 'head'"),
        ("model.after.c9=Dropping", "c9"),
    ],
)
def test_the_experiment_is_checked_before_any_data(tmp_path, change, message):
    experiment = override(tiny_experiment(tmp_path / "missing", tmp_path), [change])
    with pytest.raises(UserError, match=message):
        fit(experiment)


def test_initial_weights_come_from_a_checkpoint_and_frozen_parts_keep_them(done, rectangles, tmp_path):
    experiment = tiny_experiment(rectangles, tmp_path, epochs=1, freeze=("backbone", "neck"), ema=None)
    result = fit(override(experiment, [f"init={done.run / 'best.ckpt'}"]), progress=False)
    start, end = read_checkpoint(done.run / "best.ckpt").weights, read_checkpoint(result.run / "last.ckpt").weights
    for name in start:
        kept = name.startswith(("backbone.", "neck."))
        assert not kept or torch.equal(start[name], end[name]), name
    assert not torch.equal(start["head.box_branch.p3.predict.weight"], end["head.box_branch.p3.predict.weight"])


class Frozen(BlockSpec):
    """What cannot be trained from nothing."""

    def build(self, channels):
        return FrozenNorm(channels)


def test_frozen_norms_need_weights(rectangles, tmp_path):
    experiment = tiny_experiment(rectangles, tmp_path)
    frozen = experiment.model_copy(update={"model": experiment.model.model_copy(update={"after": {"p3": Frozen()}})})
    with pytest.raises(UserError, match='frozen batch norm with its initial statistics.*norm="batch"'):
        fit(frozen, progress=False)


def test_gradients_of_accumulated_batches_are_summed(rectangles, tmp_path, monkeypatch):
    seen = []
    original = DetectorModule.on_before_optimizer_step

    def spy(self, optimizer):
        seen.append({name: p.grad.clone() for name, p in self.detector.named_parameters() if p.requires_grad})
        return original(self, optimizer)

    monkeypatch.setattr(DetectorModule, "on_before_optimizer_step", spy)
    settings = {"epochs": 1, "warmup_steps": 0, "clip": None, "ema": None, "multi_scale": 0.0}
    changes = ["trainer.limit_train_batches=2", "trainer.limit_val_batches=1", "model.after.p3=none"]
    for nominal in (4, 8):
        experiment = tiny_experiment(rectangles, tmp_path, nominal_batch=nominal, freeze=("backbone",), **settings)
        fit(override(experiment, [*changes, "recipe.optimizer=SGD", "recipe.optimizer.lr=1e-30"]), progress=False)
    apart, summed = seen[:2], seen[2:]
    assert len(summed) == 1
    name = "head.box_branch.p3.predict.weight"
    torch.testing.assert_close(summed[0][name], apart[0][name] + apart[1][name], rtol=1e-4, atol=1e-5)


def test_patience_stops_a_run_that_no_longer_improves(rectangles, tmp_path):
    experiment = tiny_experiment(rectangles, tmp_path, epochs=9, patience=1)
    result = fit(override(experiment, ["recipe.optimizer=SGD", "recipe.optimizer.lr=1e-30"]), progress=False)
    assert len(rows(result.run)) == 2
    assert not result.interrupted


def test_frozen_norms_stay_in_evaluation_mode(rectangles, tmp_path):
    experiment = tiny_experiment(rectangles, tmp_path, freeze=("backbone",))
    detector = experiment.model.build(num_classes=2)
    module = DetectorModule(detector, experiment, ["red", "blue"])
    for name, part in module.named_modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.training != name.startswith("detector.backbone."), name


@pytest.mark.slow
def test_yolov8n_learns_sixteen_photographs_by_heart(shared_data, tmp_path):
    annotations = "annotations/instances_train2017.json"
    still = Augment(mosaic=0, scale=0, translate=0, flip=0, hue=0, saturation=0, value=0)
    experiment = Experiment(
        model=yolov8("n"),
        data=Data(
            root=str(shared_data / "coco128"), size=640, limit=16, train_annotations=annotations, val_annotations=annotations
        ),
        recipe=Recipe(
            epochs=100,
            batch=4,
            nominal_batch=None,
            optimizer=AdamW(lr=1e-3),
            warmup_epochs=0,
            warmup_steps=20,
            eval_every=20,
            augment=still,
        ),
        output=str(tmp_path),
    )
    assert fit(experiment).best.numbers["AP50"] > 0.9


def test_without_boxes_to_find_the_last_epoch_is_best(rectangles, tmp_path, caplog, capsys):
    content = json.loads((rectangles / "annotations/instances_val2017.json").read_text())
    (tmp_path / "val.json").write_text(json.dumps(content | {"annotations": []}))
    files = [
        f"data.val_annotations={tmp_path}/val.json",
        f"data.train_annotations={rectangles}/annotations/instances_train2017.json",
    ]
    folders = [f"data.{split}_images={rectangles / split}2017" for split in ("train", "val")]
    experiment = tiny_experiment(rectangles, tmp_path, epochs=2, patience=1)
    result = fit(override(experiment, [*files, *folders]))
    assert "AP cannot be computed; best.ckpt will be the last epoch's" in caplog.text
    assert result.best is None
    assert "-1.0" not in capsys.readouterr().err
    assert torch.load(result.paths["best"], weights_only=True)["epoch"] == 1


def interrupt(self, *arguments):
    raise KeyboardInterrupt


def test_ctrl_c_before_training_is_the_callers(rectangles, tmp_path, monkeypatch):
    monkeypatch.setattr(DetectorModule, "configure_optimizers", interrupt)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(tiny_experiment(rectangles, tmp_path), progress=False)
    assert signal.getsignal(signal.SIGINT) is handler
    assert not list((tmp_path / "run").glob("*"))


def test_ctrl_c_in_evaluation_is_the_callers(done, tmp_path, monkeypatch):
    monkeypatch.setattr(DetectorModule, "validation_step", interrupt)
    with pytest.raises(KeyboardInterrupt):
        evaluate(done.paths["best"], output=tmp_path / "new", progress=False)
    assert not (tmp_path / "new").exists()


def test_an_error_in_the_first_batch_leaves_no_run_folder(rectangles, tmp_path, monkeypatch):
    def broken(self, batch, batch_idx):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(DetectorModule, "training_step", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        fit(tiny_experiment(rectangles, tmp_path), progress=False)
    assert not list((tmp_path / "run").glob("*"))


def test_where_results_cannot_be_written_is_found_before_evaluation(done, tmp_path, monkeypatch):
    monkeypatch.setattr(DetectorModule, "validation_step", interrupt)
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match="file.*: results cannot be written there .*; give another folder"):
            evaluate(done.paths["best"], output=folder, progress=False)


def test_a_limit_that_leaves_nothing_to_evaluate_is_refused(done, tmp_path):
    for limit in ("0", "0.1"):
        with pytest.raises(UserError, match=r"trainer.*limit_val_batches"):
            evaluate(done.paths["best"], [f"trainer.limit_val_batches={limit}"], output=tmp_path / "new", progress=False)
