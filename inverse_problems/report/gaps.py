"""Paired differences of quality between methods, with their errors."""

import math
from dataclasses import dataclass

from common.report.claims import FAILS, HOLDS, OPEN
from inverse_problems.report.results import Cell, Solve


@dataclass(frozen=True)
class Gap:
    """Hold a difference of two scores, with twice its standard error and where it was seen."""

    value: float
    margin: float
    where: str

    @property
    def outcome(self) -> str:
        """Judge whether the difference is above zero by more than its margin."""
        if not math.isfinite(self.value) or not abs(self.value) > self.margin:
            return OPEN
        return HOLDS if self.value > 0 else FAILS

    @property
    def words(self) -> str:
        """Return the difference for a reader."""
        return f"{self.where} {self.value:+.2f} ± {self.margin:.2f}"


def gap(
    ours: Solve,
    cell: Cell,
    peer: Solve,
    by: float = 0.0,
    *,
    other: Cell | None = None,
    where: str = "",
) -> Gap | None:
    """Return PSNR of a cell minus the peer's on the same problem, minus `by`, with its error.

    The first images and draws are shared, so the error is that of the per-image differences; with
    several draws of the measurements, the larger one of that over images and that over draws.
    """
    if other is None:
        keys = {key: cell.at[key] for key in ("set", "m") if key in cell.at}
        found = peer.where(**keys)
        if not found:
            return None
        other = found[0]
    a, b = ours.arrays["psnr"][cell.index], peer.arrays["psnr"][other.index]
    # The first draws and the first images are those of both.
    draws, images = (min(sizes) for sizes in zip(a.shape, b.shape, strict=True))
    difference = a[:draws, :images] - b[:draws, :images]
    value = float(difference.mean())
    each = difference.mean(0)
    error = float(each.std(ddof=1)) / math.sqrt(images) if images > 1 else math.nan
    if draws > 1:
        error = max(error, float(difference.mean(1).std(ddof=1)) / math.sqrt(draws))
    words = where or f"m = {cell.at['m']}{f', lead minus {by:g}' if by else ''}:"
    return Gap(value - by, 2 * error, words)
