import contextlib
import json
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from common.bijections.splines import LinearRational, RationalQuadratic
from lrs_flow import inverse
from lrs_flow.inverse import SETTINGS, SPLINES, accuracy, round_trip_errors, timed
from lrs_flow.protocol import Inverse
from tests.lrs_flow.small import COUPLING, model, vectors
from tests.lrs_flow.workspace import Workspace

CPU = torch.device("cpu")


class Off(LinearRational):
    """A spline whose inverse is off by what it is told."""

    def __init__(self, errors: Tensor) -> None:
        super().__init__()
        self.errors = errors

    def forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        return x, torch.zeros_like(x)

    def inverse(self, y: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        return y + self.errors, torch.zeros_like(y)


def test_errors_are_summarised_over_the_values_that_came_back():
    errors = torch.tensor([0.5, -0.25, torch.nan, torch.inf, 0.0])
    x = torch.tensor([2.9, 0.0, 1.0, 1.0, -3.0])
    found = round_trip_errors(Off(errors), x, torch.zeros(5, 1))
    assert found["mean"] == pytest.approx(0.25)
    assert found["max"] == 0.5
    # The slope is one; floats are 2^-22 apart near 3, 2^-23 at 1, and nowhere near 0.
    assert found["floor"] == pytest.approx((2 * 2**-22 + 2 * 2**-23) / 5 / 4)
    # Of 0, 0.25 and 0.5 the quantile lies at 0.998 of the last step.
    assert found["p999"] == pytest.approx(0.25 + 0.25 * 0.998)
    assert found["not_finite"] == 2
    assert found["outside"] == 2  # 3.4, and infinity


def test_every_spline_is_tried_in_every_setting_and_never_leaves_the_box():
    cfg = Inverse(elements=1000)
    rows = accuracy(cfg)
    assert [(row["setting"], row["spline"]) for row in rows] == [
        (setting, spline) for setting in SETTINGS for spline in SPLINES
    ]
    assert rows == accuracy(cfg)
    for row in rows:
        assert row["mean"] <= row["p999"] <= row["max"] <= 6
        assert row["not_finite"] == row["outside"] == 0, row
    # Float32 resolves 2.4e-7 near 3; a slope of 1e-3 makes that a thousand times worse.
    assert all(row["mean"] < 2e-5 for row in rows if row["setting"] in ("8 bins", "64 bins"))


def test_both_splines_get_the_same_values_and_the_logits_that_they_share(
    monkeypatch: pytest.MonkeyPatch,
):
    seen = {}

    def remember(spline, x: Tensor, raw: Tensor) -> dict:
        assert raw.shape == (50, spline.parameters)
        seen[type(spline), spline.bins, len(seen) // 2] = x, raw
        return {}

    monkeypatch.setattr(inverse, "round_trip_errors", remember)
    accuracy(Inverse(elements=50))
    for number, (bins, sizes, rest) in enumerate(SETTINGS.values()):
        x, lrs = seen[LinearRational, bins, number]
        other, rq = seen[RationalQuadratic, bins, number]
        assert torch.equal(x, other)
        assert torch.equal(lrs[:, : 2 * bins], rq[:, : 2 * bins])
        assert torch.equal(lrs[:, 3 * bins :], rq[:, 2 * bins :])
        assert bool((x.abs() <= 3).all())
        assert x.dtype == lrs.dtype == torch.float32
        # The deviation of at least 350 numbers, to four standard errors.
        assert lrs[:, : 2 * bins].std().item() == pytest.approx(sizes, rel=0.11)
        assert rq[:, 2 * bins :].std().item() == pytest.approx(rest, rel=0.16)


def test_times_of_two_models_are_compared_round_by_round(monkeypatch: pytest.MonkeyPatch):
    banks = {name: model(COUPLING, vectors(), 2) for name in ("lrs_c", "rq_c")}
    drawn: list[tuple[str, int]] = []
    clock = [0.0]
    for name, bank in banks.items():
        # The first draw of each is slow; later ones take one second, and two or four.
        def sample(n: int, generator: torch.Generator, name: str = name) -> None:
            drawn.append((name, n))
            took = {"lrs_c": 1.0, "rq_c": 2.0 if len(drawn) < 8 else 4.0}[name]
            clock[0] += 100.0 if len(drawn) <= 2 else took

        monkeypatch.setattr(bank, "sample", sample)
    monkeypatch.setattr(inverse.time, "perf_counter", lambda: clock[0])
    cfg = Inverse(samples=10, rounds=4, dataset="wine")
    found = timed(cfg, banks, "lrs_c", "rq_c", CPU)
    assert set(drawn) == {("lrs_c", 5), ("rq_c", 5)}  # ten samples, half from each of two models
    assert [name for name, _ in drawn[:4]] == ["rq_c", "lrs_c", "lrs_c", "rq_c"]  # they take turns
    assert len(drawn) == 2 * 5
    assert (found["ms"], found["peer_ms"]) == (1000, 3000)
    assert (found["ratio_q1"], found["ratio"], found["ratio_q3"]) == (2, 3, 4)
    assert found["samples"] == 10
    assert (found["dataset"], found["method"], found["peer"]) == ("wine", "lrs_c", "rq_c")


def run(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["inverse"])
    inverse.main()


def test_a_single_method_has_nothing_to_be_compared_with(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    workspace.parameters["inverse"]["methods"] = ["lrs_c"]
    workspace.write_params()
    with pytest.raises(SystemExit):
        run(monkeypatch, workspace.folder)
    assert "methods must name at least two" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_measures_trained_models(workspace: Workspace, monkeypatch: pytest.MonkeyPatch):
    methods = workspace.parameters["train"]["wine"]
    methods["rq_c"] = {**methods["lrs_c"], "model": {**methods["lrs_c"]["model"], "kind": "rq"}}
    workspace.write_params()
    for method in ("lrs_c", "rq_c"):
        methods[method]["stop"] = 4
        assert workspace.train("wine", method).code == 0
    # Compiling all settings takes minutes.
    monkeypatch.setattr(inverse, "use_backend", lambda _: contextlib.nullcontext())
    run(monkeypatch, workspace.folder)
    found = json.loads(Path("results/fast/lrs_flow/inverse.json").read_text())
    assert len(found["accuracy"]) == 2 * len(SETTINGS)
    (row,) = found["time"]
    assert row["ms"] > 0
    assert row["ratio_q1"] <= row["ratio"] <= row["ratio_q3"]
    assert found["device"]
