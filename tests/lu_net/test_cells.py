from collections.abc import Mapping
from typing import Any

import pytest

from common.report.cells import load_paper
from common.report.ledger import LedgerRow, Measurement, join
from lu_net.cells import TITLES, Results, measurements
from lu_net.config import Model, Train
from lu_net.protocol import Cells
from lu_net.tables import PAPER
from tests.lu_net.invented import metrics, speed

WORK, CELLS = load_paper(PAPER)
MNIST = Cells("mnist")
TRAINED = {
    ("mnist", "lu_net"): Train(Model("lu_net")),
    ("mnist", "lu_net_published"): Train(Model("lu_net"), objective="published", select="test"),
    ("mnist", "realnvp"): Train(Model("realnvp", scaled_down="16 planes instead of 64")),
}
FULL = {**TRAINED, ("mnist", "realnvp"): Train(Model("realnvp"))}


def results(**other: dict[str, Any]) -> Results:
    found = {"lu_net": metrics(1.9), "lu_net_published": metrics(6.5), "realnvp": metrics(1.6)}
    return {("mnist", method): value for method, value in {**found, **other}.items()}


def measured(
    times: dict[str, Any],
    found: Results | None = None,
    cfg: Cells = MNIST,
    trained: Mapping[tuple[str, str], Train] = TRAINED,
) -> dict[str, Measurement]:
    every = measurements(cfg, found or results(), dict(trained), times)
    known = {one.id: one for one in every}
    assert len(known) == len(every)
    return known


def rows(times: dict[str, Any], found: Results | None = None, **other: Any) -> list[LedgerRow]:
    return join(WORK.paper, CELLS, measured(times, found, **other).values())


def row(name: str, times: dict[str, Any], found: Results | None = None, **other: Any) -> LedgerRow:
    ids = [cell.id for cell in CELLS]
    return rows(times, found, **other)[ids.index(name)]


@pytest.mark.parametrize("on_gpu", [False, True])
def test_every_published_cell_has_exactly_one_measurement(on_gpu: bool):
    assert len(CELLS) == 16
    assert set(measured(speed(on_gpu))) == {cell.id for cell in CELLS}
    joined = rows(speed(on_gpu))
    assert len(joined) == 16
    assert {one.table for one in joined} == set(TITLES)
    assert [one.row for one in joined] == [cell.row for cell in CELLS]


def test_away_from_a_gpu_times_are_shown_and_not_counted():
    joined = rows(speed(on_gpu=False))
    times = [one for one in joined if one.table == "timing"]
    assert len(times) == 8
    for one in times:
        assert one.verdict == "scaled down"
        assert "CPU threads: 2 (A processor), no GPU" in one.reason
        assert one.measured != ""
    memory = [one for one in joined if one.column == "GPU memory"]
    assert [one.verdict for one in memory] == ["not run", "not run"]


def test_on_a_gpu_times_and_memory_count():
    joined = rows(speed(on_gpu=True))
    for one in joined:
        if one.table == "timing" or one.column == "GPU memory":
            assert one.verdict == "reproduced"  # the invented ones are all better
    memory = row("complexity/lu_net/gpu_memory", speed(on_gpu=True))
    assert (memory.measured, memory.measured_standard) == ("900", "100")
    assert "120 MiB reserved by the allocator at batch 256" in memory.reason
    slow = speed(on_gpu=True)
    slow["lu_net"]["epoch_s"] = 8.0
    assert row("timing/lu_net/train_epoch", slow).verdict == "not reproduced"


def test_another_data_set_or_a_smaller_model_counts_nowhere():
    stand_in = Cells("mnist", scaled_down="8x8 digits instead of MNIST")
    for one in rows(speed(on_gpu=True), cfg=stand_in, trained=FULL):
        exact = one.column == "weight parameters"  # of the published size, whatever was trained
        assert one.verdict == ("reproduced" if exact else "scaled down")
    for one in rows(speed(on_gpu=True, planes=16), trained=FULL):
        if one.row == "RealNVP" and (one.table == "timing" or one.column == "GPU memory"):
            assert one.verdict == "scaled down"
            assert one.reason.startswith("16 planes instead of 64")
    likelihood = row("complexity/realnvp/test_nll", speed())
    assert likelihood.verdict == "scaled down"
    assert row("complexity/realnvp/test_nll", speed(), trained=FULL).verdict == "not reproduced"


