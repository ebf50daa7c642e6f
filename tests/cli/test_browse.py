"""`tools/browse.py`: pairs of training images on one sheet."""

import numpy as np
import pytest
from PIL import Image

from detkit.cli.browse import contact_sheet, main
from detkit.cli.config import load_config
from detkit.drawing import GAP
from detkit.overrides import override
from tests.conftest import REPOSITORY

CONFIG = str(REPOSITORY / "configs" / "yolo11n.py")
STILL = [
    f"recipe.augment.{name}=0" for name in ("mosaic", "scale", "translate", "flip", "hue", "saturation", "value")
]  # fmt: skip
TILE = 320


@pytest.fixture
def words(rectangles, tmp_path):
    return [CONFIG, f"data.root={rectangles}", "data.size=96", "data.workers=0", "--output", str(tmp_path / "sheets")]


def pairs(page):
    """The pictures of a sheet of square inputs, without captions: pairs of (before, after)."""
    height, width = TILE + 20 + GAP, TILE + GAP
    tiles = [
        page[top + GAP + 20 : top + height, left + GAP : left + width]
        for top in range(0, page.shape[0] - GAP, height)
        for left in range(0, page.shape[1] - GAP, width)
    ]
    return list(zip(tiles[::2], tiles[1::2], strict=True))


def sheet_of(rectangles, count, *overrides):
    fields = [f"data.root={rectangles}", "data.size=96", "data.workers=0", *overrides]
    return contact_sheet(override(load_config(CONFIG), fields), count)


def test_a_sheet_is_written_and_named(words, capsys, tmp_path):
    assert main([*words, "--count", "5"]) == 0
    path = tmp_path / "sheets" / "yolo11n.png"
    assert capsys.readouterr().out == f"{path}\n"
    shown = pairs(np.asarray(Image.open(path)))
    assert len(shown) == 6  # two rows of three; the last place is empty
    assert not any(np.array_equal(before, after) for before, after in shown[:5])
    assert np.ptp(shown[5][0].reshape(-1, 3), axis=0).max() == 0


@pytest.mark.parametrize("batch", [2, 5, 16])
def test_before_is_after_where_nothing_is_augmented(rectangles, batch):
    shown = pairs(sheet_of(rectangles, 6, f"recipe.batch={batch}", *STILL))
    assert len(shown) == 6
    for before, after in shown:
        assert np.abs(before.astype(int) - after).mean() < 4  # single images are shrunk by another filter than letterbox's
    assert sum(np.ptp(before) > 100 for before, _ in shown) >= 5  # one of the training images may be empty


def test_the_sheet_shows_what_training_gets(rectangles):
    one, two = sheet_of(rectangles, 3), sheet_of(rectangles, 3)
    assert (one == two).all()
    assert not np.array_equal(one, sheet_of(rectangles, 3, "seed=1"))
    assert (pairs(sheet_of(rectangles, 3, *STILL))[0][0] == pairs(one)[0][0]).all()  # what is before stays


def test_no_cache_is_made_for_a_look(rectangles):
    before = sorted(rectangles.rglob("*"))  # other tests leave theirs
    sheet_of(rectangles, 2, "data.cache=disk")
    assert sorted(rectangles.rglob("*")) == before


def test_wrong_use_is_a_sentence(words, capsys):
    assert main([*words, "recipe.augment.mixupp=1"]) == 2
    assert "did you mean 'mixup'?" in capsys.readouterr().err
    unknown = "recipe.augment.extra=Albumentation(name=GausianBlur)"
    assert main([*words, unknown, "data.root=/nowhere"]) == 2  # before the data are looked for
    assert "no transform 'GausianBlur'; did you mean 'GaussianBlur'?" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*words, "--count", "0"])
    assert "0 images are no sheet" in capsys.readouterr().err
