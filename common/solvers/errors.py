"""The one way a solver fails."""


class NotConverged(ArithmeticError):
    """Report the residual, the tolerance and the iterations of a solve that did not reach it."""
