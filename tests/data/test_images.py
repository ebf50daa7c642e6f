"""Image files: orientation, formats, reduction, errors."""

import numpy as np
import pytest
from PIL import Image

from detkit.data import images
from detkit.data.images import load_annotated, load_image, reduction_for, sample_of
from detkit.errors import UserError

PICTURE = np.zeros((40, 60, 3), np.uint8)
PICTURE[:20, :30] = (250, 20, 30)  # red, top left


def save(path, array=PICTURE, orientation=None, **options):
    image = Image.fromarray(array)
    exif = image.getexif()
    if orientation:
        exif[0x0112] = orientation
    image.save(path, exif=exif, **options)
    return str(path)


def is_red(pixel):
    return pixel[0] > 200 and pixel[1] < 80


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.webp", "bild mit ümlaut.png"])
def test_formats_give_rgb(tmp_path, name):
    image = load_image(save(tmp_path / name))
    assert (image.shape, image.dtype) == ((40, 60, 3), np.uint8)
    assert is_red(image[5, 5])
    assert not is_red(image[35, 5])


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1"])
def test_other_modes_become_rgb(tmp_path, mode):
    Image.fromarray(PICTURE).convert(mode).save(tmp_path / "a.png")
    assert load_image(tmp_path / "a.png").shape == (40, 60, 3)


def test_data_sets_ignore_orientation_tags_as_coco_does(tmp_path):
    path = save(tmp_path / "a.jpg", orientation=3)  # upside down
    assert is_red(load_annotated(path, (40, 60))[5, 5])
    assert is_red(load_image(path)[35, 55])
    assert is_red(load_image(path, upright=False)[5, 5])


@pytest.mark.parametrize("reduction", [1, 2])
def test_an_annotation_made_on_the_turned_picture_turns_it(tmp_path, reduction):
    path = save(tmp_path / "a.jpg", orientation=6)  # to be turned clockwise
    assert is_red(load_annotated(path, (40, 60), reduction)[5 // reduction, 5 // reduction])
    turned = load_annotated(path, (60, 40), reduction)
    assert turned.shape[:2] == (60 // reduction, 40 // reduction)
    assert is_red(turned[5 // reduction, 35 // reduction])


def test_another_size_than_annotated_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"a\.png is 60x40 pixels, but annotated as 64x40"):
        load_annotated(save(tmp_path / "a.png"), (40, 64))


@pytest.mark.parametrize("kind", ["jpg", "png"])
@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [(40, 60), (41, 63), (33, 47)])
def test_reduced_decoding_keeps_the_picture(tmp_path, kind, reduction, size):
    ramp = np.linspace(0, 255, size[1])[None, :, None] * np.ones((size[0], 1, 3))
    path = save(tmp_path / f"a.{kind}", ramp.astype(np.uint8), **({"quality": 95} if kind == "jpg" else {}))
    image = load_annotated(path, size, reduction)
    assert abs(image.shape[1] * reduction - size[1]) < reduction
    expected = np.interp((np.arange(image.shape[1]) + 0.5) * size[1] / image.shape[1] - 0.5, np.arange(size[1]), ramp[0, :, 0])
    assert np.abs(image[2, :, 0] - expected).max() < 255 / size[1] * reduction


def test_reduction_never_leads_to_enlarging():
    assert [reduction_for(scale) for scale in (2, 1, 0.51, 0.5, 0.3, 0.25, 0.1, 0.01)] == [1, 1, 1, 2, 2, 4, 8, 8]


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_unreadable_files_are_a_sentence(tmp_path, content):
    path = tmp_path / "bad.jpg"
    path.write_bytes((tmp_path / save(tmp_path / "a.jpg")).read_bytes()[:200] if content is None else content)
    with pytest.raises(UserError, match=r"bad\.jpg is cut short or in no format"):
        load_image(path)


@pytest.mark.parametrize("kind", ["png", "jpg"])
@pytest.mark.parametrize("reduction", [2, 4, 8])
@pytest.mark.parametrize("size", [(500, 1), (1, 500), (3, 40), (1, 1)])
def test_thin_images_are_reduced_too(tmp_path, kind, reduction, size):
    path = save(tmp_path / f"a.{kind}", np.full((*size, 3), 70, np.uint8))
    image = load_annotated(path, size, reduction)
    assert abs(image.astype(int) - 70).max() <= 1
    assert all(abs(pixels * reduction - full) < reduction for pixels, full in zip(image.shape, size, strict=False))
    assert image.size <= 3 * -(-size[0] // reduction) * -(-size[1] // reduction)  # what a cache has room for


def test_what_the_decoder_complains_about_is_a_sentence(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png")

    def refuse(*_):
        raise images.cv2.error("too many\npixels")

    monkeypatch.setattr(images.cv2, "imdecode", refuse)
    with pytest.raises(UserError, match=r"a\.png cannot be decoded .*; replace it"):
        load_image(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        load_image(tmp_path / "none.jpg")
    with pytest.raises(UserError, match="cannot be read"):
        load_image(tmp_path)


def test_a_plain_array_becomes_a_sample():
    sample = sample_of(PICTURE)
    assert (sample.size, sample.scale, sample.boxes.shape) == ((40, 60), (1, 1), (0, 4))
    with pytest.raises(UserError, match="uint8 RGB"):
        sample_of(PICTURE[..., 0])
    with pytest.raises(UserError, match="uint8 RGB"):
        sample_of(PICTURE.astype(np.float32))
