"""What stands for the names, calls and objects of a pickle: tensors and plain containers from one table, records otherwise.

`CALLS` is all that a file can have called: functions of this package. Any other class gives an inert `Record`; any other
function is refused. Nothing is looked up in a module.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from detkit.weights.arrays import ARRAYS, empty_array, filled_array
from detkit.weights.names import HARMLESS, checked_name
from detkit.weights.plain import PLAIN
from detkit.weights.records import Budget, Name, Record, Refused, shown
from detkit.weights.tensors import TENSORS

CALLS = PLAIN | TENSORS | ARRAYS
"""Rebuilt by functions that depend on their arguments alone (and pay for their work)."""


class Rebuilder:
    """Answers a pickle's questions; see `unpickle.Builder`.

    Args:
        stored: persistent id -> what is stored under it, a `Storage` as a rule.
        budget: of the work that the file may ask for.

    Attributes:
        records: foreign classes, each with the number of records made.
    """

    def __init__(self, stored: Callable[[Any], Any], budget: Budget) -> None:
        self.stored, self.budget = stored, budget
        self.records: dict[str, int] = {}
        self.arrays: dict[int, Tensor] = {}

    def named(self, module: str, name: str) -> Any:
        """Return what stands for a global name.

        Raises:
            Refused: no file of weights needs it.
        """
        return checked_name(module, name)

    def called(self, target: Any, args: Any) -> Any:
        """Return what the tables rebuild; a record where another class was called.

        Raises:
            Refused: what is called is neither in the tables nor a class.
        """
        if type(target) is not Name or type(args) is not tuple:
            raise Refused(f"calls what is no class (a {type(target).__name__}); it may be meant to run code")
        self.budget.spend(len(args))
        if target.text in CALLS:
            return CALLS[target.text](self.budget, *args)
        if target.text in METHODS:
            return METHODS[target.text](self, *args)
        if not target.is_class and target.text not in HARMLESS:
            raise Refused(f"calls {shown(target.text)}, which is none of the functions that rebuild weights; nothing was run")
        return self.record(target, args)

    def created(self, target: Any, args: tuple[Any, ...]) -> Any:
        """Return what stands for a new object of a class."""
        plain = type(target) is Name and target.text in CALLS
        return self.called(target, args) if plain else self.record(target, args)

    def filled(self, target: Any, state: Any) -> None:
        """Give a record or an array its state; attributes of plain dictionaries and tensors are left out.

        Raises:
            Refused: it is something else.
        """
        if type(target) is Record:
            target.state = state
        elif id(target) in self.arrays:
            target.data = filled_array(self.budget, state)
        elif not isinstance(target, dict | Tensor):
            raise Refused(f"gives a {type(target).__name__} a state; it may be meant to run code")

    def record(self, target: Any, args: tuple[Any, ...]) -> Record:
        """Return an inert record."""
        if type(target) is not Name:
            raise Refused(f"makes an object of what is no class (a {type(target).__name__})")
        self.records[target.text] = self.records.get(target.text, 0) + 1
        return Record(target.text, args)

    def old_object(self, target: Any, *args: Any) -> Record:
        """Return a record made as by protocols 0 and 1: of a class, from its plain base and the base's value."""
        return self.record(target, args)

    def array(self, *_: Any) -> Tensor:
        """Return an array of NumPy's whose elements come later, as its state; until then it is empty."""
        array = empty_array(self.budget)
        self.arrays[id(array)] = array
        return array

    def subclassed(self, function: Any, _: Any, args: Any, *__: Any) -> Any:
        """Return a tensor of a subclass as a plain one."""
        if type(function) is not Name or function.text not in TENSORS or type(args) is not tuple:
            raise Refused("makes a tensor of a subclass from what is no tensor")
        return TENSORS[function.text](self.budget, *args)


METHODS: dict[str, Callable[..., Any]] = {
    "copyreg.__newobj__": Rebuilder.old_object,
    "copyreg._reconstructor": Rebuilder.old_object,
    "numpy._core.multiarray._reconstruct": Rebuilder.array,
    "numpy.core.multiarray._reconstruct": Rebuilder.array,
    "torch._tensor._rebuild_from_type_v2": Rebuilder.subclassed,
}
"""Rebuilt by what knows of other objects of the file."""
