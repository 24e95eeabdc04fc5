"""Splines of eight bins, forward and backward, at three numbers of scalars."""

from benchmarks.comparison import Builder, Options
from benchmarks.spline_case import builders


def comparisons(options: Options) -> list[Builder]:
    """Compare with every peer at every size, float32."""
    return builders(options, "forward and backward")
