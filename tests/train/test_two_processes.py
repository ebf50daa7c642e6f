"""Two processes on the CPU do what one does: scores, gradients, and broken files. They start once for all tests."""

import json
import pickle
import shutil
import sys

import pytest
import torch

from detkit.weights.checkpoint import header, write_checkpoint
from tests.train.launching import by_hand, launch
from tests.train.test_resume import assert_same
from tests.train.tiny import tiny_experiment, write_rectangles
from tests.train.two_processes import FAMILIES, IMAGES, SCENES, STILL, gradients, scene, score, still_model


def write_untrained(name, path):
    """Write a checkpoint of initial weights, but for the size of RT-DETR's boxes, so that some are found."""
    torch.manual_seed(0)
    detector = FAMILIES[name].build(2)
    for key, value in detector.named_parameters():
        if "boxes" in key and key.endswith("layers.2.bias"):
            value.data[2:] = 1.5
    state = {f"detector.{key}": value for key, value in detector.state_dict().items()}
    write_checkpoint(
        header(tiny_experiment("data", "runs", model=FAMILIES[name]), ("red", "blue")) | {"state_dict": state}, path
    )


def write_few_boxes(root):
    """Write four training images, of which the last has boxes."""
    file = write_rectangles(root, train=4, val=2) / "annotations" / "instances_train2017.json"
    content = json.loads(file.read_text())
    content["annotations"] = [entry for entry in content["annotations"] if entry["image_id"] == 4]
    file.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    for images in IMAGES:
        write_rectangles(folder / str(images), train=1, val=images)
    for name in FAMILIES:
        write_untrained(name, folder / f"{name}.ckpt")
    write_few_boxes(folder / "few")
    write_rectangles(folder / "first" / "data", train=8, val=3)
    shutil.copytree(folder / "first" / "data", folder / "second" / "data")
    return folder


@pytest.fixture(scope="module")
def ranks(folder):
    """What each of two processes found."""
    launch(*by_hand([sys.executable, "-m", "tests.train.two_processes", str(folder)]))
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in (0, 1)]


@pytest.mark.parametrize("images", IMAGES)
@pytest.mark.parametrize("name", FAMILIES)
def test_every_image_is_scored_once_and_the_numbers_are_those_of_one_process(ranks, folder, name, images):
    first, second = (seen["scores"][name, images] for seen in ranks)
    assert first == second == score(folder, name, images, [])
    assert first.images == images
    assert first.numbers["AP"] > 0 or images == 1


@pytest.mark.parametrize("words", SCENES)
@pytest.mark.parametrize("name", STILL)
def test_the_gradient_is_that_of_one_process_with_the_whole_batch(ranks, name, words):
    model = still_model(name)
    alone = gradients(model, *scene(SCENES[words][0]))
    assert set(alone) == {key for key, value in model.named_parameters() if value.requires_grad}, (
        "DDP would wait for the others"
    )
    first, second = (seen["gradients"][name, words] for seen in ranks)
    assert_same(first, second)
    for key, value in alone.items():
        torch.testing.assert_close(first[key], value, rtol=1e-10, atol=1e-12, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_process_without_boxes_hangs_nobody(ranks, name):
    first, second = (seen["few"][name] for seen in ranks)
    assert first == second


def test_a_file_that_breaks_is_named_once_and_the_run_repeats_itself(ranks):
    runs, checkpoints = zip(*(seen["broken"] for seen in ranks), strict=True), []
    for (run, told), (same, told_too) in runs:
        assert run == same
        path = "train2017/2.png"
        assert sum(path in message for message in [*told, *told_too]) == 1
        checkpoints.append(torch.load(f"{run}/last.ckpt", weights_only=True))
    assert_same(*(content["state_dict"] for content in checkpoints))
