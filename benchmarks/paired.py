"""Time two sides and their limit, round by round in one process."""

import gc
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from benchmarks.comparison import Comparison
from benchmarks.limits import synchronise

WARM_UP = 2
# Long enough that the cold start after the other side, whose data pushed ours out of the caches,
# and the clock weigh little.
SHORTEST = 0.1


@dataclass
class Times:
    """Hold seconds per call, one entry per round."""

    ours: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)
    limit: list[float] = field(default_factory=list)

    def ratios(self) -> tuple[float, float, float]:
        """Return lower quartile, median and upper quartile of peer over ours, round by round."""
        q1, median, q3 = np.percentile(np.array(self.peer) / np.array(self.ours), [25, 50, 75])
        return float(q1), float(median), float(q3)


def measure(pair: Comparison, rounds: int, device: torch.device, quick: bool = False) -> Times:
    """Time both sides and the limit in every round; which side goes first alternates.

    A load on the machine that comes and goes hits both sides of a round alike, so the ratios of
    rounds stay meaningful where the times are not.
    """
    sides: dict[str, Callable[[], object]] = {
        "ours": pair.run_ours,
        "peer": pair.run_peer,
        "limit": pair.limit,
    }
    times = Times()
    with _no_garbage_collection():
        calls = {name: _warm_up(run, device, quick) for name, run in sides.items()}
        for i in range(rounds):
            order = ("ours", "peer", "limit") if i % 2 == 0 else ("peer", "ours", "limit")
            for name in order:
                getattr(times, name).append(_seconds(sides[name], calls[name], device))
    return times


def _warm_up(run: Callable[[], object], device: torch.device, quick: bool) -> int:
    """Run until caches and allocators have settled; return the calls that one reading takes."""
    if quick:
        run()
        return 1
    seconds = [_seconds(run, 1, device) for _ in range(1 + WARM_UP)]
    return max(1, math.ceil(SHORTEST / min(seconds)))


def _seconds(run: Callable[[], object], calls: int, device: torch.device) -> float:
    synchronise(device)
    start = time.perf_counter()
    for _ in range(calls):
        run()
    synchronise(device)
    return (time.perf_counter() - start) / calls


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
