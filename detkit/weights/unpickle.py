"""A machine for pickles that imports nothing and calls nothing that a file names.

A pickle is a program for a machine with a stack and a memo. This one has the operations of protocols 0 to 5 that make
plain containers, and hands what the program asks of the world (a name, a call, an object's state, a stored tensor) to a
`Builder` of ours. Nothing is looked up in a module, and no attribute of anything in the file is ever fetched or set.

Each operation is at least one byte of the file, costs one unit of the `Budget`, and makes at most one small object; what
copies more pays for it. So time and memory are at most proportional to the bytes of the pickle.
"""

from __future__ import annotations

import codecs
import mmap
import pickle
import struct
from collections.abc import Callable
from typing import Any, Protocol

from detkit.weights.records import Budget, Record, Refused, checked_key

DIGITS = 256
"""Bytes, or decimal digits, of the longest number."""


class Builder(Protocol):
    """Answers what a pickle asks of the world."""

    def named(self, module: str, name: str) -> Any:
        """Return what stands for a global name."""

    def called(self, target: Any, args: Any) -> Any:
        """Return what stands for the result of a call."""

    def created(self, target: Any, args: Any) -> Any:
        """Return what stands for a new object of a class."""

    def filled(self, target: Any, state: Any) -> None:
        """Give an object its state."""

    def stored(self, key: Any) -> Any:
        """Return what is stored outside the pickle."""


