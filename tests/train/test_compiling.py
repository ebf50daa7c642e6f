"""``compile=true`` trains the same network, and shows nowhere else."""

import copy
import logging
import os
import subprocess
import sys
from contextlib import nullcontext

import pytest
import torch

from detkit.data.rescale import number_of_shapes, random_shape
from detkit.detectors.base import ComposedDetector
from detkit.errors import UserError
from detkit.train import compiling
from detkit.train.compiling import Compiled
from detkit.train.fit import fit
from tests.losses.scenes import random_targets
from tests.train.launching import by_hand, launch
from tests.train.test_resume import assert_same, resume, rows, state, stop_at
from tests.train.tiny import tiny_experiment, tiny_model, tiny_rtdetr

FAMILIES = {"yolo": tiny_model().model_copy(update={"after": {}}), "rtdetr": tiny_rtdetr(denoising=40)}


class Counting:
    """A compiler that compiles nothing, and counts what it is given."""

    def __init__(self):
        self.graphs = 0

    def __call__(self, graph, _):
        self.graphs += 1
        return graph.forward


@pytest.fixture
def counting(monkeypatch):
    """The heads alone are compiled, to be quick: the contracts compile every part, and the slow tests whole detectors."""

    def of_the_head(self):
        return [part for part in named(self) if part in set(self.head.modules())]

    named, backend = ComposedDetector.compilable, Counting()
    torch.compiler.reset()
    monkeypatch.setattr(ComposedDetector, "compilable", of_the_head)
    monkeypatch.setattr(compiling, "BACKEND", backend)
    yield backend
    torch.compiler.reset()


def detector_and_losses(name):
    """Return a detector, and a function that gives the losses of a batch of some size and number of boxes in each image."""
    torch.manual_seed(0)
    detector = FAMILIES[name].build(2).train()

    def losses(size=64, boxes=3):
        torch.manual_seed(1)  # of the noise
        targets = random_targets([boxes, 1], 2, smallest=12)
        images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(2))
        return detector(images, targets._replace(labels=targets.labels % 2))

    return detector, losses


@pytest.mark.parametrize("name", FAMILIES)
def test_a_graph_serves_all_batches_of_a_size_whatever_their_boxes(name, counting):
    detector, losses = detector_and_losses(name)
    expected, keys = losses(boxes=5), list(detector.state_dict())
    compiled = Compiled(detector, 2)
    with compiled():
        found = losses(boxes=5)
        assert list(detector.state_dict()) == keys
        graphs = counting.graphs
        assert 1 <= graphs <= len(detector.compilable())  # layers of a decoder share one
        losses(boxes=20)  # padded to 32, where 5 are to 16
        assert counting.graphs == graphs
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert "forward" not in {name for module in detector.modules() for name in vars(module)}
    losses(size=96)
    assert counting.graphs == graphs


def test_every_size_of_multi_scale_training_has_its_graph(counting):
    """Beyond the eight that torch makes by itself; all ConvNorms share one function."""
    part = FAMILIES["yolo"].build(2).backbone.stem
    detector = torch.nn.Module()
    detector.compilable = lambda: [part]
    sizes = 12
    with Compiled(detector, sizes)():
        for size in range(sizes):
            part(torch.rand(2, 3, 8 + size, 8))
    assert counting.graphs == sizes


def test_as_many_sizes_are_foreseen_as_are_drawn():
    drawn = {random_shape((320, 640), 0.25, 32, (0, 0, number)) for number in range(2000)}
    assert number_of_shapes((320, 640), 0.25, 32) == len(drawn)
    assert number_of_shapes((320, 640), 0, 32) == 1


