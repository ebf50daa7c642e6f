"""What image files say of themselves, damaged ones too: a size and an orientation, or a sentence."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from detkit.data.files import read_header
from detkit.errors import UserError

TURNED = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
TEXT = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x02\0\0\0A\0\0\0\0\0\0\0"
"""The orientation is the letter A."""


@pytest.fixture
def picture(tmp_path):
    """Writes a picture of 40x60 pixels with these tags, and returns its path."""

    def make(suffix, exif):
        path = tmp_path / f"a.{suffix}"
        Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(path, exif=exif)
        return str(path)

    return make


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize(
    ("exif", "orientation"),
    [(b"", 1), (TURNED, 6), (TEXT, 1), (TURNED[:9], 1), (b"Exif\0\0" + b"no tags at all", 1)],
    ids=["none", "turned", "text", "cut", "noise"],
)
def test_orientation_is_a_number_whatever_the_tags_are(picture, suffix, exif, orientation):
    assert read_header(picture(suffix, exif))[1:] == ((40, 60), orientation)


def test_a_damaged_header_is_a_sentence(tmp_path):
    chunk = b"IHDR" + struct.pack(">II", 60, 40)  # three bytes short
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 8) + chunk + struct.pack(">I", zlib.crc32(chunk)))
    with pytest.raises(UserError, match=r"a\.png cannot be read \(.*IHDR.*\); replace it"):
        read_header(str(path))