class Machine:
    """Runs one pickle of ``data`` from ``position``, which is behind it afterwards.

    Args:
        data: the bytes; a mapped file is not read as a whole.
        builder: answers what the pickle asks of the world.
        budget: of operations and copies.
        position: where the pickle begins.
        end: what is not to be read any more.
    """

    def __init__(
        self, data: bytes | mmap.mmap, builder: Builder, budget: Budget, position: int = 0, end: int | None = None
    ) -> None:
        self.data, self.builder, self.budget = data, builder, budget
        self.position, self.end = position, len(data) if end is None else end
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Return the object that the pickle describes.

        Raises:
            Refused: it is damaged, or asks for what is not done.
        """
        try:
            while (code := self.take(1)) != pickle.STOP:
                self.budget.spend(1)
                self.step(code)
            return self.stack.pop()
        except (LookupError, ValueError, TypeError, ArithmeticError, AttributeError, RuntimeError) as error:
            raise Refused(f"is damaged, or no file of weights (at byte {self.position}: {type(error).__name__})") from None

    def step(self, code: bytes) -> None:
        """Carry out one operation."""
        if code in NUMBERS:
            self.stack.append(self.number(NUMBERS[code]))
        elif code in SIZED:
            size, decode = SIZED[code]
            self.stack.append(decode(self.take(self.number(size))))
        elif code in LINES:
            self.stack.append(LINES[code](self.line()))
        elif code in OPERATIONS:
            OPERATIONS[code](self)
        elif code in (pickle.EXT1, pickle.EXT2, pickle.EXT4):
            raise Refused("names things by numbers that only the program that wrote it knows")
        else:
            raise Refused(f"is no file of weights, or a damaged one (at byte {self.position})")

    # --- the bytes ---------------------------------------------------------------------------------------------------

    def take(self, count: int) -> bytes:
        """Return the next ``count`` bytes."""
        start = self.position
        if not 0 <= count <= self.end - start:
            raise Refused("is cut short, or damaged")
        self.position += count
        return self.data[start : self.position]

    def line(self) -> bytes:
        """Return the bytes up to the next line end, without it."""
        stop = self.data.find(b"\n", self.position, self.end)
        return self.take(stop - self.position + 1)[:-1]

    def number(self, layout: str) -> Any:
        """Return the next number."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    # --- the stack and the memo --------------------------------------------------------------------------------------

    def mark(self) -> None:
        """Begin a group of items."""
        self.below.append(self.stack)
        self.stack = []

    def group(self) -> list[Any]:
        """Return the items since the last mark."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def pop(self) -> None:
        """Drop the topmost item, or the mark where there is none above it."""
        if self.stack:
            self.stack.pop()
        else:
            self.group()

    def put(self, place: int) -> None:
        """Memoise the topmost item."""
        self.memo[place] = self.stack[-1]

    def get(self, place: int) -> None:
        """Push a memoised item."""
        self.stack.append(self.memo[place])

    # --- containers --------------------------------------------------------------------------------------------------

    def make_tuple(self, length: int) -> None:
        """Replace the topmost items by a tuple of them."""
        items = [self.stack.pop() for _ in range(length)]
        self.stack.append(tuple(reversed(items)))

    def make_from(self, kind: Callable[[list[Any]], Any]) -> None:
        """Replace the group by a container of it."""
        items = self.group()
        self.stack.append(kind(items))

    def append(self, items: list[Any]) -> None:
        """Append to the list, or the record of one, on top."""
        target = self.stack[-1]
        into = target.items if isinstance(target, Record) else target
        if type(into) is not list:
            raise Refused(f"appends to a {type(target).__name__}")
        into.extend(items)

    def set_items(self, items: list[Any]) -> None:
        """Set keys and values, which alternate, in the dictionary, or the record of one, on top."""
        target = self.stack[-1]
        into = target.entries if isinstance(target, Record) else target
        if type(into) is not dict:
            raise Refused(f"sets items of a {type(target).__name__}")
        into.update((checked_key(key), value) for key, value in zip(items[::2], items[1::2], strict=True))

    def add(self, items: list[Any]) -> None:
        """Add to the set on top."""
        if type(self.stack[-1]) is not set:
            raise Refused(f"adds to a {type(self.stack[-1]).__name__}")
        self.stack[-1].update(map(checked_key, items))

    def make_dict(self) -> None:
        """Replace the group by a dictionary of it."""
        items = self.group()
        self.stack.append({})
        self.set_items(items)

    # --- the world ---------------------------------------------------------------------------------------------------

    def global_line(self) -> None:
        """Push the global named by two lines."""
        self.stack.append(self.named(self.line().decode(), self.line().decode()))

    def global_stack(self) -> None:
        """Replace two texts by the global that they name."""
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(self.named(module, name))

    def named(self, module: Any, name: Any) -> Any:
        """Return what stands for a global name."""
        if type(module) is not str or type(name) is not str:
            raise Refused("refers to a name that is no text")
        return self.builder.named(module, name)

    def call(self) -> None:
        """Replace a target and its arguments by the result."""
        args, target = self.stack.pop(), self.stack.pop()
        self.stack.append(self.builder.called(target, args))

    def create(self, options: bool) -> None:
        """Replace a class and its arguments (and options, which come last) by a new object."""
        extra = (self.stack.pop(),) if options else ()
        args, target = self.stack.pop(), self.stack.pop()
        if type(args) is not tuple:
            raise Refused("makes an object with what are no arguments")
        self.budget.spend(len(args))
        self.stack.append(self.builder.created(target, args + extra))

    def create_group(self) -> None:
        """Replace a group, a class and its arguments, by a new object."""
        target, *args = self.group()
        self.stack.append(self.builder.called(target, tuple(args)))

    def create_line(self) -> None:
        """Replace a group, the arguments, by a new object of the class named by two lines."""
        target = self.named(self.line().decode(), self.line().decode())
        self.stack.append(self.builder.called(target, tuple(self.group())))

    def fill(self) -> None:
        """Give the object below the topmost item that item as its state."""
        state = self.stack.pop()
        self.builder.filled(self.stack[-1], state)

    def load(self) -> None:
        """Replace a key by what is stored under it."""
        self.stack.append(self.builder.stored(self.stack.pop()))


def _whole(data: bytes) -> int:
    """Return a number stored as its bytes."""
    if len(data) > DIGITS:
        raise Refused(f"holds a number of {len(data)} bytes")
    return int.from_bytes(data, "little", signed=True)


def _digits(text: bytes) -> int | bool:
    """Return a number stored as digits; 00 and 01 are truth values."""
    if len(text) > DIGITS:
        raise Refused(f"holds a number of {len(text)} digits")
    return text == b"01" if text in (b"00", b"01") else int(text.removesuffix(b"L"))


def _old_text(data: bytes) -> str:
    """Return what Python 2 stored: text in an unnamed encoding, or bytes, which encode("latin-1") gives back."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _quoted(text: bytes) -> str:
    """Return a text stored within quotation marks."""
    if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in b"'\"":
        raise Refused("holds a text without its quotation marks")
    return _old_text(codecs.escape_decode(text[1:-1])[0])


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


NUMBERS = {pickle.BININT: "<i", pickle.BININT1: "B", pickle.BININT2: "<H", pickle.BINFLOAT: ">d"}
"""Operations that push a number: how it is laid out."""

