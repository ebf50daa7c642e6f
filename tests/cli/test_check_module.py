"""``tools/check_module.py`` on a user's file."""

import sys

import pytest

from detkit.cli.check_module import main

FILE = '''"""My blocks."""

from torch import nn

from detkit.parts import BlockSpec


class MineGood(BlockSpec):
    """A pointwise convolution."""

    kernel_size: int = 1
    """Odd."""

    def build(self, channels):
        return nn.Conv2d(channels, channels, self.kernel_size, padding=self.kernel_size // 2)


class MineWide(BlockSpec):
    """Forgets how wide it should be."""

    def build(self, channels):
        return Network(channels)


class MineNeedy(BlockSpec):
    """Must be told a width."""

    width: int
    """Inside."""

    def build(self, channels):
        return nn.Sequential(nn.Conv2d(channels, self.width, 1), nn.Conv2d(self.width, channels, 1))


class MineBodiless(BlockSpec):
    """Has no build."""


class Network(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, 48, 1)

    def forward(self, x):
        return self.conv(x)
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("user")
    (where / "my_block.py").write_text(FILE)
    return where


@pytest.fixture(autouse=True)
def _in_the_users_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)


def test_good(capsys):
    assert main(["my_block.py:MineGood", "kernel_size=3"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("block MineGood(kernel_size=3): ")
    assert "1 part, 29 cases: 28 held, 0 broke, 1 skipped" in printed


def test_broken_is_told_in_the_users_terms(capsys):
    assert main(["my_block.py:MineWide"]) == 1
    printed = capsys.readouterr().out
    assert "the output has 48 channels where the contract says 32" in printed
    assert "Instead: a block returns as many channels as it is given; build() receives them as `channels`" in printed


def test_fields_without_default(capsys):
    assert main(["my_block.py:MineNeedy", "width=8"]) == 0
    assert main(["my_block.py:MineNeedy"]) == 2
    assert "MineNeedy has no default for width; write my_block.py:MineNeedy width=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "which part?"),
        (["heads=4"], "sets a field of which part?"),
        (["my_block.py:MineGod"], "no class 'MineGod'; did you mean 'MineGood'?"),
        (["my_block.py:Network"], "Network is no part but a plain class"),
        (["my_block.py:MineBodiless"], "MineBodiless has no build()"),
        (["my_block.py:MineGood", "kernel=3"], "no field 'kernel'; did you mean 'kernel_size'?"),
        (["absent.py:Good"], "no file 'absent.py'"),
        (["absent.module:Good"], "no module 'absent'"),
        (["Bottelneck"], "no part 'Bottelneck' is registered; did you mean 'Bottleneck'?"),
        (["--family", "blocs"], "no family 'blocs'; did you mean 'blocks'?"),
    ],
)
def test_mistakes(capsys, words, told):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert told in error and "Traceback" not in error


def test_a_file_that_breaks_is_told_with_its_line(folder, capsys):
    (folder / "my_breaking.py").write_text("x = 1\ny = x / 0\n")
    assert main(["my_breaking.py:Anything"]) == 2
    assert "my_breaking.py, line 2: ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("class Mine(BlockSpec)\n    x = 1\n", "line 3: SyntaxError: expected ':'\n"),
        (
            "class Untyped(BlockSpec):\n    size = 3\n",
            "line 3: a field needs a type, as in `kernel_size: int = 3`; this has none: `size = 3`\n",
        ),
        ("class Plain(nn.Module):\n    pass\n", "Plain is no part but a plain class"),
        ("class Help(nn.Module):\n    pass\nclass Bodiless(BlockSpec):\n    pass\n", "Bodiless has no build()"),
        ("x = 1\n", "defines no part"),
    ],
)
def test_a_file_without_a_part_says_what_it_lacks(folder, capsys, code, told):
    (folder / "my_lacking.py").write_text(f"from torch import nn\nfrom detkit.parts import BlockSpec\n{code}")
    assert main(["my_lacking.py"]) == 2
    error = capsys.readouterr().err
    assert told in error and "Traceback" not in error and error.count("my_lacking.py") == 1
    sys.modules.pop("my_lacking", None)


def test_a_family_is_swept_and_counted(capsys):
    assert main(["--family", "assigner"]) == 0
    printed = capsys.readouterr().out
    assert "assigner TaskAligned: 3 held" in printed and "1 part, 3 cases: 3 held, 0 broke, 0 skipped" in printed
