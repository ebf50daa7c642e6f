"""The shape of the house: imports point one way, files and functions stay readable."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "detkit"
RANKS = {
    0: "errors spec overrides structures boxes",
    1: "parts nn",
    2: "losses data evaluation drawing",
    3: "blocks resample figures",
    4: "stages",
    5: "backbones necks heads",
    6: "detectors",
    7: "zoo",
    8: "recipes weights",
    9: "experiment",
    10: "train deploy checks profiling",
    11: "cli",
}
RANK = {room: rank for rank, rooms in RANKS.items() for room in rooms.split()}
STRANGERS = [{"losses", "data", "evaluation", "drawing"}, {"backbones", "necks", "heads"}, {"blocks", "resample"}]
FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = [str(file.relative_to(ROOT)) for file in FILES]


def room(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_imports_point_to_a_lower_rank_or_stay_in_the_room(file):
    here = room(file)
    if here == "__init__":
        return
    assert here in RANK, f"{file}: a new room needs a rank"
    for name in imports(file):
        package, _, rest = name.partition(".")
        there = rest.split(".")[0]
        if package == "detkit" and there != here and not there.startswith("__"):
            assert RANK[there] <= RANK[here], f"{file} imports {name}, which points up"
            assert not any({here, there} <= group for group in STRANGERS), f"{file} imports {name} beside it"
        assert package != "lightning" or here == "train", f"{file}: only train/ imports lightning"


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_files_and_functions_stay_readable(file):
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{file}: {node.name} is too long"


@pytest.mark.parametrize("file", sorted((ROOT / "tools").glob("*.py")), ids=lambda file: file.name)
def test_tools_only_call_the_package(file):
    assert len(file.read_text(encoding="utf-8").splitlines()) < 60


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.py")), ids=lambda file: file.name)
def test_configs_hold_no_facts(file):
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 20
    words = {node.arg for node in ast.walk(ast.parse(text)) if isinstance(node, ast.keyword)}
    assert not words & {"in_channels", "strides", "num_classes"}


def test_no_machine_path_or_host_in_the_project():
    suspicious = ["/work" + "/", "file:" + "///opt", "/root" + "/"]
    for file in [*FILES, *(ROOT / "tools").glob("*"), *ROOT.glob("*.*"), ROOT / "Makefile", *(ROOT / "benchmarks").glob("*")]:
        if file.is_file():
            text = file.read_text(encoding="utf-8", errors="ignore")
            assert not [word for word in suspicious if word in text], file
