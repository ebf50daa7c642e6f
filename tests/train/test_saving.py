"""A disk that is full, or a folder that is gone: the file that is there stays whole, a sentence says so, the run goes on."""

import errno
import os
import shutil
import signal

import pytest
import torch

from detkit.cli.train import main
from detkit.drawing import save_picture
from detkit.train import checkpoints, history, pictures, runs
from detkit.train.checkpoints import SafeCheckpointIO
from detkit.train.fit import fit
from detkit.train.loggers import make_logger
from detkit.train.module import DetectorModule
from detkit.weights.files import PARTIAL, remove_partials, replace_file
from tests.train.test_resume import assert_same_run, state
from tests.train.tiny import tiny_experiment

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture(scope="module")
def whole(rectangles, tmp_path_factory):
    """The run whose disk was never full."""
    return fit(tiny_experiment(rectangles, tmp_path_factory.mktemp("whole")), progress=False)


def fill(monkeypatch, module, *, first, last=10**9):
    """Have a module's writes ``first`` to ``last``, from 1, find no room."""
    calls = []

    def limited(path, data):
        calls.append(path)
        if first <= len(calls) <= last:
            raise FULL
        replace_file(path, data)

    monkeypatch.setattr(module, "replace_file", limited)
    return calls


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110 (a device)
def test_the_old_file_stays_whole_on_a_disk_that_is_really_full(tmp_path):
    file = tmp_path / "last.ckpt"
    replace_file(file, b"old")
    (tmp_path / f".last.ckpt{PARTIAL}").symlink_to("/dev/full")
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        replace_file(file, b"new" * 10**6)
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_what_a_killed_process_was_writing_is_removed(tmp_path):
    (tmp_path / "broken").mkdir()
    for name in (f".best.ckpt{PARTIAL}", f"broken/.step.pt{PARTIAL}", "best.ckpt", ".hidden"):
        (tmp_path / name).touch()
    remove_partials(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".hidden", "best.ckpt", "broken"]


def test_a_run_outlives_a_disk_that_is_full_for_a_while(whole, rectangles, tmp_path, monkeypatch, caplog):
    fill(monkeypatch, checkpoints, first=3, last=5)
    done = fit(tiny_experiment(rectangles, tmp_path), progress=False)
    assert done.unsaved == ()
    assert_same_run(done.run, whole.run)
    lines = [record.message for record in caplog.records if "could not be saved" in record.message]
    assert len(lines) == 3
    size = (done.run / "last.ckpt").stat().st_size / 1e6
    assert f"No space left on device (it takes {size:.1f} MB, " in lines[0] and str(done.run) in lines[0]
    assert "an earlier one stays as it is, and saving is tried again" in lines[0]


def test_a_best_checkpoint_that_waits_is_saved_before_the_next_last_one(tmp_path, monkeypatch, caplog):
    best, last = tmp_path / "best.ckpt", tmp_path / "last.ckpt"
    saving = SafeCheckpointIO()
    for path in (best, last):
        saving.save_checkpoint({"step": torch.tensor([1])}, path)
    with monkeypatch.context() as patch:
        fill(patch, checkpoints, first=1)
        weights = torch.tensor([2])
        for path in (best, last):
            saving.save_checkpoint({"step": weights}, path)
        weights += 1  # training goes on in place
    assert saving.unsaved == (best, last) and caplog.text.count("could not be saved") == 3
    written = fill(monkeypatch, checkpoints, first=2, last=2)
    saving.save_checkpoint({"step": torch.tensor([4])}, last)
    assert written == [best, last] and saving.unsaved == (last,)
    saving.teardown()
    assert saving.unsaved == () and not list(tmp_path.glob(f".*{PARTIAL}"))
    assert [torch.load(path)["step"].item() for path in (best, last)] == [2, 4]


@pytest.mark.parametrize("stopped", [False, True], ids=["to the end", "stopped"])
def test_a_checkpoint_that_is_never_saved_is_an_error_at_the_end(whole, tmp_path, monkeypatch, capsys, stopped):
    fill(monkeypatch, checkpoints, first=3)
    step = DetectorModule.training_step

    def stopping(self, batch, batch_idx):
        if stopped and (self.trainer.current_epoch, batch_idx) == (2, 2):
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(DetectorModule, "training_step", stopping)
    assert main([str(whole.run / "config.json"), f"output={tmp_path}"]) == 1
    run = next(tmp_path.glob("*/0"))
    printed = capsys.readouterr()
    assert f"error: {run / 'last.ckpt'} could not be saved" in printed.err
    assert "Average Precision" in printed.out or "AP" in printed.out
    assert state(run)["epoch"] == 0 and not list(run.glob(f".*{PARTIAL}"))


def test_tables_and_pictures_that_find_no_room_end_no_run(whole, rectangles, tmp_path, monkeypatch, caplog):
    fill(monkeypatch, history, first=2, last=3)

    def no_room(path, picture):
        with monkeypatch.context() as patch:
            patch.setattr("PIL.Image.Image.save", lambda *arguments, **options: (_ for _ in ()).throw(FULL))
            save_picture(path, picture)

    monkeypatch.setattr(pictures, "save_picture", no_room)
    done = fit(tiny_experiment(rectangles, tmp_path), progress=False)
    assert_same_run(done.run, whole.run)
    assert caplog.text.count("metrics.csv is not up to date: OSError: [Errno 28]") == 2
    assert "val_batch.jpg cannot be written (No space left on device)" in caplog.text


def test_a_run_that_finds_no_room_for_its_configuration_does_not_start(rectangles, tmp_path, monkeypatch):
    fill(monkeypatch, runs, first=1)
    with pytest.raises(runs.UserError, match=r"config\.json cannot be written: No space left on device"):
        fit(tiny_experiment(rectangles, tmp_path), progress=False)
    assert not list(tmp_path.glob("run/*"))


def test_a_run_whose_folder_is_removed_goes_on_in_a_new_one(whole, rectangles, tmp_path, monkeypatch):
    step = DetectorModule.training_step

    def removing(self, batch, batch_idx):
        if (self.trainer.current_epoch, batch_idx) == (1, 2):
            shutil.rmtree(tmp_path / "run" / "0")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(DetectorModule, "training_step", removing)
    done = fit(tiny_experiment(rectangles, tmp_path), progress=False)
    assert torch.equal(state(done.run)["random"][0]["torch"], state(whole.run)["random"][0]["torch"])
    assert len((done.run / "metrics.csv").read_text().splitlines()) == 5


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_tensorboard_lacks_numbers_and_the_run_goes_on(tmp_path, monkeypatch, caplog):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = make_logger("tensorboard", tmp_path)
    logger.log_metrics({"loss": 1.0}, 1)
    logger.save()

    def no_room(*arguments):
        raise FULL

    with monkeypatch.context() as patch:
        patch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.write", no_room)
        for number in (2, 3, 4):
            logger.log_metrics({"loss": 1.0}, number)
            logger.save()
    assert caplog.text.count("could not be written and will lack numbers") == 1
    logger.log_metrics({"loss": 1.0}, 5)
    logger.finalize("success")
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {event.step for event in events.Scalars("loss")} >= {1, 5}
