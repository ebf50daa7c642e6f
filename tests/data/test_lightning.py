"""Lightning counts epochs and saves loaders by itself; what it then resumes with must be the right sample."""

import logging
import warnings

import pytest
import torch
from torch import nn

from detkit.data.augment import Augment
from detkit.data.layout import open_data
from detkit.data.loader import EvalLoader, TrainLoader
from detkit.data.spec import Data

pytestmark = pytest.mark.filterwarnings("ignore")
L = pytest.importorskip("lightning.pytorch")


class Recorder(L.LightningModule):
    """Learns nothing, and remembers what it was shown: {(epoch, batch): (image ids, sum of pixels)}."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.shown = {}

    def training_step(self, batch, index):
        key = (self.current_epoch, index)
        assert key not in self.shown
        self.shown[key] = (batch.image_ids.tolist(), int(batch.images.long().sum()))
        return self.weight.sum()

    def validation_step(self, batch, index):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.fixture
def fit(rectangles, tmp_path):
    splits = open_data(Data(root=str(rectangles)))

    def run(workers=0, resume=None, **trainer):
        data = Data(size=64, workers=workers)
        module = Recorder()
        saver = L.callbacks.ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
        train = TrainLoader(splits.train, data, Augment(), batch=4, epochs=3)
        val = EvalLoader(splits.val, data, batch=2)
        L.Trainer(max_epochs=3, callbacks=[saver], **quiet, **trainer).fit(module, train, val, ckpt_path=resume)
        train.close()
        val.close()
        return module

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    return run


@pytest.fixture
def expected(rectangles):
    splits = open_data(Data(root=str(rectangles)))
    loader = TrainLoader(splits.train, Data(size=64, workers=0), Augment(), batch=4, epochs=3)
    shown = {}
    for epoch in range(3):
        for index, batch in enumerate(loader):
            shown[epoch, index] = (batch.image_ids.tolist(), int(batch.images.long().sum()))
    return shown


@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_anywhere(fit, expected, tmp_path, workers):
    assert len(expected) == 9
    assert fit(workers).shown == expected
    for step in (1, 2, 3, 4, 6, 8):
        resumed = fit(workers, resume=tmp_path / f"step={step}.ckpt")
        rest = dict(list(expected.items())[step:])
        assert resumed.shown == rest, step


def test_limited_epochs(fit, expected, tmp_path):
    shown = fit(limit_train_batches=2).shown
    assert shown == {key: value for key, value in expected.items() if key[1] < 2}
    resumed = fit(limit_train_batches=2, resume=tmp_path / "step=3.ckpt").shown
    assert resumed == dict(list(shown.items())[3:])
