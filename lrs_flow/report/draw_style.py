"""How methods look in figures: one colour for each kind of map, one stroke for each variant."""

from common.report.figures import PALETTE
from lrs_flow.report.results import Result

COLOURS = {
    "lrs": PALETTE["blue"],
    "rq": PALETTE["orange"],
    "q": PALETTE["green"],
    "affine": PALETTE["red"],
    "ffjord": PALETTE["purple"],
    "gaussian": PALETTE["sky"],
}


def colour(result: Result) -> str:
    """Return the colour of a method's kind of map."""
    return COLOURS[result.trained.model.kind]


def stroke(result: Result) -> str:
    """Return how its lines are drawn: dotted if autoregressive, dashed for variants."""
    if result.method.endswith("_ar"):
        return ":"
    return "--" if result.method in ("lrs_small_c", "q_published_c") else "-"


def listed(results: list[Result]) -> str:
    """Return the methods' names in a row; names hold commas."""
    return "; ".join(dict.fromkeys(result.name for result in results))


def scaled_down(results: list[Result]) -> str:
    """Return sentences that say what is smaller than published, to end a caption with."""
    by_words: dict[str, list[str]] = {}
    for result in results:
        if result.lacks:
            by_words.setdefault(result.lacks, []).append(result.name)
    parts = (f" Scaled down: {', '.join(dict.fromkeys(n))} ({w})." for w, n in by_words.items())
    return "".join(parts)
