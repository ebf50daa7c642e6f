"""What several rooms' tests share."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


LONGEST = ("test_readme.py", "test_tools.py", "test_bad_input.py", "test_two_processes.py")
"""Files that would keep the others waiting at the end of a run in several processes, were they not begun first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real photographs (bccd, coco128); tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("DETKIT_SHARED", REPOSITORY.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"real photographs are not at {folder}; set DETKIT_SHARED to the folder that holds data/")
    return folder
