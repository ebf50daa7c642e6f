"""What several rooms' tests share."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real photographs (bccd, coco128); tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("DETKIT_SHARED", REPOSITORY.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"real photographs are not at {folder}; set DETKIT_SHARED to the folder that holds data/")
    return folder
