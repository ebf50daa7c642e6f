"""Hugging Face's hub: published folders by name (``hf:user/name``), and to it; an optional extra."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from detkit.errors import UserError
from detkit.weights.folder import CONFIG, WEIGHTS

SCHEME = "hf:"
"""Begins a name on the hub: a path that is mistyped must not become a download."""


def is_remote(path: str | Path) -> bool:
    """Say whether ``path`` is a name on the hub."""
    return str(path).startswith(SCHEME)


def local(path: str | Path) -> Path:
    """Return ``path``, or where the folder that it names on the hub lies here; what is not here is downloaded.

    Only the weights and their description are fetched, no code.

    Raises:
        UserError: huggingface_hub is not installed, or there is no such folder to be had.
    """
    if not is_remote(path):
        return Path(path)
    with _explained(str(path)):
        from huggingface_hub import snapshot_download

        return Path(str(snapshot_download(str(path).removeprefix(SCHEME), allow_patterns=[CONFIG, WEIGHTS])))


def push(folder: Path, files: Sequence[str], name: str) -> None:
    """Upload files of a folder as ``user/name``, which is made where it does not exist.

    Raises:
        UserError: huggingface_hub is not installed, or the hub refuses.
    """
    with _explained(f"{SCHEME}{name}"):
        from huggingface_hub import create_repo, upload_folder

        create_repo(name, exist_ok=True)
        upload_folder(repo_id=name, folder_path=folder, allow_patterns=list(files))


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Tell what a user can do about the hub's errors.

    Raises:
        UserError: one came.
    """
    try:
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ModuleNotFoundError as error:
        if error.name != "huggingface_hub":
            raise
        raise UserError(f'{what} needs the package huggingface_hub; write `pip install "detkit[hub]"`') from None
    try:
        yield
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise UserError(f"{what}: {(str(error) or type(error).__name__).splitlines()[0]}") from None
