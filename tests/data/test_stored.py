"""Boxes of turned pictures, written for the stored ones: the same pixels, whatever the orientation tag."""

import numpy as np
import pytest
from PIL import Image

from detkit.data.annotations import Texts
from detkit.data.images import load_annotated, load_image
from detkit.data.layout import open_data
from detkit.data.spec import Data
from detkit.data.stored import as_stored

from .folders import texts


@pytest.mark.parametrize("size", [(40, 60), (50, 50)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_box_holds_the_same_pixels(tmp_path, orientation, size):
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[4:15, 8:30] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    for split in ("train", "val"):
        (tmp_path / "images" / split).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "images" / split / "a.png", exif=exif)
    rows, columns = np.nonzero(load_image(tmp_path / "images/train/a.png")[..., 0])
    height, width = load_image(tmp_path / "images/train/a.png").shape[:2]
    low, high = np.array([columns.min(), rows.min()]), np.array([columns.max(), rows.max()]) + 1
    share = np.concatenate([(low + high) / 2, high - low]) / [width, height, width, height]
    row = f"0 {' '.join(map(str, share.tolist()))}\n"
    texts(tmp_path, {"classes.txt": "a\n", "labels/train/a.txt": row, "labels/val/a.txt": row})
    shown = open_data(Data(root=str(tmp_path))).train
    assert shown.upright
    stored = as_stored(shown)
    assert not stored.upright and stored.size(0) == size and isinstance(stored.paths, Texts)
    np.testing.assert_allclose(stored.boxes, [[8, 4, 22, 11]], atol=1e-6)
    assert (load_annotated(stored.paths[0], stored.size(0))[4:15, 8:30] == 255).all()
