import csv
import json
import sys

import pytest
import torch
import yaml

from inverse_problems import memory
from inverse_problems.memory import WAYS, Memory, Steps, differences, measure, summary, verdicts

SMALL = {"depths": [1, 3], "size": 4, "channels": 4, "batch": 3, "compared": 2, "rounds": 2}


@pytest.fixture(scope="module")
def rows():
    cfg = Memory(**(SMALL | {"depths": (1, 3)}))
    return [row for depth in cfg.depths for row in measure(cfg, depth, torch.device("cpu"))]


def test_every_way_has_a_row_at_every_depth(rows):
    assert [(row["depth"], row["backprop"]) for row in rows] == [
        (depth, way) for depth in (1, 3) for way in WAYS
    ]
    for row in rows:
        assert row["seconds"] > 0
        assert row["ratio_q1"] <= row["ratio"] <= row["ratio_q3"]
        assert row["difference_float64"] < 1e-10
        assert row["difference_float32"] < 1e-3
        assert (row["reconstruction_error"] is None) == (row["backprop"] in WAYS[:2])
        assert row["fallbacks"] == 0


def test_bytes_are_those_that_autograd_keeps(rows):
    kept = {(row["depth"], row["backprop"]): row["saved_bytes"] for row in rows}
    # Input and output of the chain, three float32 images of 4 x 4 each; that of plain rescaling
    # needs none. The loss keeps nothing but the output.
    assert kept[1, "reuse"] == kept[3, "invertible"] == 2 * 3 * 16 * 4
    assert kept[1, "plain"] > kept[1, "checkpoint"] > kept[1, "reuse"]
    assert kept[3, "plain"] > 2 * kept[1, "plain"]


def test_the_ways_share_their_weights_and_differ_in_nothing_but_rounding():
    steps = Steps.of(Memory(**(SMALL | {"depths": (1, 3)})), 2, torch.device("cpu"))
    own = [list(flow.parameters()) for flow in steps.flows.values()]
    assert all(a is b for others in own for a, b in zip(own[0], others, strict=True))
    found = differences(steps.part(2, torch.float64))
    assert found["plain"] == 0.0
    assert all(0 <= difference < 1e-10 for difference in found.values())


def example(growth=1.0, ratio=1.5, difference=1e-15):
    """Return rows of a made-up measurement."""
    return [
        {
            "depth": depth,
            "backprop": way,
            "saved_bytes": 1000 * depth
            if way in WAYS[:2]
            else 1000 * (growth if depth == 8 else 1),
            "ratio": 1.0 if way == "plain" else ratio,
            "ratio_q1": 1.0,
            "ratio_q3": ratio,
            "difference_float64": difference,
            "difference_float32": 1e-6,
            "reconstruction_error": None if way in WAYS[:2] else 2e-5,
            "fallbacks": 0,
        }
        for depth in (2, 4, 8)
        for way in WAYS
    ]


def test_the_summary_says_how_memory_grows():
    found = summary(example(growth=1.05))
    assert found["plain"]["growth"] == 4.0
    assert found["plain"]["bytes_per_step"] == 1000.0
    assert found["plain"]["r_squared"] == pytest.approx(1.0)
    assert found["reuse"]["growth"] == 1.05
    assert found["reuse"]["largest_reconstruction_error"] == 2e-5
    assert all(verdicts(found).values())


@pytest.mark.parametrize(
    ("changed", "broken"),
    [
        ({"growth": 1.2}, "reversible memory is constant"),
        ({"ratio": 2.1}, "reversible time is bounded"),
        ({"difference": 1e-9}, "gradients agree"),
        ({"difference": float("nan")}, "gradients agree"),
    ],
)
def test_a_claim_that_does_not_hold_is_said_not_to(changed, broken):
    found = verdicts(summary(example(**changed)))
    assert [name for name, holds in found.items() if not holds] == [broken]


def test_the_command_reads_its_section_and_writes_both_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)
    settings = {"profile": "fast", "inverse_problems": {"memory": SMALL}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings))
    monkeypatch.setattr(sys, "argv", ["memory", "--device", "cpu"])
    memory.main()
    folder = tmp_path / "results/fast/inverse_problems/memory"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert set(metrics["summary"]) == set(WAYS)
    lines = list(csv.DictReader((folder / "memory.csv").read_text().splitlines()))
    assert [line["backprop"] for line in lines] == 2 * list(WAYS)
    assert [int(line["saved_bytes"]) for line in lines] == [
        row["saved_bytes"] for row in metrics["rows"]
    ]


def test_depths_out_of_order_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    settings = {"profile": "fast", "inverse_problems": {"memory": {"depths": [4, 2]}}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings))
    monkeypatch.setattr(sys, "argv", ["memory", "--device", "cpu"])
    with pytest.raises(SystemExit):
        memory.main()
    assert "expected at least two ascending depths" in capsys.readouterr().err
