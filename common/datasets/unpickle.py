"""Read pickled numbers without running what a pickle may ask for.

Unpickling calls whatever functions the file names. Here only numpy's array constructors are real;
what belongs to pandas is replaced by records that keep their arguments, so that neither pandas nor
its version matters, and any other name is refused.
"""

import copyreg
import pickle
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from common.datasets.source import Unfit


class _Record:
    """Keep what a pickle hands to an object of pandas: arguments and state."""

    arguments: tuple[Any, ...]
    state: Any

    def __new__(cls, *arguments: Any, **options: Any) -> "_Record":
        record = super().__new__(cls)
        record.arguments = arguments
        record.state = None
        return record

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Frame(_Record):
    pass


class _Manager(_Record):
    pass


class _Index(_Record):
    pass


class _Array(_Record):
    pass


def _block(values: Any, placement: Any, ndim: int) -> dict[str, Any]:
    return {"values": values, "mgr_locs": placement}


def _index(cls: type, arguments: dict[str, Any]) -> _Record:
    return _Index(arguments)


def _array(cls: type, checksum: int, state: Any) -> _Record:
    return _Array(state)


# By the last part of the name: pandas moved its modules many times.
_PANDAS: dict[str, Any] = {
    "DataFrame": _Frame,
    "BlockManager": _Manager,
    "_unpickle_block": _block,
    "new_block": _block,
    "_new_Index": _index,
    "Index": _Index,
    "Int64Index": _Index,
    "RangeIndex": _Index,
    "__pyx_unpickle_NDArrayBacked": _array,
    "StringArray": _Array,
    "StringDtype": _Record,
}
_NUMPY = {"_reconstruct", "scalar", "_frombuffer", "ndarray", "dtype"}
_NUMPY_MODULES = {
    "numpy",
    *(
        f"numpy.{core}.{module}"
        for core in ("core", "_core")
        for module in ("multiarray", "numeric")
    ),
}


def _latin(text: str, encoding: str = "latin1") -> bytes:
    """Stand for `codecs.encode`: Python 2 byte strings come as Latin-1."""
    return text.encode("latin1")


_PYTHON: dict[tuple[str, str], Any] = {
    ("builtins", "slice"): slice,
    ("builtins", "object"): object,
    ("copyreg", "_reconstructor"): copyreg._reconstructor,  # type: ignore[attr-defined]
    ("_codecs", "encode"): _latin,
}


_PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in _NUMPY_MODULES and name in _NUMPY:
            # The real constructors, under the module's present name.
            return super().find_class(module.replace("numpy.core.", "numpy._core."), name)
        if module.split(".")[0] == "pandas" and name in _PANDAS:
            return _PANDAS[name]
        module = _PYTHON_2.get(module, module)
        if (module, name) in _PYTHON:
            return _PYTHON[module, name]
        raise Unfit(f"asks for {module}.{name}, which no table of numbers needs")


def load(content: IO[bytes]) -> Any:
    """Return what a pickle holds: numbers, text, containers, arrays, and records of pandas.

    Byte strings of Python 2 become text in Latin-1.

    Raises:
        Unfit: the pickle asks for anything else, or is damaged.
        OSError: it cannot be read.
    """
    try:
        return _Unpickler(content, encoding="latin1").load()
    except (OSError, Unfit):
        raise
    except Exception as error:  # a damaged pickle fails in many ways
        raise Unfit(f"is not a readable pickle ({type(error).__name__})") from error


def load_frame(path: Path) -> dict[str, NDArray[Any]]:
    """Return the columns of a pickled data frame by name, each (N,).

    Raises:
        Unfit: the file asks for anything but a data frame of numbers, or is damaged.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        frame = load(file)
    if not isinstance(frame, _Frame):
        raise Unfit("holds no data frame")
    try:
        return _columns(frame)
    except Unfit:
        raise
    except Exception as error:  # the state is whatever the file says
        raise Unfit(f"holds a data frame of unknown form ({type(error).__name__})") from error


def _columns(frame: _Frame) -> dict[str, NDArray[Any]]:
    manager = frame.state.get("_mgr", frame.state.get("_data"))
    if manager.arguments:  # since pandas 1.3
        blocks, axes = manager.arguments[:2]
    else:
        # Before, arrays for still older versions stood first; the last entry is by version.
        versions = manager.state[-1]
        form = versions["0.14.1"]
        blocks, axes = form["blocks"], form["axes"]
    names = _labels(axes[0])
    columns: dict[str, NDArray[Any]] = {}
    for block in blocks:
        values = np.asarray(block["values"])
        if values.dtype.kind not in "fiu":
            raise Unfit("holds columns that are no numbers")
        place = np.arange(len(names))[block["mgr_locs"]]
        columns.update(zip((names[k] for k in place), values, strict=True))
    return {name: columns[name] for name in names}


def _labels(axis: _Record) -> list[str]:
    """Return the entries of an index of names."""
    data = axis.arguments[0]["data"]
    if isinstance(data, _Array):
        data = next(part for part in data.state if isinstance(part, np.ndarray))
    return [str(label) for label in data]
