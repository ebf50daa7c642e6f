"""``init``: how files are named, what is loaded from them, and what a run needs of them later: nothing."""

import pytest
import torch

from detkit.deploy.load import load_detector
from detkit.errors import UserError
from detkit.experiment import Experiment, Init
from detkit.overrides import override
from detkit.spec import from_dict, to_dict
from detkit.train.fit import fit
from detkit.train.start import new_detector
from detkit.train.transplant import transplant
from detkit.zoo import yolo11
from tests.networks import scrambled
from tests.train.tiny import tiny_experiment, tiny_model, tiny_rtdetr, write_rectangles

CLASSES = 2


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files of weights: a detector's, a backbone's alone, and that of a detector with another backbone of the same kind."""
    folder = tmp_path_factory.mktemp("weights")
    torch.save(scrambled(tiny_model().build(CLASSES), seed=1).state_dict(), folder / "detector.pth")
    torch.save(scrambled(tiny_model().backbone.build([8, 16, 32]), seed=2).state_dict(), folder / "backbone.pth")
    torch.save(scrambled(tiny_rtdetr().build(CLASSES), seed=3).state_dict(), folder / "rtdetr.pth")
    torch.save({"backbone.stem.conv.weight": torch.ones(2)}, folder / "misfit.pth")
    torch.save({"features.0.weight": torch.ones(2)}, folder / "repvit.pth")
    state = tiny_model().build(CLASSES).state_dict()
    state["head.class_branch.p3.predict.weight"][0] = float("nan")
    torch.save(state, folder / "nan.pth")
    return folder


def experiment(folder, *overrides):
    return override(tiny_experiment(folder, folder), overrides)


def states_equal(found, expected, inside=""):
    return all(torch.equal(found[name], value) for name, value in expected.items() if name.startswith(inside))


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["init=a/best-1.ckpt"], Init(weights="a/best-1.ckpt")),
        (["init=weights"], Init(weights="weights")),
        (["init=~/best (1).ckpt"], Init(weights="~/best (1).ckpt")),
        (["init.weights=a.pth"], Init(weights="a.pth")),
        (["init.backbone=a.pth"], Init(backbone="a.pth")),
        (["init=a.pth", "init.overlap=true"], Init(weights="a.pth", overlap=True)),
        (["init.overlap=true", "init=a.pth"], Init(weights="a.pth", overlap=True)),
        (["init.backbone=b.pth", "init=a.pth", "init.strict=0.9"], Init(weights="a.pth", backbone="b.pth", strict=0.9)),
        (["init=Init(weights=a, overlap=true)"], Init(weights="a", overlap=True)),
        (["init=a.pth", "init=none"], None),
    ],
)
def test_the_command_line_in_any_order(overrides, expected):
    found = override(Experiment(model=yolo11("n")), overrides)
    assert found.init == expected
    assert from_dict(Experiment, to_dict(found)) == found


def test_a_text_stands_for_the_weights_in_configs_and_in_what_was_stored_before():
    written = Experiment(model=yolo11("n"), init="a.pth")
    assert written.init == Init(weights="a.pth")
    assert from_dict(Experiment, to_dict(written) | {"init": "a.pth"}) == written


@pytest.mark.parametrize(
    ("override_", "message"),
    [
        ("init.overlap=true", r"^init: names no file: write init=FILE .* or init\.backbone=FILE"),
        ("init.weight=a.pth", r"init: no field 'weight'; did you mean 'weights'"),
        ("init.strict=2", r"init\.strict: .*less than or equal to 1"),
        ("init=", r"init\.weights: is empty \(an unset variable\?\); name a file"),
        ("init.backbone= ", r"init\.backbone: is empty"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_read(override_, message):
    with pytest.raises(UserError, match=message):
        override(Experiment(model=yolo11("n")), [override_])


def test_nothing_is_loaded_without_init(tmp_path):
    assert transplant(tiny_model().build(CLASSES), experiment(tmp_path), CLASSES) == []


@pytest.mark.parametrize("source", ["detector", "backbone"])
def test_a_backbone_alone(files, source):
    plain = new_detector(experiment(files), CLASSES).detector.state_dict()
    found = new_detector(experiment(files, f"init.backbone={files / source}.pth"), CLASSES).detector.state_dict()
    state = torch.load(files / f"{source}.pth", weights_only=True)
    state = state if source == "detector" else {f"backbone.{name}": value for name, value in state.items()}
    assert states_equal(found, state, "backbone.") and not states_equal(plain, state, "backbone.")
    rest = {name: value for name, value in plain.items() if not name.startswith("backbone.")}
    assert states_equal(found, rest)


def test_a_backbone_comes_after_the_weights_of_all(files):
    both = [f"init={files / 'detector.pth'}", f"init.backbone={files / 'backbone.pth'}"]
    made = experiment(files, *both)
    whole, backbone = transplant(tiny_model().build(CLASSES), made, CLASSES)
    assert (whole.field, backbone.field) == ("init", "init.backbone")
    assert set(backbone.report.parts) == {"backbone"} and backbone.report.share == backbone.report.flop_share == 1
    found = new_detector(made, CLASSES).detector.state_dict()
    first = torch.load(files / "detector.pth", weights_only=True)
    second = torch.load(files / "backbone.pth", weights_only=True)
    assert states_equal(found, first, "neck.") and states_equal(found, first, "head.")
    assert states_equal(found, {f"backbone.{name}": value for name, value in second.items()})


def test_the_table_is_told_with_shares(files, caplog):
    new_detector(experiment(files, f"init={files / 'detector.pth'}", "model.after.p4=Bottleneck"), CLASSES)
    assert f"init: initial weights from {files / 'detector.pth'}\npart " in caplog.text
    assert "of the FLOPs loaded, from" in caplog.text


def test_less_than_is_asked_for_is_an_error(files, caplog):
    whole = experiment(files, f"init={files / 'detector.pth'}", "init.strict=1")
    new_detector(whole, CLASSES)
    changed = override(whole, ["model.after.p4=Bottleneck", "init.strict=0.98"])
    with pytest.raises(
        UserError, match=r"^init\.strict=0\.98: init=.*detector\.pth: .* less than 98\.0%; the largest parts .*: after\.p4 \("
    ):
        new_detector(changed, CLASSES)
    assert "after.p4" in caplog.text, "the table is told first"
    new_detector(override(changed, ["init.strict=0.3"]), CLASSES)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("init=nowhere.pth", "^init=nowhere.pth: there is no file nowhere.pth"),
        ("init.backbone=nowhere.pth", r"^init\.backbone=nowhere\.pth: there is no file"),
        (
            "init.backbone={rtdetr}",
            r"^init\.backbone=.*rtdetr\.pth \(detkit RT-DETR\) holds nothing that fits its backbone, YOLO \(backbone CSP",
        ),
        (
            "init={misfit}",
            r"misfit\.pth holds nothing that fits this model, YOLO .*, neck PAN\); name a file",
        ),
        ("init={repvit}", r"the names are neither detkit's .*: features.0.weight, \.\.\. where it has backbone\.stem"),
        ("init={nan}", r"^init=.*nan\.pth: NaN or infinity is in 1 of its tensors \(head\..*\), .* take an earlier checkpoint"),
    ],
)
def test_files_that_cannot_be_used(files, words, message):
    with pytest.raises(UserError, match=message):
        new_detector(experiment(files, words.format(**{path.stem: path for path in files.iterdir()})), CLASSES)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("init=nowhere.pth", "^init=nowhere.pth: there is no file nowhere.pth"),
        ("init.backbone=nowhere.pth", r"^init\.backbone=nowhere\.pth: there is no file"),
        ("init=timm", r"^init=timm: timm has no whole detectors; write init\.backbone=timm"),
    ],
)
def test_a_file_that_is_not_there_is_told_before_data_are_read(words, message, tmp_path):
    with pytest.raises(UserError, match=message):
        fit(experiment(tmp_path / "no data", words), progress=False)


def test_overlapping_is_asked_for(files):
    wide = [f"init={files / 'detector.pth'}", "model.backbone.stem=12"]
    [off] = transplant(tiny_model().build(CLASSES), experiment(files, *wide), CLASSES)
    assert not off.report.overlapped  # the detector at hand is as narrow as the file's
    for overlap in (False, True):
        made = experiment(files, *wide, f"init.overlap={overlap}")
        [found] = transplant(made.model.build(CLASSES), made, CLASSES)
        assert bool(found.report.overlapped) == overlap and bool(found.report.reshaped) != overlap


def test_a_run_never_needs_the_file_again(tmp_path):
    root = write_rectangles(tmp_path / "data", train=8, val=2)
    file = tmp_path / "gone.pth"
    torch.save(scrambled(tiny_model().build(CLASSES)).state_dict(), file)
    made = override(tiny_experiment(root, tmp_path / "runs", epochs=1), [f"init={file}", "init.strict=1"])
    done = fit(made, progress=False)
    file.unlink()
    loaded = load_detector(done.paths["best"])
    assert loaded.experiment.init == made.init
    again = fit(override(loaded.experiment, ["recipe.epochs=2"]), resume=done.run, progress=False)
    assert again.last is not None
