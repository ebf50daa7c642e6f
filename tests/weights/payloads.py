"""Pickle programs that run code, exhaust memory or time, or are broken."""

import pickle
import struct

CANARY = "canary"
TOUCH = f"open('{CANARY}', 'w').close()"
SHELL = f"touch {CANARY}"


def name(module: str, text: str) -> bytes:
    return f"c{module}\n{text}\n".encode()


def stacked(module: str, text: str) -> bytes:
    return pickle.dumps(module, 4)[2:-1] + pickle.dumps(text, 4)[2:-1] + b"\x93"


def call(target: bytes, *args: bytes) -> bytes:
    return target + b"(" + b"".join(args) + b"tR"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


RUNS = {
    "os.system": call(name("os", "system"), text(SHELL)),
    "posix.system": call(name("posix", "system"), text(SHELL)),
    "nt.system": call(name("nt", "system"), text(SHELL)),
    "eval": call(name("builtins", "eval"), text(TOUCH)),
    "exec of Python 2": call(name("__builtin__", "exec"), text(TOUCH)),
    "stacked exec": call(stacked("builtins", "exec"), text(TOUCH)),
    "__import__": call(name("builtins", "__import__"), text("os")),
    "importlib": call(name("importlib", "import_module"), text("antigravity")),
    "runpy": call(name("runpy", "run_path"), text("/tmp/x.py")),
    "Popen": b"(" + name("subprocess", "Popen") + text(SHELL) + b"o",
    "Popen as an instance": b"(" + text(SHELL) + b"isubprocess\nPopen\n",
    "Popen as a new object": name("subprocess", "Popen") + text(SHELL) + b"\x85\x81",
    "Popen with options": name("subprocess", "Popen") + text(SHELL) + b"\x85}\x92",
    "commands of Python 2": call(name("commands", "getoutput"), text(SHELL)),
    "codes": call(name("types", "CodeType"), b"K\x01"),
    "torch.load": call(name("torch", "load"), text("other.pt")),
    "torch.hub.load": call(name("torch.hub", "load"), text("a/b")),
    "runstring": call(name("numpy.testing._private.utils", "runstring"), text(TOUCH), b"}"),
    "pip": call(name("pip._internal", "main"), text("install")),
    "nested": call(stacked("torch", "serialization.os.system"), text(SHELL)),
    "nested, imported elsewhere": call(stacked("torch.serialization", "os.system"), text(SHELL)),
    "nested, of one line": call(name("torch", "serialization.os.system"), text(SHELL)),
    "a method of a class": call(stacked("torch.nn.Module", "Module.register"), b"N"),
    "dunder": call(name("builtins", "getattr"), name("torch.nn", "Module"), text("__init__")),
    "getattr chain": call(
        name("builtins", "getattr"),
        call(name("builtins", "getattr"), call(name("builtins", "getattr"), name("a", "B"), text("c")), text("d")),
        text("e"),
    ),
    "member of a list": call(name("builtins", "getattr"), b"]", text("append")),
    "member of dict": call(name("builtins", "getattr"), name("builtins", "dict"), text("fromkeys")),
    "a member called": call(call(name("builtins", "getattr"), name("a", "B"), text("run")), text(SHELL)),
    "attrgetter": call(name("operator", "attrgetter"), text("system")),
    "methodcaller": call(name("operator", "methodcaller"), text("system"), text(SHELL)),
    "partial": call(name("functools", "partial"), name("os", "system")) + b"(" + name("os", "system") + b")}Ntb",
    "reduce": call(name("functools", "reduce"), name("os", "system"), b"]"),
    "map": call(name("builtins", "map"), name("os", "system"), b"(" + text(SHELL) + b"l"),
    "a factory": call(name("collections", "defaultdict"), name("os", "system")),
    "a call's result called": call(call(name("a", "B")), text(SHELL)),
    "a text called": call(text("os.system"), text(SHELL)),
    "called with a list": name("a", "B") + b"]R",
    "a state's hook": name("a", "B") + b")\x81}" + text("__setstate__") + name("os", "system") + b"sb",
    "state of a name": name("a", "b") + b"}" + text("__code__") + b"Nsb",
    "state of a text": text("a") + b"}b",
    "state of a list": b"]}b",
    "_reconstructor": call(name("copyreg", "_reconstructor"), name("os", "system"), name("builtins", "object"), b"N"),
    "__newobj__": call(name("copyreg", "__newobj__"), call(name("copyreg", "__newobj__"), name("os", "system"))),
    "tensor of a subclass": call(name("torch._tensor", "_rebuild_from_type_v2"), name("a", "run"), name("a", "B"), b")", b"}"),
    "_load_from_bytes": call(name("torch.storage", "_load_from_bytes"), b"C\x01a"),
    "extension 1": b"\x82\x01",
    "extension 2": b"\x83\x01\x00",
    "extension 4": b"\x84\x01\x00\x00\x00",
    "buffer": b"\x97",
    "read-only buffer": b"]\x98",
    "no name": stacked("os\nsystem", "x y"),
    "an empty name": stacked("", ""),
    "a name of numbers": b"K\x01K\x02\x93",
    "a name that is long": stacked("a" * 300, "B"),
}
DOUBLE = call(name("numpy", "dtype"), text("f8"))
DEEP = 20_000
EXHAUSTS = {
    "nested tuples": b")" + b"\x85" * DEEP,
    "nested lists": b"]" * DEEP + b"a" * (DEEP - 1),
    "nested dictionaries": (b"}" + b"K\x00") * DEEP + b"}" + b"s" * DEEP,
    "nested records": name("a", "B") + b"q\x00)\x81" + b"h\x00)\x81" * DEEP + b"b" * DEEP,
    "nested marks": b"(" * DEEP,
    "sets": b"\x8f" * DEEP,
    "memoised sets": b"\x8f\x94" * DEEP,
    "memoised records": name("a", "B") + b"q\x00" + b"h\x00)\x81\x94" * DEEP,
    "a list that holds itself": b"]q\x00h\x00a",
    "doubled tuples": b")" + b"2\x86" * 10_000,
    "a key of doubled tuples": b"})" + b"2\x86" * 60 + b"Ns",
    "a set of doubled tuples": b"\x8f()" + b"2\x86" * 60 + b"\x90",
    "a layout of doubled tuples": call(name("torch.serialization", "_get_layout"), b")" + b"2\x86" * 60),
    "a device of doubled tuples": call(name("torch", "device"), b")" + b"2\x86" * 60),
    "colliding keys": b"}" + b"".join(pickle.dumps(k * (2**61 - 1), 2)[2:-1] + b"N" + b"s" for k in range(1, 500)),
    "a dictionary copied often": b"}q\x01("
    + b"".join(pickle.dumps(number, 2)[2:-1] + b"N" for number in range(5000))
    + b"u0"
    + (name("collections", "OrderedDict") + b"h\x01\x85R") * 2000,
    "bytes copied often": text("x" * 100_000) + b"q\x010" + (name("_codecs", "encode") + b"h\x01\x85R") * 5000,
    "an array copied often": b"C\xff" + b"x" * 255 + b"q\x010" + call(name("numpy", "dtype"), text("u1")) + b"q\x020"
    + call(name("numpy.core.numeric", "_frombuffer"), b"h\x01h\x02(M\xff\x00t") * 5000,
    "empty arrays": call(name("numpy.core.multiarray", "_reconstruct")) * 5000,
    "a huge array": call(name("numpy.core.numeric", "_frombuffer"), b"C\x01a", DOUBLE, b"(J\xff\xff\xff\x7ft"),
    "an array of objects": call(name("numpy.core.multiarray", "_reconstruct"))
    + b"(K\x01K\x01\x85" + call(name("numpy", "dtype"), text("O")) + b"\x89]tb",
    "a number of many bytes": b"\x8b\xff\xff\xff\x7f",
    "a number of a megabyte": b"\x8b" + struct.pack("<i", 1 << 20) + b"\x01" * (1 << 20),
    "a number of fewer than no bytes": b"\x8b\xff\xff\xff\xff",
    "a number of many digits": b"L" + b"9" * 100_000 + b"L\n",
    "a text of many bytes": b"\x8d" + struct.pack("<Q", 2**62),
    "bytes of many bytes": b"\x8e" + struct.pack("<Q", 2**63 + 5),
    "a byte array": b"\x96" + struct.pack("<Q", 2**40),
    "a frame": b"\x95" + struct.pack("<Q", 2**62),
    "a place in the memo": b"Nr\xff\xff\xff\xffp-5\n",
}  # fmt: skip
BROKEN = {
    "a memo miss": b"h\x05",
    "a far memo miss": b"j\xff\xff\xff\xff",
    "a memo miss of text": b"g12x\n",
    "nothing on the stack": b"0",
    "nothing to memoise": b"q\x00",
    "no mark": b"t",
    "a pop below a mark": b"N(\x86",
    "half a pair": b"}(Nu",
    "append to a text": text("a") + b"Na",
    "items of a list": b"]NNs",
    "added to a list": b"](N\x90",
    "a list as a key": b"}]Ns",
    "a list in a set": b"\x8f(]\x90",
    "a list in a frozen set": b"(]\x91",
    "text that is none": b"X\x01\x00\x00\x00\xff",
    "text that is not quoted": b"Sabc\n",
    "a line without end": b"I12",
    "a number that is none": b"Iabc\n",
    "a fraction that is none": b"Fabc\n",
    "a name without end": b"ctorch\n",
    "no name on the stack": b"\x93",
    "an unknown operation": b"\xff",
    "a stored thing by text": b"P0\n",
    "a stored thing by nothing": b"NQ",
    "a stored thing by a list": b"]Q",
    "a stored thing by a short tuple": text("storage") + b"\x85Q",
    "a dictionary of no pairs": call(name("collections", "OrderedDict"), b"(K\x01l"),
    "a path of numbers": call(name("pathlib", "PosixPath"), b"K\x01"),
    "a scalar of few bytes": call(name("numpy.core.multiarray", "scalar"), DOUBLE, b"C\x01a"),
    "nothing": b"",
}
