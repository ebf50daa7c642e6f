import pytest
import torch

from detkit.boxes import normalise, to_cxcywh, to_xyxy
from detkit.heads.denoising import Denoising, attention_mask
from tests.networks import some_targets

SIZE = (64, 96)


def made(counts=(3, 0, 7), places=10, label_noise=0.0, box_noise=1.0, classes=3, seed=0):
    torch.manual_seed(seed)
    targets = some_targets(counts, classes=classes)
    module = Denoising(places, 8, classes, label_noise, box_noise)
    return module, targets, module(targets, SIZE)


def test_every_group_holds_every_box_once_in_each_half():
    _, targets, noisy = made(places=20)
    assert noisy.group.shape == (3, 40)
    for image, count in enumerate(targets.counts.tolist()):
        groups = 20 // count if count else 0
        for half in (slice(0, 20), slice(20, 40)):
            real, group, target = noisy.share[image, half] > 0, noisy.group[image, half], noisy.target[image, half]
            assert real.sum() == groups * count
            assert torch.allclose(noisy.share[image, half].sum(), torch.tensor(float(count)))
            for number in range(groups):
                assert target[group == number].tolist() == list(range(count))
            assert (group[~real] == -1).all()
    assert noisy.positive[:, :20].all() and not noisy.positive[:, 20:].any()


def test_more_boxes_than_places_make_one_group():
    _, _, noisy = made(counts=(12, 2), places=10)
    assert noisy.group.shape == (2, 32)  # targets are padded to 16
    assert (noisy.share[0] > 0).sum() == 24 and noisy.group[0].max() == 0
    assert (noisy.share[1] > 0).sum() == 32 and noisy.group[1].max() == 7


def test_images_without_boxes_have_nothing_real_and_no_class():
    module, _, noisy = made(counts=(0, 0))
    assert not noisy.share.any()
    assert (noisy.content == 0).all() and noisy.boxes.isfinite().all()
    noisy.content.sum().backward()
    assert module.embedding.weight.grad.isfinite().all()


def test_corners_move_by_up_to_half_a_side_and_further_when_to_be_refused():
    _, targets, noisy = made(places=200, box_noise=0.6)
    truth = to_cxcywh(normalise(targets.boxes, SIZE)).take_along_dim(noisy.target.unsqueeze(-1), 1)
    clean = to_xyxy(truth)
    moved = (to_xyxy(noisy.boxes) - clean).abs() / (truth[..., 2:].repeat(1, 1, 2) / 2)
    inside = (to_xyxy(noisy.boxes) > 1e-6) & (to_xyxy(noisy.boxes) < 1 - 1e-6) & (noisy.share > 0).unsqueeze(-1)
    little, much = moved[noisy.positive.unsqueeze(-1) & inside], moved[~noisy.positive.unsqueeze(-1) & inside]
    assert little.max() <= 0.6 + 1e-4 and little.max() > 0.5 and little.min() < 0.1
    assert noisy.boxes.min() > 0 and noisy.boxes.max() < 1  # corners of refused boxes may cross
    assert much.min() >= 0.6 - 1e-4 and much.max() > 1.1 and much.max() <= 1.2 + 1e-4


@pytest.mark.parametrize("noise", [0.0, 0.5, 2.0])
def test_half_of_the_share_gets_a_random_class(noise):
    module, targets, noisy = made(counts=(4, 4), places=2000, label_noise=noise, classes=5)
    labels = targets.labels.gather(1, noisy.target)
    kept = (noisy.content == module.embedding(labels)).all(-1)[noisy.share > 0].float().mean()
    assert abs(kept - (1 - noise / 2 * 4 / 5)) < 0.03


def test_noisy_queries_see_their_group_and_matched_ones():
    _, _, noisy = made(counts=(3, 0), places=7)
    mask = attention_mask(noisy.group, 5)
    assert mask.shape == (2, 32, 37)  # 16 places, as targets are padded to 16
    assert mask[:, :, 32:].all()
    for a in range(32):
        for b in range(32):
            assert mask[0, a, b] == (noisy.group[0, a] == noisy.group[0, b])
    assert mask.any(-1).all()
