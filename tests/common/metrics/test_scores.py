import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.errors import UserError
from common.metrics.scores import finite, read_arrays, read_metrics, write_scores

METRICS: dict[str, Any] = {"test": {"mean": 0.1 + 0.2, "per_model": [1.0, 2.0]}, "models": 2}
ARRAYS = {
    "test": torch.tensor([[1.0, math.nan]]),
    "samples": torch.arange(6, dtype=torch.uint8).view(2, 3),
}


def test_numbers_and_arrays_come_back(tmp_path: Path):
    write_scores(tmp_path / "a/b", METRICS, ARRAYS)
    assert read_metrics(tmp_path / "a/b") == METRICS
    arrays = read_arrays(tmp_path / "a/b")
    assert set(arrays) == set(ARRAYS)
    for name, tensor in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], tensor.numpy())
        assert arrays[name].dtype == tensor.numpy().dtype


def test_equal_content_gives_equal_bytes_on_another_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_scores(tmp_path / "a", METRICS, ARRAYS)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 86_400)
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(now + 86_400))
    write_scores(tmp_path / "b", dict(reversed(METRICS.items())), ARRAYS)
    for name in ("metrics.json", "arrays.npz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_what_is_not_finite_is_said_in_words_that_json_can_hold(tmp_path: Path):
    metrics = {"a": [math.nan, 1.0, (math.inf, -math.inf)], 3: {"b": math.nan}, "c": None}
    expected = {
        "a": ["not finite", 1.0, ["not finite"] * 2],
        "3": {"b": "not finite"},
        "c": None,
    }
    assert finite(metrics) == expected
    write_scores(tmp_path, metrics, {})

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    text = (tmp_path / "metrics.json").read_text()
    assert json.loads(text, parse_constant=refuse) == expected
    assert read_arrays(tmp_path) == {}


def test_missing_files_say_what_to_do(tmp_path: Path):
    for read, name in ((read_metrics, "metrics.json"), (read_arrays, "arrays.npz")):
        with pytest.raises(UserError, match=f"{name}: not found; run the evaluation first"):
            read(tmp_path)


@pytest.mark.parametrize("content", [b"{", b"[1]", b"3", b"\xff", b""])
def test_damaged_numbers_are_named(tmp_path: Path, content: bytes):
    (tmp_path / "metrics.json").write_bytes(content)
    with pytest.raises(UserError, match=r"metrics\.json: .*; run the evaluation again"):
        read_metrics(tmp_path)


@pytest.mark.parametrize("damage", ["torn", "text", "flipped"])
def test_damaged_arrays_are_named(tmp_path: Path, damage: str):
    write_scores(tmp_path, {}, ARRAYS)
    path = tmp_path / "arrays.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 255
    whole = {"torn": path.read_bytes()[:100], "text": b"not an archive", "flipped": bytes(content)}
    path.write_bytes(whole[damage])
    with pytest.raises(UserError, match=r"arrays\.npz: damaged .*; run the evaluation again"):
        read_arrays(tmp_path)


def test_arrays_of_code_are_refused_and_not_executed(tmp_path: Path):
    code: Any = np.array([lambda: None], dtype=object)[:0]
    np.savez(tmp_path / "arrays.npz", evil=code)
    with pytest.raises(UserError, match="damaged"):
        read_arrays(tmp_path)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be created"):
        write_scores(tmp_path / "file/scores", METRICS, ARRAYS)
