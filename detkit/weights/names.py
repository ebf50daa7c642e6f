"""Which names a file may hold: what is refused at sight, and what may stand in a record.

A file of weights refers to classes of the programs that wrote it, and to some of Python's own. No name is ever looked up,
so none can do harm here; but a name of the standard library beyond the few that data need, a function called, or a path
through a module tells that the file is meant to do something else, and such a file is refused.
"""

from __future__ import annotations

import re
import sys

import torch

from detkit.weights.records import Name, Refused, shown

PYTHON2 = {"__builtin__": "builtins", "commands": "subprocess", "copy_reg": "copyreg"}
"""Modules of the standard library that were renamed."""

CLASSES = {
    "argparse": "Namespace",
    "builtins": "bool bytearray bytes complex dict float frozenset getattr int list object range set slice str tuple",
    "collections": "Counter OrderedDict defaultdict deque",
    "copyreg": "__newobj__ _reconstructor",
    "_codecs": "encode",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "enum": "Enum IntEnum",
    "fractions": "Fraction",
    "functools": "partial",
    "logging": "Logger RootLogger",
    "pathlib": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
    "pathlib._local": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
    "types": "SimpleNamespace",
    "uuid": "UUID",
}
"""What data need of the standard library, by module."""

HARMLESS = frozenset(f"{module}.{name}" for module, names in CLASSES.items() for name in names.split())

CONSTANTS = {f"torch.{name}": value for name, value in vars(torch).items() if isinstance(value, torch.dtype | torch.layout)}
"""What stands for itself."""

WORDS = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
LONGEST = 256
"""Characters of a name."""


def checked_name(module: str, name: str) -> Name | torch.dtype | torch.layout:
    """Return what stands for a global name.

    Raises:
        Refused: no file of weights needs it.
    """
    module = PYTHON2.get(module, module)
    text = f"{module}.{name}"
    if len(text) > LONGEST or not WORDS.fullmatch(module) or not WORDS.fullmatch(name):
        raise Refused(f"refers to what is no name ({shown(text)!r})")
    if not all(Name(word).is_class for word in name.split(".")[:-1]):
        raise Refused(f"refers to {shown(text)}, a way through a module that no weights take; it may be meant to run code")
    if module.partition(".")[0] in sys.stdlib_module_names and text not in HARMLESS:
        raise Refused(f"refers to {shown(text)}, which no weights need; it may be meant to run code, and nothing of it was run")
    return CONSTANTS.get(text) or Name(text)


def member(owner: str, name: object) -> Name:
    """Return what stands for a method, or a nested class, of the class ``owner``.

    Raises:
        Refused: ``owner`` is no class, or ``name`` leads out of it.
    """
    if type(name) is not str or not WORDS.fullmatch(name) or "." in name or name.startswith("__"):
        raise Refused(f"asks for an attribute of {shown(owner)} that is none of a class's own; it may be meant to run code")
    if not Name(owner).is_class or owner in HARMLESS:
        raise Refused(f"asks for {shown(f'{owner}.{name}')}, not the member of a class; it may be meant to run code")
    return Name(f"{owner}.{name}")
