"""Claims of a publication, and what our numbers say of them."""

from dataclasses import dataclass

HOLDS, FAILS, OPEN = "holds", "does not hold", "not decided"
UNTESTED = "not testable here"


@dataclass(frozen=True)
class Claim:
    """Hold a claim, its outcome and the evidence, in words made from numbers."""

    claim: str
    outcome: str
    evidence: str
