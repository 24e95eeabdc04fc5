import json

import pytest
import torch

from benchmarks import rows
from benchmarks.comparison import Comparison
from benchmarks.limits import Limit, Product
from benchmarks.paired import Times, measure
from common.errors import UserError

CPU = torch.device("cpu")


def comparison(log=None, **changes):
    log = [] if log is None else log
    limit = Limit([Product((), 2, 2, 2)], CPU, flops=8.0)
    fields = {"what": "nothing", "ours": "ours", "peer": "a peer", "limit": limit, **changes}
    return Comparison(
        run_ours=lambda: log.append("ours"), run_peer=lambda: log.append("peer"), **fields
    )


def test_the_ratio_is_the_median_over_rounds_of_peer_over_ours():
    # Ratios 10, 2, 4, 8, 6: the medians of the times alone, 3 and 12, would give 4.
    times = Times(ours=[1, 6, 3, 4, 2], peer=[10, 12, 12, 32, 12], limit=[1] * 5)
    assert times.ratios() == (4.0, 6.0, 8.0)
    row = rows.row("a_case", comparison(), times, CPU)
    assert (row["ours_ms"], row["peer_ms"], row["ratio"]) == (3000.0, 12000.0, 6.0)
    # The product has 16 operations and the work 8, so the limit is half of the measured second.
    assert row["limit_ms"] == 500.0
    assert row["limit_share"] == pytest.approx(500 / 3000, rel=1e-3)
    assert row["limit_gflops"] == pytest.approx(16e-9, rel=1e-3)


def test_times_are_those_of_one_piece_where_a_call_does_several():
    times = Times(ours=[8.0], peer=[24.0], limit=[4.0])
    row = rows.row("a_case", comparison(pieces=4), times, CPU)
    assert (row["ours_ms"], row["peer_ms"], row["limit_ms"]) == (2000.0, 6000.0, 500.0)
    # What compares times or rates is of the whole call.
    assert (row["ratio"], row["limit_share"]) == (3.0, 0.25)
    assert row["limit_gflops"] == pytest.approx(4e-9, rel=1e-3)


def test_facts_and_versions_reach_the_row():
    pair = comparison(facts={"images": 7}, packages=("numpy", "no-such-package"))
    row = rows.row("a_case", pair, Times([1.0], [1.0], [1.0]), CPU)
    assert row["images"] == 7
    assert row["versions"]["torch"] == torch.__version__
    assert row["versions"]["no-such-package"] is None
    assert row["versions"]["numpy"]
    json.dumps(row)


def test_the_sides_take_turns_in_going_first():
    log = []
    times = measure(comparison(log), rounds=4, device=CPU, quick=True)
    assert log[2:] == ["ours", "peer", "peer", "ours", "ours", "peer", "peer", "ours"]
    assert len(times.ours) == len(times.peer) == len(times.limit) == 4


def test_a_saved_row_replaces_its_older_self_and_nothing_else(tmp_path):
    def row(peer, ms):
        return {"case": "c", "what": "w", "peer": peer, "device": "d", "threads": 1, "ours_ms": ms}

    folder = tmp_path / "benchmarks"
    for new in (row("a", 1), row("b", 2), row("a", 3), {**row("a", 4), "threads": 2}):
        path = rows.save(new, folder)
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert path == folder / "c.jsonl"
    assert kept == [row("a", 3), row("b", 2), {**row("a", 4), "threads": 2}]


@pytest.mark.parametrize("text", ["no json\n", '{"case": "c"}\n', "[1, 2]\n"])
def test_a_file_that_holds_something_else_is_left_alone(tmp_path, text):
    path = tmp_path / "c.jsonl"
    path.write_text(text)
    new = {"case": "c", "what": "w", "peer": "p", "device": "d", "threads": 1}
    with pytest.raises(UserError, match="not rows of a benchmark"):
        rows.save(new, tmp_path)
    assert path.read_text() == text
