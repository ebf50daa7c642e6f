"""Files of weights as others write them: by classes that are not there when the file is read, or by hand."""

import io
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import nn

MAGIC = 0x1950A86A20F9469CFC6C
STATISTICS = (".running_mean", ".running_var", ".num_batches_tracked")


@contextmanager
def foreign(*names: str, base: type = nn.Module) -> Iterator[list[type]]:
    """Classes of a program that can be imported within the block alone."""
    with patch.dict(sys.modules):
        classes = []
        for text in names:
            module, _, name = text.rpartition(".")
            words = module.split(".")
            for count in range(1, len(words) + 1):
                path = ".".join(words[:count])
                sys.modules[path] = sys.modules.get(path) or types.ModuleType(path)
            classes.append(type(name, (base,), {"__module__": module}))
            setattr(sys.modules[module], name, classes[-1])
        yield classes


def tree(state: dict[str, torch.Tensor], root: type[nn.Module], inner: type[nn.Module]) -> nn.Module:
    """Return modules within modules whose state dict is ``state``."""
    top = root()
    for name, tensor in state.items():
        *path, last = name.split(".")
        owner = top
        for word in path:
            if word not in owner._modules:
                owner.add_module(word, inner())
            owner = owner._modules[word]
        if name.endswith(STATISTICS):
            owner.register_buffer(last, tensor)
        else:
            owner.register_parameter(last, nn.Parameter(tensor, requires_grad=False))
    return top


class Raw:
    """Pickled as what stands in a file: a call, or a reference to a storage."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


class Key:
    """Pickled as the persistent id ``value``."""

    def __init__(self, value):
        self.value = value


class Writer(pickle.Pickler):
    def persistent_id(self, value):
        return value.value if isinstance(value, Key) else None


def pickled(value, protocol=2) -> bytes:
    file = io.BytesIO()
    Writer(file, protocol).dump(value)
    return file.getvalue()


def storage_key(count, kind=torch.FloatStorage, name="0", legacy=False) -> Key:
    return Key(("storage", kind, name, "cpu", count, *((None,) if legacy else ())))


def tensor(key, size, stride, offset=0) -> Raw:
    return Raw(torch._utils._rebuild_tensor_v2, key, offset, size, stride, False, OrderedDict())


def zipped(program: bytes, storages: dict[str, bytes] | None = None, root="archive") -> bytes:
    """Return PyTorch's zip format, by hand."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{root}/data.pkl", program)
        for name, data in (storages or {}).items():
            archive.writestr(f"{root}/data/{name}", data)
    return file.getvalue()


def legacy(program: bytes, storages: dict[str, tuple[int, bytes]] | None = None) -> bytes:
    """Return PyTorch's legacy format, by hand: storages as number of elements, and bytes."""
    storages = storages or {}
    head = b"".join(pickle.dumps(value, 2) for value in (MAGIC, 1001, {"little_endian": True}))
    tail = b"".join(struct.pack("<q", count) + data for count, data in storages.values())
    return head + program + pickle.dumps(list(storages), 2) + tail
