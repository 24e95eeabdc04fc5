from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from common.datasets import maf_files
from common.datasets.npz import read_npy, read_npz
from common.datasets.raw import content_fault
from common.datasets.source import RawFile, Unfit

WEB_PAGE = b"<!DOCTYPE html>\n<html><body>Sign in</body></html>\n"
POWER_HEAD = (
    "Date;Time;Global_active_power;Global_reactive_power;Voltage;Global_intensity;"
    "Sub_metering_1;Sub_metering_2;Sub_metering_3\n"
)
POWER_TEXT = POWER_HEAD + (
    "16/12/2006;17:24:00;4.216;0.418;234.840;18.400;0.000;1.000;17.000\n"
    "16/12/2006;17:25:00;?;?;?;?;?;?;\n"
    "16/12/2006;00:01:00;5.360;0.436;233.630;23.000;0.000;1.000;16.000\n"
)


def save(folder: Path, content: str | bytes, name: str = "file") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_power_text_gives_complete_rows_and_the_minute_of_the_day(tmp_path):
    x = maf_files.read_power_text(save(tmp_path, POWER_TEXT), rows=2)
    expected = [
        [4.216, 0.418, 234.84, 18.4, 0, 1, 17, 17 * 60 + 24],
        [5.36, 0.436, 233.63, 23, 0, 1, 16, 1],
    ]
    assert np.array_equal(x, expected)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (POWER_TEXT[: POWER_TEXT.rindex("16/12")], "has 1 rows, expected 2"),
        (POWER_TEXT.replace("Voltage", "Tension"), "lacks the column 'Voltage'"),
        (POWER_TEXT.replace("4.216", "much"), "holds something that is no number"),
        (POWER_TEXT.replace("17:24:00", "noon"), "holds something that is no number"),
        (POWER_TEXT.replace("4.216", "inf"), "holds values that are not finite"),
        ("", "is not a readable table"),
        (b"\xff\xfe\x9d", "is not a readable table|lacks the column"),
    ],
)
def test_damaged_power_text_is_refused(text, problem, tmp_path):
    with pytest.raises(Unfit, match=problem):
        maf_files.read_power_text(save(tmp_path, text), rows=2)


def test_a_fragment_of_power_drops_missing_minutes(tmp_path):
    values = np.arange(21.0).reshape(3, 7)
    values[1, 2] = np.nan
    np.savez(tmp_path / "f.npz", values=values, minute_of_day=np.array([5, 6, 7], np.int16))
    x = maf_files.read_power_fragment(tmp_path / "f.npz")
    assert np.array_equal(x, np.column_stack((values, [5, 6, 7]))[[0, 2]])
    np.savez(tmp_path / "f.npz", values=values[:, :6], minute_of_day=np.arange(3))
    with pytest.raises(Unfit, match=r"holds values \(3, 6\)"):
        maf_files.read_power_fragment(tmp_path / "f.npz")


def hepmass(rows: int = 4, extra: str = "") -> str:
    head = "# label," + ",".join(f"f{k}" for k in range(27)) + "\n"
    lines = [
        ",".join([f"{k % 2}.0", *(f"{k + 0.01 * j:.2f}" for j in range(27))]) + extra
        for k in range(rows)
    ]
    return head + "\n".join(lines) + "\n"


@pytest.mark.parametrize(("extra", "features"), [("", 27), (",", 27), (",1000.0", 28)])
def test_hepmass_keeps_signal_rows_whatever_trails_them(extra, features, tmp_path):
    x = maf_files.read_hepmass(save(tmp_path, hepmass(4, extra)), rows=2)
    assert x.shape == (2, features)
    np.testing.assert_allclose(x[:, 0], [1, 3])
    np.testing.assert_allclose(x[:, 26], [1.26, 3.26])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (hepmass(3), "has 1 rows, expected 2"),
        (hepmass(4).replace("1.05", "nan"), "holds values that are not finite"),
        (hepmass(4).replace("1.05", "x"), "holds something that is no number"),
        (hepmass(4).replace("\n1.0,", "\n2.0,"), "has labels other than 0 and 1"),
        (hepmass(4) + "1,2,3," + "4," * 40 + "\n", "is not a readable table"),
        ("label,a,b\n", "is not a readable table|labels"),
    ],
)
def test_damaged_hepmass_is_refused(text, problem, tmp_path):
    with pytest.raises(Unfit, match=problem):
        maf_files.read_hepmass(save(tmp_path, text), rows=2)


def test_a_cut_line_of_hepmass_is_refused(tmp_path):
    text = hepmass(4)
    with pytest.raises(Unfit, match="holds values that are not finite"):
        maf_files.read_hepmass(save(tmp_path, text[:-30]), rows=2)


def miniboone(signal: np.ndarray, background: int = 2) -> str:
    rows = [" ".join(f"{v:.5f}" for v in row) for row in signal]
    rows += [" ".join(["9.0"] * 50)] * background
    return f" {len(signal)} {background}\n" + "\n".join(rows) + "\n"


@pytest.fixture
def particles() -> np.ndarray:
    signal = np.random.default_rng(0).standard_normal((20, 50)).round(5)
    signal[:8, 49] = -7.0
    signal[3] = -999.0
    return signal