def test_weights_are_counted_as_published_and_as_free_ones():
    lu_net = row("complexity/lu_net/weight_parameters", speed())
    assert (lu_net.measured, lu_net.measured_standard) == ("4.920384", "2.46176")
    realnvp = row("complexity/realnvp/weight_parameters", speed())
    assert (realnvp.measured, realnvp.measured_standard) == ("5.388264", "5.388264")
    assert (lu_net.verdict, realnvp.verdict) == ("reproduced", "reproduced")
    assert "2,461,760 free parameters" in lu_net.reason


def test_times_are_given_as_published_and_like_for_like():
    found = measured(speed())
    density = found["timing/lu_net/density_per_image"]
    # A pass over 60,000 images at 0.02 ms each is 1,200 ms; the paper divides it by 256, not by n.
    assert density.measured == pytest.approx(1200 / 256)
    assert density.measured_standard == pytest.approx(0.02)
    half = measured(speed(batch=128))["timing/realnvp/density_per_image"]
    assert half.measured == pytest.approx(1200 / 128)
    assert half.measured_standard == pytest.approx(0.02)
    epoch = found["timing/lu_net/train_epoch"]
    assert (epoch.measured, epoch.measured_standard) == (0.705, 3.0)
    step = found["timing/realnvp/optimization_step"]
    assert (step.measured, step.measured_standard) == (0.5, 3.0)
    sampling = found["timing/realnvp/sampling_per_image"]
    assert (sampling.measured, sampling.measured_standard) == (0.04, 0.04)


def test_likelihoods_are_in_the_published_units_beside_the_standard_ones():
    lu_net = measured(speed())["complexity/lu_net/test_nll"]
    assert lu_net.measured == pytest.approx(1.9 + 0.25 - 0.5)
    assert lu_net.measured_standard == pytest.approx(1.9)
    assert lu_net.measured_se == 0.012
    assert "selected on validation images" in lu_net.note
    assert "selected on test, prints 6.250 (6.500 standard)" in lu_net.note
    realnvp = measured(speed())["complexity/realnvp/test_nll"]
    assert realnvp.measured == pytest.approx(1.6 + 0.25 + 7.99435, abs=1e-5)
    assert "published objective" not in realnvp.note
    swapped = {("mnist", "lu_net"): Train(Model("lu_net"), select="test")}
    note = measured(speed(), trained={**TRAINED, **swapped})["complexity/lu_net/test_nll"].note
    assert "selected on test images" in note


def test_the_ranking_in_the_note_is_that_of_the_published_cells():
    standard = {
        cell.row: cell.like_for_like.value
        for cell in CELLS
        if cell.column == "test NLL" and cell.like_for_like
    }
    words = f"RealNVP {standard['RealNVP']:.2f} and LU-Net {standard['LU-Net']:.2f}"
    assert words in measured(speed())["complexity/lu_net/test_nll"].note


@pytest.mark.parametrize("method", ["lu_net", "realnvp"])
def test_a_diverged_training_is_said_in_place_of_its_likelihood(method: str):
    found = results(**{method: metrics(1.9, "diverged", epochs=3)})
    nll = row(f"complexity/{method}/test_nll", speed(), found, trained=FULL)
    assert nll.measured == "diverged"
    assert nll.measured_standard == ""
    assert nll.verdict == "not reproduced"
    assert "the loss left the finite numbers after epoch 3" in nll.reason
    epochs = row(f"complexity/{method}/epochs", speed(), found, trained=FULL)
    assert (epochs.measured, epochs.verdict) == ("3", "not reproduced")


def test_a_diverged_published_objective_is_said_in_the_note():
    found = results(lu_net_published=metrics(6.5, "diverged", epochs=2))
    nll = row("complexity/lu_net/test_nll", speed(), found)
    assert nll.verdict == "reproduced"
    assert (
        "the published objective, selected on test, diverged: the loss left the finite numbers "
        "after epoch 2" in nll.reason
    )
    assert "6.250" not in nll.reason


def test_likelihoods_that_are_not_finite_count_as_diverged():
    broken = metrics()
    for scores in broken["test"].values():
        if isinstance(scores, dict):
            scores["mean"] = scores["se"] = "not finite"
    nll = row("complexity/lu_net/test_nll", speed(), results(lu_net=broken))
    assert nll.measured == "diverged"
    assert "the test likelihood is not finite" in nll.reason
    found = results(lu_net_published=broken)
    assert "not finite" in row("complexity/lu_net/test_nll", speed(), found).reason
    lonely = metrics()  # one test image per class has no standard error
    lonely["test"]["lu_net_units"]["se"] = "not finite"
    assert (
        measured(speed(), results(lu_net=lonely))["complexity/lu_net/test_nll"].measured_se is None
    )
