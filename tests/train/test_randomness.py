import random

import numpy as np
import torch

from detkit.train.randomness import random_state, seed_all, set_random_state
from detkit.weights.checkpoint import write_checkpoint


def draw():
    return random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.rand(3).tolist()


def test_a_state_that_went_through_a_checkpoint_draws_the_same(tmp_path):
    seed_all(3)
    random.gauss(0, 1)  # python and numpy keep a second normal number in store
    np.random.randn()
    write_checkpoint({"random": [random_state()]}, tmp_path / "state.ckpt")
    expected = draw()
    draw()
    set_random_state(torch.load(tmp_path / "state.ckpt", weights_only=True)["random"][0])
    assert draw() == expected


def test_a_seed_says_it_all():
    seed_all(3)
    first = draw()
    seed_all(3)
    assert draw() == first
    seed_all(4)
    assert draw() != first