def test_miniboone_text_gives_signal_rows_after_the_published_rule(particles, tmp_path):
    x = maf_files.read_miniboone_text(save(tmp_path, miniboone(particles)), shape=(19, 49))
    assert np.array_equal(x, np.delete(particles, 3, axis=0)[:, :49])


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda t: t[: len(t) // 3], "is no table of particles|signal values, expected"),
        (lambda t: t.replace(" 20 2", " 30 2"), r"holds \(22, 50\) signal values, expected \(30"),
        (lambda t: t.replace(" 20 2", " 18 4"), r"leaves \(17, 49\) after the published rule"),
        (lambda t: t.replace("-7.00000", "nan", 1), "holds values that are not finite"),
        (lambda t: t[6:], "is no table of particles"),
        (lambda t: "", "is no table of particles"),
        (lambda t: WEB_PAGE.decode(), "is no table of particles"),
    ],
)
def test_damaged_miniboone_text_is_refused(edit, problem, particles, tmp_path):
    path = save(tmp_path, edit(miniboone(particles)))
    with pytest.raises(Unfit, match=problem):
        maf_files.read_miniboone_text(path, shape=(19, 49))


def test_tables_of_numpy_are_held_to_their_shape_and_to_finite_values(tmp_path):
    path = tmp_path / "data.npy"
    x = np.random.default_rng(0).standard_normal((5, 3))
    np.save(path, x)
    assert np.array_equal(read_npy(path, 3, 5), x)
    with pytest.raises(Unfit, match="has 5 rows, expected 6"):
        read_npy(path, 3, 6)
    with pytest.raises(Unfit, match=r"holds float64 \(5, 3\), expected a table of 4 columns"):
        read_npy(path, 4)
    content = path.read_bytes()
    path.write_bytes(content[:-9])
    with pytest.raises(Unfit, match=r"is not a readable .npy"):
        read_npy(path, 3)
    path.write_bytes(WEB_PAGE)
    with pytest.raises(Unfit, match=r"is not a readable .npy"):
        read_npy(path, 3)
    x[2, 1] = np.inf
    np.save(path, x)
    with pytest.raises(Unfit, match="not finite"):
        read_npy(path, 3)


def test_an_object_array_is_not_unpickled(tmp_path):
    path = tmp_path / "data.npy"
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(Unfit, match=r"is not a readable .npy"):
        read_npy(path, 3)
    np.savez(tmp_path / "data.npz", x=np.array([{}], dtype=object))
    with pytest.raises(Unfit, match=r"is not a readable .npz"):
        read_npz(tmp_path / "data.npz", ("x",))


def test_the_pieces_of_miniboone_are_held_to_their_shapes(tmp_path, monkeypatch):
    shapes = {"val_normalised": (4, 2), "test_normalised": (3, 2), "train_raw_head": (2, 2)}
    monkeypatch.setattr(maf_files, "PARTIAL_SHAPES", shapes)
    arrays = {name: np.full(shape, len(name)) * 1.0 for name, shape in shapes.items()}
    path = tmp_path / "m.npz"
    np.savez(path, **arrays)
    valid, test, head = maf_files.read_miniboone_partial(path)
    assert (valid.shape, test.shape, head.shape) == tuple(shapes.values())
    np.savez(path, **{**arrays, "test_normalised": np.zeros((3, 1))})
    with pytest.raises(Unfit, match=r"holds 'test_normalised' \(3, 1\), expected \(3, 2\)"):
        maf_files.read_miniboone_partial(path)
    arrays["train_raw_head"][0, 0] = np.nan
    np.savez(path, **arrays)
    with pytest.raises(Unfit, match="not finite"):
        maf_files.read_miniboone_partial(path)
    np.savez(path, val_normalised=arrays["val_normalised"])
    with pytest.raises(Unfit, match="lacks the array 'test_normalised'"):
        maf_files.read_miniboone_partial(path)


def gas(rows: int = 5, sensors: int = 16) -> pd.DataFrame:
    x = np.random.default_rng(0).standard_normal((rows, 3 + sensors))
    return pd.DataFrame(x, columns=["Time", "Meth", "Eth", *(f"s{k}" for k in range(sensors))])


def test_gas_gives_the_sensors_in_their_order(tmp_path):
    frame = gas()
    frame.to_pickle(tmp_path / "gas.pickle")
    x = maf_files.read_gas(tmp_path / "gas.pickle", rows=5)
    assert np.array_equal(x, frame.iloc[:, 3:].to_numpy())


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        (gas(rows=4), "has 4 rows, expected 5"),
        (gas(sensors=15), "has 15 sensors, expected 16"),
        (gas().rename(columns={"Eth": "CO"}), "lacks the column 'Eth'"),
        (gas().replace(gas().iloc[2, 7], np.nan), "not finite"),
        (gas().astype({"s3": str}), "asks for|no numbers|unknown form"),
    ],
)
def test_another_frame_than_gas_is_refused(frame, problem, tmp_path):
    frame.to_pickle(tmp_path / "gas.pickle")
    with pytest.raises(Unfit, match=problem):
        maf_files.read_gas(tmp_path / "gas.pickle", rows=5)


def test_a_web_page_is_called_one_by_whatever_verifies_a_file(tmp_path):
    file = RawFile("x", None, (), "x", read=maf_files.read_power_npy, content="a table")
    path = save(tmp_path, WEB_PAGE)
    assert content_fault(path, file) == "looks like a web page, not data"
    np.save(tmp_path / "x.npy", np.zeros((2, 8)))
    assert content_fault(tmp_path / "x.npy", file) == "has 2 rows, expected 2,049,280"