SIZED: dict[bytes, tuple[str, Callable[[bytes], Any]]] = {
    pickle.SHORT_BINBYTES: ("B", bytes),
    pickle.BINBYTES: ("<I", bytes),
    pickle.BINBYTES8: ("<Q", bytes),
    pickle.BYTEARRAY8: ("<Q", bytes),
    pickle.SHORT_BINUNICODE: ("B", _text),
    pickle.BINUNICODE: ("<I", _text),
    pickle.BINUNICODE8: ("<Q", _text),
    pickle.SHORT_BINSTRING: ("B", _old_text),
    pickle.BINSTRING: ("<i", _old_text),
    pickle.LONG1: ("B", _whole),
    pickle.LONG4: ("<i", _whole),
}
"""Operations that push bytes of which the number comes first: how it is laid out, and what the bytes mean."""

LINES: dict[bytes, Callable[[bytes], Any]] = {
    pickle.INT: _digits,
    pickle.LONG: _digits,
    pickle.FLOAT: float,
    pickle.STRING: _quoted,
    pickle.UNICODE: lambda line: codecs.raw_unicode_escape_decode(line)[0],  # decode() imports the codec
}
"""Operations that push what a line says."""

OPERATIONS: dict[bytes, Callable[[Machine], Any]] = {
    pickle.PROTO: lambda machine: machine.take(1),
    pickle.FRAME: lambda machine: machine.take(8),
    pickle.NONE: lambda machine: machine.stack.append(None),
    pickle.NEWTRUE: lambda machine: machine.stack.append(True),
    pickle.NEWFALSE: lambda machine: machine.stack.append(False),
    pickle.MARK: Machine.mark,
    pickle.POP: Machine.pop,
    pickle.POP_MARK: Machine.group,
    pickle.DUP: lambda machine: machine.stack.append(machine.stack[-1]),
    pickle.PUT: lambda machine: machine.put(_digits(machine.line())),
    pickle.BINPUT: lambda machine: machine.put(machine.number("B")),
    pickle.LONG_BINPUT: lambda machine: machine.put(machine.number("<I")),
    pickle.MEMOIZE: lambda machine: machine.put(len(machine.memo)),
    pickle.GET: lambda machine: machine.get(_digits(machine.line())),
    pickle.BINGET: lambda machine: machine.get(machine.number("B")),
    pickle.LONG_BINGET: lambda machine: machine.get(machine.number("<I")),
    pickle.EMPTY_TUPLE: lambda machine: machine.make_tuple(0),
    pickle.TUPLE1: lambda machine: machine.make_tuple(1),
    pickle.TUPLE2: lambda machine: machine.make_tuple(2),
    pickle.TUPLE3: lambda machine: machine.make_tuple(3),
    pickle.TUPLE: lambda machine: machine.make_from(tuple),
    pickle.LIST: lambda machine: machine.make_from(list),
    pickle.FROZENSET: lambda machine: machine.make_from(lambda items: frozenset(map(checked_key, items))),
    pickle.DICT: Machine.make_dict,
    pickle.EMPTY_LIST: lambda machine: machine.stack.append([]),
    pickle.EMPTY_DICT: lambda machine: machine.stack.append({}),
    pickle.EMPTY_SET: lambda machine: machine.stack.append(set()),
    pickle.APPEND: lambda machine: machine.append([machine.stack.pop()]),
    pickle.APPENDS: lambda machine: machine.append(machine.group()),
    pickle.SETITEM: lambda machine: machine.set_items([machine.stack.pop(-2), machine.stack.pop()]),
    pickle.SETITEMS: lambda machine: machine.set_items(machine.group()),
    pickle.ADDITEMS: lambda machine: machine.add(machine.group()),
    pickle.GLOBAL: Machine.global_line,
    pickle.STACK_GLOBAL: Machine.global_stack,
    pickle.REDUCE: Machine.call,
    pickle.NEWOBJ: lambda machine: machine.create(options=False),
    pickle.NEWOBJ_EX: lambda machine: machine.create(options=True),
    pickle.OBJ: Machine.create_group,
    pickle.INST: Machine.create_line,
    pickle.BUILD: Machine.fill,
    pickle.PERSID: lambda machine: machine.stack.append(machine.builder.stored(machine.line().decode())),
    pickle.BINPERSID: Machine.load,
}
