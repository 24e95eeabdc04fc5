import io
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from common.datasets import unpickle
from common.datasets.source import Unfit


class _Python2Pickler(pickle._Pickler):
    """Write byte strings as Python 2 did."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_string(self, text):
        self.write(pickle.BINSTRING + struct.pack("<i", len(text)) + text)
        self.memoize(text)

    dispatch[bytes] = save_string


def python2(value: object) -> bytes:
    content = io.BytesIO()
    _Python2Pickler(content, protocol=2).dump(value)
    return content.getvalue().replace(b"numpy._core.", b"numpy.core.")


class OldIndex:
    pass


class OldManager:
    def __init__(self, state):
        self.state = state

    def __reduce__(self):
        return OldManager, (), self.state


class OldFrame:
    pass


def old_index(kind, arguments):
    raise AssertionError("only its name is pickled")


class _Labels:
    def __init__(self, data):
        self.data = data

    def __reduce__(self):
        return old_index, (OldIndex, {"data": self.data, "name": None})


def old_pickle(names: list[str], blocks: list[tuple[np.ndarray, object]]) -> bytes:
    """Return a frame as pandas wrote it before version 1, by Python 2."""
    axes = [_Labels(np.array(names, dtype=object)), _Labels(np.arange(blocks[0][0].shape[1]))]
    form = [{"values": values, "mgr_locs": place} for values, place in blocks]
    state = (axes, [], [], {"0.14.1": {"axes": axes, "blocks": form}})
    frame = OldFrame()
    frame._data = OldManager(state)
    frame._typ = "dataframe"
    content = python2(frame)
    here = __name__.encode()
    for ours, theirs in (
        (b"OldFrame", b"pandas.core.frame\nDataFrame"),
        (b"OldManager", b"pandas.core.internals\nBlockManager"),
        (b"OldIndex", b"pandas.indexes.base\nIndex"),
        (b"old_index", b"pandas.indexes.base\n_new_Index"),
    ):
        assert here + b"\n" + ours in content
        content = content.replace(here + b"\n" + ours, theirs)
    return content


def write(folder: Path, content: bytes) -> Path:
    path = folder / "frame.pickle"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("index", [None, [3, 1, 2]])
def test_a_frame_of_numbers_is_read_whatever_the_protocol(protocol, index, tmp_path):
    frame = pd.DataFrame({"a": [0.5, 1.5, 2.5], "n": [1, 2, 3], "b": [4.5, 5.5, 6.5]}, index=index)
    columns = unpickle.load_frame(write(tmp_path, pickle.dumps(frame, protocol)))
    assert list(columns) == ["a", "n", "b"]
    for name, values in columns.items():
        assert np.array_equal(values, frame[name])


def test_a_frame_of_the_older_form_is_read(tmp_path):
    x = np.random.default_rng(0).standard_normal((2, 7))
    n = np.arange(7)[None]
    content = old_pickle(["a", "n", "b"], [(x, slice(0, 3, 2)), (n, np.array([1]))])
    columns = unpickle.load_frame(write(tmp_path, content))
    assert list(columns) == ["a", "n", "b"]
    assert np.array_equal(columns["a"], x[0])
    assert np.array_equal(columns["b"], x[1])
    assert np.array_equal(columns["n"], n[0])


class _Call:
    def __init__(self, function, *arguments):
        self.function = function
        self.arguments = arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize(
    "function", [os.mkdir, eval, getattr, np.load, pd.read_pickle, pd.eval, io.open]
)
def test_a_function_in_a_pickle_is_refused_and_not_called(function, tmp_path):
    target = tmp_path / "made"
    path = write(tmp_path, pickle.dumps(_Call(function, str(target), "x")))
    with pytest.raises(Unfit, match=r"asks for .*, which no table of numbers needs"):
        unpickle.load_frame(path)
    assert not target.exists()


def test_a_pickle_of_something_else_is_refused(tmp_path):
    for value in ([1, 2], {"a": np.ones(3)}, None):
        with pytest.raises(Unfit, match="holds no data frame"):
            unpickle.load_frame(write(tmp_path, pickle.dumps(value)))


@pytest.mark.parametrize("cut", [0, 1, 40, 300, -1])
def test_a_cut_pickle_is_refused(cut, tmp_path):
    content = pickle.dumps(pd.DataFrame({"a": [0.5, 1.5], "b": [2.5, 3.5]}))
    with pytest.raises(Unfit, match="is not a readable pickle"):
        unpickle.load_frame(write(tmp_path, content[:cut]))


def test_a_frame_without_its_parts_is_refused(tmp_path):
    content = old_pickle(["a"], [(np.zeros((1, 2)), slice(0, 1))]).replace(b"0.14.1", b"0.99.9")
    with pytest.raises(Unfit, match="holds a data frame of unknown form"):
        unpickle.load_frame(write(tmp_path, content))


def test_arrays_of_python_2_are_read():
    x = np.arange(6, dtype=np.uint8).reshape(2, 3)
    batch = unpickle.load(io.BytesIO(python2({b"data": x, b"labels": [3, 1]})))
    assert np.array_equal(batch["data"], x)
    assert batch["labels"] == [3, 1]
