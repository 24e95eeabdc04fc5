"""Splines of eight bins, inverse, at three numbers of scalars."""

from benchmarks.comparison import Builder, Options
from benchmarks.spline_case import builders


def comparisons(options: Options) -> list[Builder]:
    """Compare with every peer at every size, float32."""
    return builders(options, "inverse")
