"""Tables about the inverses of the two rational splines."""

from typing import Any

from common.report.tables import Column, Table
from lrs_flow.report.results import method_name, set_name

SPLINES = {"lrs": "LRS", "rq": "RQ-NSF"}


def inverse_accuracy(inverse: dict[str, Any]) -> list[Table]:
    """Return the round-trip errors of both rational splines in float32, if they were measured."""
    rows = [
        {
            "setting": row["setting"],
            "spline": SPLINES[row["spline"]],
            **{key: row[key] for key in ("mean", "floor", "p999", "max", "not_finite", "outside")},
            "over_floor": row["mean"] / row["floor"],
        }
        for row in inverse["accuracy"]
    ]
    if not rows:
        return []
    return [
        Table(
            "inverse_accuracy",
            "Error of the inverse in float32",
            "Round trip x to y and back of random splines on [-3, 3]: mean, 99.9 % quantile and "
            "maximum of |x' - x| over finite values; values that are not finite, and values that "
            "left the box. Logits are N(0, 1), times the factors in the setting. The floor is the "
            "mean error that rounding y to float32 alone causes, a quarter of the spacing of "
            "floats over the slope: a property of the map. Mean over floor is the algorithm's.",
            [
                Column("setting", "setting"),
                Column("spline", "spline"),
                Column("mean", "mean", "number", digits=2),
                Column("floor", "floor of the mean", "number", digits=2),
                Column("over_floor", "mean over floor", "number", digits=2),
                Column("p999", "99.9 %", "number", digits=2),
                Column("max", "max", "number", digits=2),
                Column("not_finite", "not finite", "integer"),
                Column("outside", "outside the box", "integer"),
            ],
            rows,
        )
    ]


def inverse_time(inverse: dict[str, Any]) -> list[Table]:
    """Return how long trained models of both kinds take to draw samples, if it was measured."""
    rows = [
        {
            "data": set_name(row["dataset"]),
            "ours": method_name(row["method"]),
            "peer": method_name(row["peer"]),
            **{key: row[key] for key in ("samples", "ms", "peer_ms", "ratio")},
            "quartiles": f"{row['ratio_q1']:.3f} to {row['ratio_q3']:.3f}",
        }
        for row in inverse["time"]
    ]
    device = f" Device: {inverse['device']}." if "device" in inverse else ""
    if not rows:
        return []
    return [
        Table(
            "inverse_time",
            "Time of the inverse: drawing samples",
            "Median time of trained models to draw samples, which takes one inverse of every "
            "layer; both took turns in one process. The ratio is the peer's time over ours, round "
            f"by round: above 1, LRS is faster.{device}",
            [
                Column("data", "data"),
                Column("ours", "LRS"),
                Column("peer", "peer"),
                Column("samples", "samples", "integer"),
                Column("ms", "LRS", "number", "ms"),
                Column("peer_ms", "peer", "number", "ms"),
                Column("ratio", "ratio", "number", decimals=3),
                Column("quartiles", "its quartiles"),
            ],
            rows,
        )
    ]
