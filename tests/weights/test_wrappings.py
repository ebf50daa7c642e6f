"""Where publishers put a state dict in what they save."""

import pytest
import torch

from detkit.errors import UserError
from detkit.weights import read

STATE, OLD = {"conv.weight": torch.ones(1)}, {"conv.weight": torch.zeros(1)}


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        STATE | {"epoch": 3, "date": "2024", "best": None},
        {"ema": {"module": STATE, "updates": 7}, "model": OLD, "optimizer": {"state": {0: {"step": torch.zeros(1)}}}},
        {"ema": STATE, "model": OLD},
        {"ema": {"decay": 0.9, "updates": 7}, "model": STATE, "state_dict": OLD},
        {"ema": None, "module": STATE, "state_dict": OLD},
        {"model": {"state_dict": OLD}, "state_dict": STATE, "epoch": 3},
        {"net": STATE, "epoch": 3},
    ],
    ids="-".join,
)
def test_weights_are_found_in_their_publishers_wrapping(content, tmp_path):
    torch.save(content, tmp_path / "published.pth")
    assert read(tmp_path / "published.pth").state == STATE


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, {"net": STATE, "other": OLD}, {"model": {"epoch": 3}}], ids=str)
def test_a_file_without_weights_says_where_they_were_looked_for(content, tmp_path):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(
        UserError, match="other.pth is neither a checkpoint .*none under ema.module, ema, .*model, module, state_d"
    ):
        read(tmp_path / "other.pth")
