import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lu_net import speed
from lu_net.config import Model, Train
from lu_net.protocol import Timed
from lu_net.speed import counts, measure, milliseconds
from tests.lu_net.invented import images

TIMES = ("step_ms", "optimiser_ms", "epoch_s", "density_ms_per_image", "sampling_ms_per_image")
TIMED = {"sample_batch": 3, "density_items": 50, "repeats": 2}


@pytest.fixture
def folder(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder where the command finds parameters and digits."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/raw").symlink_to(raw)
    realnvp = {"kind": "realnvp", "planes": 2, "final": 1}
    section: dict[str, Any] = {
        "train": {
            "digits": {
                "lu_net": {"model": {"kind": "lu_net", "layers": 2}, "batch": 64},
                "realnvp": {"model": realnvp, "batch": 20},
            }
        },
        "speed": {
            "dataset": "digits",
            "models": {
                "lu_net": {"method": "lu_net", **TIMED},
                "realnvp": {"method": "realnvp", "planes": 3, **TIMED},
            },
        },
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"profile": "fast", "lu_net": section}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(sys, "argv", ["speed", "--device", "cpu"])
    speed.main()
    found: dict[str, Any] = json.loads(Path("results/fast/lu_net/speed.json").read_bytes())
    return found


@pytest.mark.usefixtures("folder")
def test_both_models_are_timed_on_the_digits(monkeypatch: pytest.MonkeyPatch):
    found = run(monkeypatch)
    assert (found["dataset"], found["on_gpu"]) == ("digits", False)
    assert found["threads"] == torch.get_num_threads()
    # 1,438 of 1,797 digits are not in the test split; nothing is held out here.
    for model, batch, steps, planes in (("lu_net", 64, 23, None), ("realnvp", 20, 72, 3)):
        row = found[model]
        assert all(row[key] > 0 for key in TIMES)
        assert row["optimiser_ms"] < row["step_ms"]
        assert (row["items"], row["batch"], row["steps_per_epoch"]) == (1438, batch, steps)
        assert row["epoch_s"] == pytest.approx(steps * row["step_ms"] / 1000)
        assert row["planes"] == planes
        assert (row["density_items"], row["sample_batch"], row["repeats"]) == (50, 3, 2)
        assert not any(key.endswith("_mib") for key in row)


@pytest.mark.usefixtures("folder")
def test_parameters_that_time_nothing_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    text = Path("params.yaml").read_text().replace("repeats: 2", "repeats: 0", 1)
    Path("params.yaml").write_text(text)
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch)
    assert stop.value.code == 2
    assert "lu_net.speed.models.lu_net.repeats' expected greater than 0" in capsys.readouterr().err


def test_the_published_sizes_are_counted():
    assert counts() == {
        "lu_net_free": 2_461_760,
        "lu_net_dense": 4_920_384,
        "realnvp_free": 5_388_264,
    }


def test_a_timed_batch_may_exceed_the_data():
    trained = Train(Model("lu_net", layers=2), batch=64)
    timed = Timed("lu_net", sample_batch=2, density_items=70, repeats=1)
    row = measure(trained, timed, images(), torch.device("cpu"))
    assert (row["items"], row["steps_per_epoch"]) == (27, 1)
    assert row["epoch_s"] == pytest.approx(row["step_ms"] / 1000)


def test_the_median_is_taken_after_a_call_that_is_not_counted(monkeypatch: pytest.MonkeyPatch):
    clock = [0.0]
    monkeypatch.setattr(speed.time, "perf_counter", lambda: clock[0])
    seconds = [100.0, 1.0, 5.0, 2.0]
    calls = []

    def call(i: int) -> None:
        calls.append(i)
        clock[0] += seconds[i]

    assert milliseconds(call, 3, torch.device("cpu")) == pytest.approx(2000)
    assert calls == [0, 1, 2, 3]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_reports_the_memory_of_one_model_alone():
    device = torch.device("cuda")
    trained = Train(Model("lu_net", layers=2), batch=8)
    timed = Timed("lu_net", sample_batch=2, density_items=8, repeats=1)
    alone = measure(trained, timed, images(), device)
    torch.empty(1 << 28, device=device)  # 1 GiB, dropped at once, which the allocator keeps
    again = measure(trained, timed, images(), device)
    assert 0 < again["peak_allocated_mib"] <= again["peak_reserved_mib"]
    assert again["peak_reserved_mib"] == pytest.approx(alone["peak_reserved_mib"], abs=64)
    assert again["peak_reserved_mib"] < again["device_used_mib"]
