"""Files made to run code, to exhaust memory or time, or damaged: each is refused with one sentence, and does nothing."""

import functools
import importlib
import io
import operator
import os
import pickle
import random
import re
import struct
import subprocess
import time
import zipfile
from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from detkit.errors import UserError
from detkit.weights import read
from tests.weights.files import Key, Raw, foreign, legacy, pickled, storage_key, tensor, tree, zipped
from tests.weights.guard import BYTES_FOR_A_BYTE, CONSTANT, NAMES, refusal, watched
from tests.weights.payloads import BROKEN, CANARY, EXHAUSTS, RUNS, SHELL

pytestmark = pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")


@pytest.fixture(scope="module", autouse=True)
def warm(tmp_path_factory):
    """What PyTorch and zipfile import when they are first needed has been."""
    folder = tmp_path_factory.mktemp("warm")
    torch.save({"a": torch.ones(2), "b": torch.eye(2).to_sparse()}, folder / "a.pt")
    (folder / "b.pt").write_bytes(zipped(PROGRAM, {"0": DATA}))
    for name in ("a.pt", "b.pt"):
        read(folder / name)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Where a payload would leave its file."""
    monkeypatch.chdir(tmp_path)


def refused(data: bytes, path, constant=CONSTANT) -> str:
    path.write_bytes(data)
    begin = time.perf_counter()
    sentence = refusal(path, constant)
    assert time.perf_counter() - begin < 20
    assert sentence is not None and str(path) in sentence and "\n" not in sentence and len(sentence) < 400 + len(str(path))
    assert not os.path.lexists(CANARY)
    return sentence.removeprefix(f"{path} ")


PAYLOADS = RUNS | EXHAUSTS | BROKEN


@pytest.mark.parametrize(
    ("payload", "container"),
    [(key, container) for key in PAYLOADS for container in (("pickle", "zip", "legacy") if key in RUNS else ("pickle",))],
    ids=lambda key: key.replace(" ", "_"),
)
def test_a_program_that_is_no_description_of_weights(payload, container, tmp_path):
    program = b"\x80\x02" + PAYLOADS[payload] + b"."
    data = {"pickle": program, "zip": zipped(program), "legacy": legacy(program)}[container]
    sentence = refused(data, tmp_path / "evil.pt")
    if payload in RUNS:
        words = "run code|was run|weights need|weights take|calls what|names things|no name|no text|no file of weights|subclass"
        assert re.search(words, sentence), sentence


@pytest.mark.parametrize(
    "target",
    [os.system, eval, exec, importlib.import_module, subprocess.check_output, operator.attrgetter("a"), functools.reduce],
    ids=lambda target: getattr(target, "__name__", "attrgetter"),
)
def test_what_an_attacker_would_pickle(target, tmp_path):
    """With torch.save, beside true weights."""
    torch.save({"state_dict": {"a": torch.ones(2)}, "extra": Raw(target, SHELL)}, tmp_path / "evil.pt")
    assert "it may be meant to run code" in refused((tmp_path / "evil.pt").read_bytes(), tmp_path / "evil.pt")


# --- tensors ---------------------------------------------------------------------------------------------------------

KEY = storage_key(4)
TENSORS = {
    "an offset beyond": tensor(KEY, (4,), (1,), 1),
    "an offset below": tensor(KEY, (1,), (1,), -1),
    "a stride beyond": tensor(KEY, (2, 2), (3, 1)),
    "a stride back": tensor(KEY, (4,), (-1,), 3),
    "a size beyond": tensor(KEY, (5,), (1,)),
    "a size below": tensor(KEY, (-1,), (1,)),
    "expanded": tensor(KEY, (10**6, 10**6), (0, 0)),
    "huge": tensor(KEY, (2**62, 4), (1, 1)),
    "sizes that overflow": tensor(KEY, (2**40, 2**40), (0, 0)),
    "nothing, of a size that overflows": tensor(KEY, (0, 2**47, 2**47), (1, 1, 1)),
    "fewer strides": tensor(KEY, (2, 2), (1,)),
    "many dimensions": tensor(KEY, (1,) * 65, (1,) * 65),
    "fractions": tensor(KEY, (2.0,), (1,)),
    "truths": tensor(KEY, (True,), (1,)),
    "a size of text": tensor(KEY, "22", "11"),
    "a claim beyond the file": tensor(storage_key(10**9), (4,), (1,)),
    "a claim beyond all": tensor(storage_key(2**63), (4,), (1,)),
    "a claim below": tensor(storage_key(-1), (4,), (1,)),
    "another storage": tensor(storage_key(4, name="1"), (4,), (1,)),
    "a way out of the file": tensor(storage_key(4, name="../data.pkl"), (4,), (1,)),
    "no storage": tensor(4, (4,), (1,)),
    "a storage of no type": tensor(storage_key(4, kind=nn.Linear), (4,), (1,)),
    "a storage of longer elements": tensor(storage_key(4, kind=torch.DoubleStorage), (4,), (1,)),
    "a storage with a name of a number": tensor(storage_key(4, name=0), (4,), (1,)),
    "no storage at all": tensor(Key(("module", nn.Linear, "file", "source")), (4,), (1,)),
    "a key that is long": tensor(Key(("storage", torch.FloatStorage, "0", "cpu", 4, None, None, None)), (4,), (1,)),
    "another type": Raw(torch._utils._rebuild_tensor_v3, KEY, 0, (4,), (1,), False, OrderedDict(), torch.float64),
    "no type": Raw(torch._utils._rebuild_tensor_v3, KEY, 0, (4,), (1,), False, OrderedDict(), "float64"),
    "a parameter of text": Raw(torch._utils._rebuild_parameter, "data", True, OrderedDict()),
    "too few arguments": Raw(torch._utils._rebuild_tensor_v2, KEY, 0),
    "a view beyond": tensor(Key(("storage", torch.FloatStorage, "0", "cpu", 4, ("v", 2, 4))), (4,), (1,)),
    "a sparse index beyond": Raw(
        torch._utils._rebuild_sparse_tensor,
        torch.sparse_coo,
        (tensor(storage_key(1, torch.LongStorage, "0"), (1, 1), (1, 1)), tensor(KEY, (1,), (1,)), (2,)),
    ),
}


@pytest.mark.parametrize("container", ["zip", "legacy"])
@pytest.mark.parametrize("case", TENSORS, ids=lambda key: key.replace(" ", "_"))
def test_a_tensor_that_reaches_beyond_its_storage(case, container, tmp_path):
    """The storage holds four numbers; as whole numbers, they are large."""
    data = np.full(4, 7, np.float32).tobytes()
    program = pickled({"state_dict": {"a": TENSORS[case]}})
    if container == "legacy":
        old = Legacy(io.BytesIO(), 2)
        old.dump({"state_dict": {"a": TENSORS[case]}})
        program = old.file.getvalue()
        if case == "a claim beyond the file":
            pytest.skip("the format stores the size anew; the next test claims there")
    elif case == "a view beyond":
        pytest.skip("the format has no views")
    refused(zipped(program, {"0": data}) if container == "zip" else legacy(program, {"0": (4, data)}), tmp_path / "evil.pt")


class Legacy(pickle.Pickler):
    """Writes keys of storages with the place of a view."""

    def __init__(self, file, protocol):
        super().__init__(file, protocol)
        self.file = file

    def persistent_id(self, value):
        if isinstance(value, Key):
            return (*value.value, None) if len(value.value) == 5 else value.value
        return None


@pytest.mark.parametrize("count", [5, 10**9, 2**61, 2**63 - 1, -1])
def test_a_legacy_storage_that_claims_more_than_there_is(count, tmp_path):
    program = pickled({"a": tensor(storage_key(4, legacy=True), (4,), (1,))})
    assert "cut short" in refused(legacy(program, {"0": (count, bytes(16))}), tmp_path / "evil.pt")


def test_modules_within_themselves_and_doubled(tmp_path):
    with foreign("a.Model") as [Model]:
        circle = tree({"i.weight": torch.ones(1)}, Model, Model)
        circle.i.o = circle
        torch.save(circle, tmp_path / "circle.pt")
        doubled = tree({"weight" * 10: torch.ones(1)}, Model, Model)
        for _ in range(30):
            outer = Model()
            outer.left, outer.right = doubled, doubled
            doubled = outer
        torch.save(doubled, tmp_path / "doubled.pt")
    assert "modules within modules" in refused((tmp_path / "circle.pt").read_bytes(), tmp_path / "circle.pt")
    assert "more work" in refused((tmp_path / "doubled.pt").read_bytes(), tmp_path / "doubled.pt", NAMES)


# --- containers ------------------------------------------------------------------------------------------------------

PROGRAM = pickled({"a": tensor(KEY, (4,), (1,))})
DATA = np.ones(4, np.float32).tobytes()


def archive(*members, **options) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as target:
        for member, data in members:
            target.writestr(member, data)
    return file.getvalue()


WHOLE = (("archive/data.pkl", PROGRAM), ("archive/data/0", DATA))


def overlapping() -> bytes:
    """Two entries of the directory that point at one member."""
    data = bytearray(archive(*WHOLE, ("archive/data/1", DATA)))
    entries = [match.start() for match in re.finditer(b"PK\x01\x02", data)]
    data[entries[2] + 42 : entries[2] + 46] = data[entries[1] + 42 : entries[1] + 46]
    return bytes(data)


ARCHIVES = {
    "a way out": archive(*WHOLE, ("archive/../../canary", DATA)),
    "an absolute path": archive(*WHOLE, ("/tmp/canary", DATA)),
    "a drive": archive(*WHOLE, ("C:/canary", DATA)),
    "a way out of Windows": archive(*WHOLE, ("..\\canary", DATA)),
    "a bomb": archive(("archive/data.pkl", PROGRAM), ("archive/data/0", bytes(1 << 28)), compression=zipfile.ZIP_DEFLATED),
    "a bomb of a program": archive(("archive/data.pkl", b"]" * (1 << 26)), compression=zipfile.ZIP_DEFLATED),
    "members on one another": overlapping(),
    "no program": archive(("archive/data/0", DATA)),
    "two programs": archive(*WHOLE, ("other/data.pkl", PROGRAM)),
    "no storage": archive(WHOLE[0]),
    "a shorter storage": archive(WHOLE[0], ("archive/data/0", DATA[:8])),
    "TorchScript": archive(*WHOLE, ("archive/constants.pkl", PROGRAM)),
    "the other byte order": archive(*WHOLE, ("archive/byteorder", b"big")),
    "another content": archive(*WHOLE).replace(DATA, b"\x01" * 16),
    "another program": archive(*WHOLE).replace(PROGRAM, PROGRAM[:-2] + b"0."),
    "a directory elsewhere": archive(*WHOLE)[:-6] + b"\xff\xff\xff\x7f\x00\x00",
    "nothing": archive(),
    "an image": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "a page": b"<!DOCTYPE html><html>404: not found</html>",
    "a pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "empty": b"",
    "zeros": bytes(1000),
    "a tar": bytes(257) + b"ustar" + bytes(500),
    "safetensors, a header that is none": struct.pack("<Q", 20) + b"{" + b"x" * 40,
    "safetensors, data beyond": struct.pack("<Q", 58)
    + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}   '
    + bytes(4),
    "safetensors, a long header": struct.pack("<Q", 2**40) + b"{}",
    "safetensors, nested": struct.pack("<Q", 60_000) + b'{"a":' * 12_000 + bytes(10),
}


@pytest.mark.parametrize("case", ARCHIVES, ids=lambda key: key.replace(" ", "_"))
def test_containers_that_nobody_writes(case, tmp_path):
    refused(ARCHIVES[case], tmp_path / "evil.pt")
    assert not (tmp_path.parent / CANARY).exists() and {file.name for file in tmp_path.iterdir()} == {"evil.pt"}


@functools.cache
def valid(new: bool) -> bytes:
    file = io.BytesIO()
    state = {"a.weight": torch.arange(6.0).view(2, 3).half(), "b": torch.ones(3), "c": torch.tensor(1)}
    with foreign("lab.net.Model", "lab.net.Conv") as [Model, Conv]:
        content = {"model": tree(state, Model, Conv), "log": np.arange(3.0), "args": SimpleNamespace(lr=0.1), "epoch": 3}
        torch.save(content, file, _use_new_zipfile_serialization=new)
    return file.getvalue()


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
def test_a_file_cut_short_anywhere(new, tmp_path):
    data = valid(new)
    for length in sorted({*range(0, len(data), 41), *range(len(data) - 20, len(data))}):
        refused(data[:length], tmp_path / "cut.pt")


def mutated(data: bytes, draw: random.Random) -> bytes:
    """Change, insert, remove or double some bytes."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8))):
        place, length = draw.randrange(len(changed)), draw.choice((1, 1, 4, 40))
        kind = draw.randrange(5)
        if kind == 0:
            changed[place] ^= draw.randrange(1, 256)
        elif kind == 1:
            changed[place:place] = draw.randbytes(length)
        elif kind == 2:
            del changed[place : place + length]
        elif kind == 3:
            changed[place:place] = changed[place : place + length]
        else:
            changed[place] = draw.choice(b"R\x81bcQ\x93(t\x94h.2}])\x85\x86aseu\x8f\x90io\x82")
        changed = changed or bytearray(data)
    return bytes(changed)


