"""The published cells: what is in the file."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

import monotone_flow
from common.report.cells import UNITS, load_paper
from monotone_flow.toys import TOYS

PAPER = Path(monotone_flow.__file__).with_name("paper.yaml")
WORK, CELLS = load_paper(PAPER)
BY_ID = {cell.id: cell for cell in CELLS}
# The differential entropy of each set in nats, below which no mean can lie.
FLOORS = {
    "2spirals": 2.642,
    "8gaussians": 2.836,
    "checkerboard": 3.466,
    "circles": 3.267,
    "moons": 2.396,
    "pinwheel": 2.314,
    "rings": 2.621,
    "swissroll": 2.666,
}


def test_the_file_lists_the_figure_and_both_tables_cell_by_cell():
    assert WORK.paper == "monotone_flow"
    assert Counter((cell.table, cell.unit, cell.direction) for cell in CELLS) == {
        ("fit", "mse", "lower"): 4,
        ("toys", "nats", "lower"): 8 * 2,
        ("images", "bits/dim", "lower"): 24,
        ("images", "million", "equal"): 19,
    }
    assert {cell.unit for cell in CELLS} <= set(UNITS)
    assert {cell.published_se for cell in CELLS} == {None}


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("fit/residual/mse", 1.6e-2),
        ("fit/scaled_residual/mse", 5.8e-3),
        ("fit/scaled_mixed/mse", 4.5e-3),
        ("fit/monotone/mse", 7.6e-5),
        ("toys/monotone/2spirals", 2.658),
        ("toys/monotone/swissroll", 2.676),
        ("toys/i_densenet/2spirals", 2.729),
        ("toys/i_densenet/rings", 2.884),
        ("images/monotone/mnist_bits", 0.928),
        ("images/monotone/imagenet64_bits", 3.734),
        ("images/monotone_vdq/imagenet32_bits", 3.901),
        ("images/residual_flow/cifar10_bits", 3.28),
        ("images/real_nvp/imagenet32_bits", 4.28),
        ("images/monotone/mnist_parameters", 20.9),
        ("images/monotone_vdq/imagenet32_parameters", 69.0),
        ("images/i_resnet/cifar10_parameters", 44.2),
        ("images/glow/imagenet64_parameters", 111.1),
    ],
)
def test_printed_numbers_stand_in_the_file(place, value):
    assert BY_ID[place].value == value


def test_rows_that_merge_a_group_keep_its_words_and_their_own_places():
    shown = {"mnist": "MNIST", "cifar10": "CIFAR-10"}
    shown |= {f"imagenet{size}": f"ImageNet-{size}" for size in (32, 64)}
    for cell in CELLS:
        table, _, column = cell.id.split("/")
        assert cell.table == table
        if table == "images":
            dataset, _, kind = column.partition("_")
            assert cell.column == shown[dataset] + (" parameters" if kind == "parameters" else "")
            assert cell.unit == {"bits": "bits/dim", "parameters": "million"}[kind]
        if table == "toys":
            assert cell.column.lower().replace(" ", "") == column
    rows = Counter(cell.row for cell in CELLS if cell.table != "fit")
    ids = Counter(cell.id.split("/")[1] for cell in CELLS if cell.table != "fit")
    assert sorted(rows.values()) == sorted(ids.values())


def test_a_number_of_another_paper_says_so():
    for cell in CELLS:
        quoted = cell.table == "images" and not cell.row.startswith("Monotone Flow")
        assert quoted == ("quoted by the slides" in cell.source), cell.id


def test_no_toy_score_lies_below_the_entropy_of_its_set():
    assert set(FLOORS) == set(TOYS)
    for method in ("monotone", "i_densenet"):
        for name, floor in FLOORS.items():
            assert BY_ID[f"toys/{method}/{name}"].value > floor


def test_tolerances_are_no_wider_than_what_the_paper_claims():
    """A tolerance that reaches from a method to the one it beats could not tell them apart."""
    fit = [BY_ID[f"fit/{row}/mse"] for row in ("monotone", "scaled_mixed")]
    fit += [BY_ID[f"fit/{row}/mse"] for row in ("scaled_residual", "residual")]
    for better, worse in pairwise(fit):
        assert better.value + better.tolerance.value < worse.value
    for name in ("rings", "2spirals", "checkerboard", "pinwheel"):
        better, worse = BY_ID[f"toys/monotone/{name}"], BY_ID[f"toys/i_densenet/{name}"]
        assert better.value + 2 * better.tolerance.value < worse.value
    for cell in CELLS:
        if cell.table == "images":
            digits = 3 if cell.row.startswith("Monotone") and cell.unit == "bits/dim" else 2
            half = 0.05 if cell.unit == "million" else 0.5 * 10**-digits
            assert cell.tolerance.value == pytest.approx(half)
