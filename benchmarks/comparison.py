"""What a case hands to the timer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from benchmarks.limits import Limit, Traffic
from common.errors import UserError


class MissingPeer(UserError):
    """Report a peer that cannot be compared with here; the other comparisons still run."""


@dataclass(frozen=True)
class Options:
    """Say how a case is to be run.

    Args:
        device: where both sides compute.
        quick: tiny sizes, to see that everything works; the times mean nothing.
        weights: trained weights, for the cases that can use them.
    """

    device: torch.device
    quick: bool = False
    weights: Path | None = None


@dataclass(frozen=True)
class Comparison:
    """Hold the two sides of one JSON line; a call of either does the same work.

    Args:
        what: which work.
        ours: what ours is.
        peer: what the peer is.
        run_ours: does the work once.
        run_peer: does the same work once.
        limit: what bounds ours.
        pieces: how many equal pieces of work a call of either side does; times are those of one.
        packages: installed packages whose versions matter, beside python and torch.
        facts: further fields of the line.
    """

    what: str
    ours: str
    peer: str
    run_ours: Callable[[], object]
    run_peer: Callable[[], object]
    limit: Limit | Traffic
    pieces: int = 1
    packages: tuple[str, ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict)


# A case returns builders, so that each pair is made, timed and freed before the next one.
Builder = Callable[[], Comparison]