def fuzz(path, draw: random.Random) -> bool:
    """Read a mutation of a valid file; say whether it was refused."""
    source = draw.randrange(3)
    if source == 0:
        path.write_bytes(mutated(valid(True), draw))
    elif source == 1:
        path.write_bytes(mutated(valid(False), draw))
    else:  # the program within a zip file whose checksums hold
        with zipfile.ZipFile(io.BytesIO(valid(True))) as whole:
            members = [(member, whole.read(member)) for member in whole.namelist()]
        path.write_bytes(archive(*((m, mutated(d, draw) if m.endswith("data.pkl") else d) for m, d in members)))
    with watched(path) as seen:
        try:
            found = read(path)
        except UserError:
            return True
        finally:
            assert not seen, seen
    assert sum(tensor.numel() for tensor in found.state.values()) < 1000
    return False


def test_mutations_of_valid_files(tmp_path):
    draw = random.Random(0)
    outcomes = [fuzz(tmp_path / "a.pt", draw) for _ in range(400)]
    assert 100 < sum(outcomes) < 400, "some are refused, and some are without effect"


@pytest.mark.slow
def test_mutations_of_valid_files_for_a_minute(tmp_path):
    draw, end, count = random.Random(os.urandom(8)), time.monotonic() + 60, 0
    while time.monotonic() < end:
        state = draw.getstate()
        try:
            fuzz(tmp_path / "a.pt", draw)
        except Exception:
            draw.setstate(state)
            print(f"the file: {(tmp_path / 'a.pt').read_bytes()!r}")
            raise
        count += 1
    print(f"{count} mutations")


def test_the_payloads_are_live():
    """Python's own reader runs them."""
    pickle.loads(b"\x80\x02" + RUNS["eval"] + b".")
    assert os.path.lexists(CANARY)


def test_the_watch_sees(tmp_path):
    """Each thing that must not happen would be noticed."""
    with watched(tmp_path / "a.pt") as seen:
        exec("1 + 1")
        (tmp_path / "b").write_text("")
        list(tmp_path.iterdir())
    assert {event.split()[0] for event in seen} >= {"exec", "compile", "open"} and any(
        "listdir" in event or "scandir" in event for event in seen
    )
    assert (BYTES_FOR_A_BYTE, NAMES) == (512, 16_000_000), "the docstring of detkit.weights.read says so"
