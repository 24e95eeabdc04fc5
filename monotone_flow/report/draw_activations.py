"""Draw Pila with its derivatives, and how fast the paired activations move."""

import math

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from common.report.figures import PALETTE, Caption, panels
from monotone_flow.activations import Activation, CLipSwish, CPila, K, pila

# Steepness of LipSwish in the published picture; it scales the axis and leaves the range.
STEEPNESS = 1.0
ORDERS = {
    "Pila": PALETTE["blue"],
    "first derivative": PALETTE["orange"],
    "second derivative": PALETTE["green"],
}


def activations() -> tuple[Figure, Caption]:
    """Draw Pila on the left, the speeds of CPila and CLipSwish on the right."""
    figure, (left, right) = panels(1, 2, width=5.0, height=3.8)
    least, at = _pila(left)
    (low, high), (swish_low, swish_high) = _speeds(right)
    return figure, Caption(
        file="activations.svg",
        title="Pila, and the speeds of CPila and CLipSwish",
        caption=(
            f"Left: Pila for k = {K:g} with its first two derivatives, which join those of the "
            f"identity at zero without a kink. Its slope falls to {least:.3f} at {at:.2f}. Right: "
            "the speed of a pair of channels, the root of the sum of both squared slopes. The pair "
            "is 1-Lipschitz if its speed is nowhere above one (black), and what it stays below "
            f"that is lost in each layer: CPila goes from {low:.4f} to {high:.4f}, CLipSwish at "
            f"steepness {STEEPNESS:g} from {swish_low:.3f} to {swish_high:.5f}. Another steepness "
            "stretches its curve sideways and leaves the range."
        ),
        alt=(
            "Three curves of Pila and its derivatives that join straight lines at zero; beside "
            "them the speed of CPila, a wavy line just below one, and that of CLipSwish with a dip "
            f"to {swish_low:.2f} in the middle"
        ),
    )


def speed(activation: Activation, x: Tensor) -> Tensor:
    """Return sqrt(f1'^2 + f2'^2) of a pair of channels at points x (N,), (N,)."""
    point = x.detach().unsqueeze(-1).requires_grad_()
    pair = activation(point)
    slopes = [torch.autograd.grad(f.sum(), point, retain_graph=True)[0] for f in pair.unbind(-1)]
    return torch.cat(slopes, -1).norm(dim=-1)


def _pila(ax: Axes) -> tuple[float, float]:
    """Draw Pila and its derivatives; return the least slope and where it is."""
    z = torch.linspace(-2, 1.2, 3201, dtype=torch.float64)
    for order, (name, colour) in enumerate(ORDERS.items()):
        ax.plot(z, pila(z, order=order), color=colour, label=name)
    slope = pila(z, order=1)
    place = int(slope.argmin())
    least, at = float(slope[place]), float(z[place])
    ax.plot(at, least, "o", color=ORDERS["first derivative"], ms=4)
    note = f"least slope {least:.3f}"
    ax.annotate(note, (at, least), (6, -14), textcoords="offset points", fontsize=9)
    ax.set_xlabel("z")
    ax.set_ylim(-0.75, 3.3)
    ax.set_title(f"Pila, k = {K:g}")
    ax.legend(loc="upper left")
    return least, at


def _speeds(ax: Axes) -> list[tuple[float, float]]:
    """Draw the speeds; return the least and the largest of each."""
    x = torch.linspace(-6, 6, 12001, dtype=torch.float64)
    swish = CLipSwish().double()
    with torch.no_grad():
        swish.beta.fill_(math.log(math.expm1(STEEPNESS)))
    ranges = []
    for name, activation, colour in (
        ("CPila", CPila(), PALETTE["blue"]),
        ("CLipSwish", swish, PALETTE["red"]),
    ):
        values = speed(activation, x)
        low, high = float(values.min()), float(values.max())
        ax.plot(x, values, color=colour, label=f"{name}: {low:.4f} to {high:.5f}")
        ranges.append((low, high))
    ax.axhline(1, color=PALETTE["reference"], lw=0.9)
    ax.set_xlabel("x")
    ax.set_title("Speed of the pair")
    ax.set_ylim(0.54, 1.02)  # room for the legend below the dip
    ax.legend(loc="lower center")
    return ranges
