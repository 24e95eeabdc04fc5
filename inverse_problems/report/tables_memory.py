"""The table of memory and time against depth, and which of its claims hold."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.metrics.scores import read_metrics
from common.report.tables import Column, Table
from inverse_problems.report.draw_memory import MEBIBYTE, NAMES


def read_memory(folder: Path, partial: bool = False) -> dict[str, Any] | None:
    """Return what `inverse_problems.memory` left in results/<profile>/inverse_problems/memory.

    None with `partial` where it has not been run.

    Raises:
        UserError: it is missing or damaged.
    """
    if partial and not (folder / "metrics.json").exists():
        return None
    return read_metrics(folder)


def memory(metrics: Mapping[str, Any] | None) -> list[Table]:
    """Return bytes, times and errors of every way to find gradients, at every depth."""
    if metrics is None:
        return []
    rows = [
        {
            "depth": row["depth"],
            "way": NAMES[row["backprop"]],
            "saved": row["saved_bytes"] / MEBIBYTE,
            "ratio": row["ratio"],
            "float64": row["difference_float64"],
            "float32": row["difference_float32"],
            "reconstruction": row["reconstruction_error"],
        }
        for row in metrics["rows"]
    ]
    held = [
        f"{claim}: {'holds' if found else 'does not hold'}"
        for claim, found in metrics["verdicts"].items()
    ]
    return [
        Table(
            "memory",
            "Memory and time of a training step against depth",
            f"Bytes that automatic differentiation keeps, on {metrics['device']}; time over that "
            "of the plain step, median of paired rounds; gradients against the plain ones, "
            "relative to their norm; error of the inputs found again, over the largest input.",
            [
                Column("depth", "K", "integer"),
                Column("way", "gradients"),
                Column("saved", "kept", "number", "MiB", digits=3),
                Column("ratio", "time over plain", "number", digits=3),
                Column("float64", "gradient, float64", "number", digits=2),
                Column("float32", "gradient, float32", "number", digits=2),
                Column("reconstruction", "input", "number", digits=2),
            ],
            rows,
            note=f"{'; '.join(held)}.".capitalize(),
        )
    ]
