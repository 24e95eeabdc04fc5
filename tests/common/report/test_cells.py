"""The published cells: what is in the file, and how a wrong file is refused."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.errors import UserError
from common.report.cells import UNITS, load_cells, load_paper
from tests.common.report.demo import CELLS, ROOT

PAPER = ROOT / "lu_net" / "paper.yaml"


def test_lu_net_lists_both_tables_of_the_paper_cell_by_cell():
    work, cells = load_paper(PAPER)
    assert work.paper == "lu_net"
    assert len(cells) == 16
    assert len({cell.id for cell in cells}) == len({cell.place for cell in cells}) == 16
    assert Counter((c.table, c.row) for c in cells) == Counter(
        {(t, r): 4 for t in ("complexity", "timing") for r in ("LU-Net", "RealNVP")}
    )
    assert {cell.unit for cell in cells} <= set(UNITS)
    assert all(cell.tolerance.reason and cell.protocol and cell.source for cell in cells)


def test_like_for_like_values_follow_from_the_printed_ones():
    values = {c.id: (c.value, c.like_for_like.value) for c in CELLS if c.like_for_like}
    printed, shared = values["timing/lu_net/density_per_image"]
    # The two counts below have three digits, so they agree with the exact ratio to half a digit.
    assert printed * 256 / 60_000 == pytest.approx(shared, abs=5e-4)
    printed, shared = values["timing/realnvp/density_per_image"]
    assert printed * 128 / 60_000 == pytest.approx(shared, abs=5e-4)
    printed, shared = values["complexity/lu_net/test_nll"]
    assert printed + 0.5 - 0.492 == pytest.approx(shared, abs=5e-4)
    printed, shared = values["complexity/realnvp/test_nll"]
    # Delta itself has three decimals, so the sum is off by up to 1e-3.
    assert printed - 7.9944 + 3.703 == pytest.approx(shared, abs=1e-3)
    printed, shared = values["timing/lu_net/train_epoch"]
    assert 1000 * printed / 235 == pytest.approx(shared, abs=0.06)
    printed, shared = values["timing/realnvp/train_epoch"]
    assert 1000 * printed / 469 == pytest.approx(shared, abs=0.5)


def test_cells_timed_on_the_published_hardware_say_that_it_is_unknown():
    for cell in CELLS:
        if cell.table == "timing" or cell.column == "GPU memory":
            assert "unknown published hardware" in cell.protocol
            assert "hardware is unknown" in cell.tolerance.reason


def _misspelt(cell: dict[str, Any]) -> None:
    cell["colum"] = cell.pop("column")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_misspelt, "unknown key .*colum.*did you mean 'column'"),
        (lambda c: c.update(unit="MB"), "unknown unit 'MB' .did you mean 'MiB'"),
        (lambda c: c.update(value="4.92"), r"value' expected a number, got '4.92' \(str\)"),
        (lambda c: c.update(value=float("nan")), "value' expected a finite number"),
        (lambda c: c.update(direction="smaller"), "direction' expected 'lower', 'higher' or"),
        (lambda c: c.pop("protocol"), "missing key .*protocol"),
        (lambda c: c["tolerance"].pop("reason"), "missing key .*tolerance.reason"),
        (lambda c: c["tolerance"].update(value=-1), "tolerance.value' expected greater than"),
    ],
)
def test_a_wrong_cell_is_refused_in_one_sentence_that_names_it(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], sentence: str
):
    # Through JSON, because cells that share a YAML anchor would otherwise change together.
    raw = json.loads(json.dumps(yaml.safe_load(PAPER.read_text(encoding="utf-8"))))
    change(raw["cells"][3])
    path = tmp_path / "paper.yaml"
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    with pytest.raises(UserError, match=sentence) as caught:
        load_cells(path)
    assert "complexity/realnvp/gpu_memory" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cell_that_stands_there_twice_is_refused(tmp_path: Path):
    raw = yaml.safe_load(PAPER.read_text(encoding="utf-8"))
    raw["cells"].append(raw["cells"][0] | {"id": "another/name"})
    path = tmp_path / "paper.yaml"
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    with pytest.raises(UserError, match="one and the same"):
        load_cells(path)


@pytest.mark.parametrize("text", ["cells: [", "cells: 3", "- 1"])
def test_a_file_that_lists_no_cells_is_refused_with_its_name(tmp_path: Path, text: str):
    path = tmp_path / "paper.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"paper\.yaml"):
        load_cells(path)


def test_a_missing_file_is_refused_with_its_name(tmp_path: Path):
    with pytest.raises(UserError, match=r"nowhere\.yaml: no such file"):
        load_cells(tmp_path / "nowhere.yaml")