def test_a_run_compiles_once_and_says_so_and_its_files_are_those_of_any_run(rectangles, tmp_path, counting, caplog):
    options = {"model": FAMILIES["yolo"], "epochs": 2, "multi_scale": 0, "batch": 8, "nominal_batch": None}
    experiment = tiny_experiment(rectangles, tmp_path, **options)
    plain = fit(experiment, progress=False)
    assert counting.graphs == 0
    with caplog.at_level(logging.WARNING):
        run = fit(experiment.model_copy(update={"compile": True}), progress=False)
    assert counting.graphs == 1 + len(experiment.model.build(2).compilable())  # the first one tries the compiler
    assert "the network is compiled in the first step" in caplog.text
    ours, theirs = state(run.run), state(plain.run)
    assert list(ours["state_dict"]) == list(theirs["state_dict"])
    for entry in ("state_dict", "current_model_state"):
        torch.testing.assert_close(ours[entry], theirs[entry], rtol=1e-3, atol=1e-4)


class Refusing:
    def __call__(self, graph, _):
        raise RuntimeError("no such instruction\nat line 5")


def test_what_cannot_be_compiled_is_a_sentence(monkeypatch):
    torch.compiler.reset()
    monkeypatch.setattr(compiling, "BACKEND", Refusing())
    detector, losses = detector_and_losses("yolo")
    with (
        pytest.raises(UserError, match=r"cannot compile this network: .*no such instruction. To train without: compile=false$"),
        Compiled(detector, 1)(),
    ):
        losses()
    losses()


def test_a_detector_that_names_nothing_to_compile_is_refused():
    detector = copy.copy(FAMILIES["yolo"].build(2))
    detector.compilable = list
    with pytest.raises(UserError, match=r"YOLODetector.compilable\(\) names nothing"):
        Compiled(detector, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_inductor_gives_the_same_losses_step_by_step(name):
    curves = []
    for compiles in (False, True):
        detector, losses = detector_and_losses(name)
        optimizer = torch.optim.SGD(detector.parameters(), 1e-3)
        context = Compiled(detector, 1) if compiles else nullcontext
        curves.append([])
        for _ in range(4):
            with context():
                loss = sum(losses().values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            curves[-1].append(loss.item())
    assert curves[1] == pytest.approx(curves[0], rel=1e-3)
    assert curves[0][0] != pytest.approx(curves[0][-1], rel=1e-3)


@pytest.mark.slow
def test_a_compiled_run_resumes_to_the_bit(rectangles, tmp_path, monkeypatch):
    """With dropout in what is compiled, and accumulated gradients."""

    def experiment(where):
        return tiny_experiment(rectangles, tmp_path / where).model_copy(update={"compile": True})

    whole = fit(experiment("whole"), progress=False)
    stop_at(monkeypatch, "training_step", 2, 0)
    stopped = fit(experiment("stopped"), progress=False)
    monkeypatch.undo()
    assert stopped.interrupted
    torch.compiler.reset()  # as in a new process
    resume(stopped.run)
    assert_same(state(stopped.run)["state_dict"], state(whole.run)["state_dict"])
    assert rows(stopped.run) == rows(whole.run)


@pytest.mark.slow
def test_two_processes_compile_too(rectangles, tmp_path):
    launch(*by_hand([sys.executable, "-m", "tests.train.compiled_processes", str(rectangles), str(tmp_path)]))
    for name in FAMILIES:
        plain, compiled = (rows(tmp_path / f"{name} {kind}" / "run" / "0") for kind in ("plain", "compiled"))
        assert float(compiled[1]["loss"]) == pytest.approx(float(plain[1]["loss"]), rel=1e-4)


@pytest.mark.slow
def test_a_machine_without_a_compiler_is_told_before_training(tmp_path):
    code = "import torch; from detkit.train.compiling import check_compiler; check_compiler(torch.device('cpu'))"
    environment = os.environ | {"PATH": str(tmp_path), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    environment.pop("CXX", None)
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert ended.stderr.splitlines()[-1].startswith(
        "detkit.errors.UserError: compile: torch.compile cannot compile for cpu on this machine: No working C++ compiler found"
    )
