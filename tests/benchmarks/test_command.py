import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.cases import CASES, lu_layer
from benchmarks.comparison import MissingPeer

FIELDS = {
    "case": str,
    "what": str,
    "ours": str,
    "peer": str,
    "ours_ms": float,
    "peer_ms": float,
    "ratio": float,
    "ratio_q1": float,
    "ratio_q3": float,
    "limit_ms": float,
    "limit_share": float,
    "device": str,
    "threads": int,
    "rounds": int,
    "versions": dict,
}
SPLINE_PEERS = (
    *("nflows eager", "nflows compiled", "zuko eager", "zuko compiled"),
    *("normflows eager", "pyro eager", "torchflows eager", "ours eager"),
)
PEERS = {
    "lu_sampling": ["published algorithm"],
    "lu_layer": [
        *("nflows", "masked weights", "masked gradients"),
        *("nflows", "masked weights", "published algorithm"),
    ],
    "lu_train_step": ["published algorithm, one model after the other", "published algorithm"],
    "power_step": 2 * ["nflows eager", "normflows eager", "zuko eager"],
    "recovery_batched": ["one-by-one"],
    "monotone_1d_step": ["published algorithm"],
    "monotone_2d_step": ["published algorithm, one model after the other"],
    "reversible_memory": 2 * ["plain", "checkpoint"],
    **{f"spline_{what}": list(SPLINE_PEERS) for what in ("forward", "forward_backward", "inverse")},
}
LU = ("lu_sampling", "lu_layer", "lu_train_step")
MONOTONE = ("monotone_1d_step", "monotone_2d_step")
FAST = (*LU, *MONOTONE, "reversible_memory")
# What a case compares with; without these packages it is not run here.
NEEDS = {
    "lu_layer": ("nflows.transforms.lu",),
    "power_step": ("nflows", "normflows", "zuko"),
    **dict.fromkeys(
        ("spline_forward", "spline_forward_backward", "spline_inverse"),
        ("nflows", "normflows", "zuko", "pyro", "torchflows"),
    ),
}


@pytest.fixture(autouse=True)
def _no_results_here(tmp_path, monkeypatch):
    """Run away from the repository, whose trained weights and results are not to matter."""
    monkeypatch.chdir(tmp_path)


def run(capsys, *arguments):
    main(list(arguments))
    out, err = capsys.readouterr()
    return [json.loads(line) for line in out.splitlines()], err


def test_the_list_names_every_case_with_a_line_each():
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "benchmarks", "--list"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(CASES)
    assert all(len(line.split()) > 3 for line in lines)


@pytest.mark.parametrize(
    "case",
    # The spline cases trace their peers, and import five libraries.
    [pytest.param(c, marks=pytest.mark.slow) if c not in FAST else c for c in CASES],
)
@pytest.mark.filterwarnings("ignore")  # inside the peers, and where torch traces them
def test_a_case_prints_one_full_json_line_per_comparison(case, capsys):
    for module in NEEDS.get(case, ()):
        pytest.importorskip(module)
    rows, err = run(capsys, case, "--quick", "--rounds", "3")
    assert err == ""
    assert [row["peer"] for row in rows] == PEERS[case]
    for row in rows:
        for name, kind in FIELDS.items():
            assert isinstance(row[name], kind), name
        assert (row["case"], row["threads"], row["rounds"]) == (case, 1, 3)
        assert 0 < row["ratio_q1"] <= row["ratio"] <= row["ratio_q3"]
        # All are rounded to four digits.
        assert row["limit_share"] == pytest.approx(row["limit_ms"] / row["ours_ms"], rel=2e-3)
        assert {"python", "torch"} <= set(row["versions"])


def test_sampling_says_which_weights_it_used_and_how_far_the_sides_agree(capsys):
    (row,), _ = run(capsys, "lu_sampling", "--quick", "--rounds", "1")
    assert row["weights"].startswith("fresh")
    # Grey levels out of 256: float32 keeps some five digits through four layers.
    assert row["max_pixel_difference"] < 0.01


def test_it_fails_only_if_no_comparison_was_possible(capsys, monkeypatch):
    def nowhere(layer):
        raise MissingPeer("nobody is at home")

    for name in ("_nflows", "MaskedLU", "_MaskedGradients"):
        monkeypatch.setattr(lu_layer, name, nowhere)
    with pytest.raises(SystemExit) as stopped:
        main(["lu_layer", "--quick"])
    assert stopped.value.code == 2
    assert "lu_layer: no comparison was possible" in capsys.readouterr().err


def test_a_missing_peer_is_named_and_the_others_run(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "nflows", None)
    monkeypatch.setitem(sys.modules, "nflows.transforms", None)
    monkeypatch.setitem(sys.modules, "nflows.transforms.lu", None)
    rows, err = run(capsys, "lu_layer", "--quick", "--rounds", "1")
    assert [row["peer"] for row in rows] == [p for p in PEERS["lu_layer"] if p != "nflows"]
    lines = err.splitlines()
    assert len(lines) == 2  # one for each thing it would have been compared in
    assert all(line.startswith("skipped: nflows cannot be imported") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lu_lager"], "expected one of the cases lu_sampling, lu_layer, lu_train_step"),
        ([], "got none"),
        (["lu_layer", "--quick", "--save"], "--quick measures nothing worth keeping"),
        (["lu_layer", "--rounds", "0"], "expected at least 1"),
        (["lu_sampling", "--quick", "--weights", "nowhere.pt"], "nowhere.pt: no weights there"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_sentence(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    out, err = capsys.readouterr()
    assert stopped.value.code == 2
    assert out == ""
    assert message in err
    assert len(err.splitlines()) == 1
