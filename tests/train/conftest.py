import pytest
import torch

from tests.train.tiny import write_rectangles


@pytest.fixture(scope="session")
def rectangles(tmp_path_factory):
    """A COCO folder of coloured rectangles: 20 training images, 6 validation images."""
    return write_rectangles(tmp_path_factory.mktemp("rectangles"))


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    """Bits are compared, and tiny networks are slower on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
