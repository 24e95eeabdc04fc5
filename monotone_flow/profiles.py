"""Activations as small nets take them: values, slopes and curvatures at once.

Tensors are (K, channels, columns): channels before samples, so that products with weights run over
long rows. A layer's products A hold one column per sample and then, with tangents, one per
direction and sample; `activate` and `deactivate` carry all of them through the activation.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from monotone_flow.activations import PILA_SHIFT, PILA_SPEED, SWISH_SLOPE, SWISH_SPEED, K
from monotone_flow.fused import fusible


@dataclass(frozen=True)
class Profile:
    """Say how an activation acts on a: f(s a - shift) / speed for each sign s.

    Args:
        name: its key in `PROFILES`.
        signs: (1,) or, for pairs of functions that double the channels, (1, -1).
        learned: f has a parameter beta.
        smooth: f has a curvature; without one tangents do not bend.
        value_and_slope: f and f' of z (..., B) and beta, which broadcasts.
        curvature: f''.
    """

    name: str
    value_and_slope: Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]
    curvature: Callable[[Tensor, Tensor | None], Tensor]
    signs: tuple[int, ...] = (1,)
    shift: float = 0.0
    speed: float = 1.0
    learned: bool = False
    smooth: bool = True

    @property
    def doubles(self) -> bool:
        """Return whether two channels come out of each."""
        return len(self.signs) == 2

    def width(self, n: int) -> int:
        """Return how many channels come out of n."""
        return len(self.signs) * n

    def sign(self, like: Tensor) -> Tensor:
        """Return the signs as (S, 1, 1)."""
        sign = torch.ones(len(self.signs), 1, 1, dtype=like.dtype, device=like.device)
        if self.doubles:
            sign[1].neg_()
        return sign


def _pila(z: Tensor, beta: Tensor | None) -> tuple[Tensor, Tensor]:
    below = z.clamp(max=0)
    decay = torch.exp(K * below)
    value = ((K * K / 2 * below - K) * below + 1) * below * decay + z.clamp(min=0)
    # At zero this is one, which is the slope above it.
    return value, (((K**3 / 2 * below + K * K / 2) * below - K) * below + 1) * decay


def _pila_curvature(z: Tensor, beta: Tensor | None) -> Tensor:
    below = z.clamp(max=0)
    return (K / 2 * below + 2) * below.square() * torch.exp(K * below) * K**3


def _relu(z: Tensor, beta: Tensor | None) -> tuple[Tensor, Tensor]:
    return z.clamp(min=0), (z > 0).to(z.dtype)


def _none(z: Tensor, beta: Tensor | None) -> Tensor:
    raise NotImplementedError("a kinked activation has no curvature")


def _swish(z: Tensor, beta: Tensor | None) -> tuple[Tensor, Tensor]:
    assert beta is not None
    s = torch.sigmoid(beta * z)
    return z * s / SWISH_SLOPE, s * (1 + beta * z * (1 - s)) / SWISH_SLOPE


def _swish_curvature(z: Tensor, beta: Tensor | None) -> Tensor:
    assert beta is not None
    s = torch.sigmoid(beta * z)
    return beta * s * (1 - s) * (2 + beta * z * (1 - 2 * s)) / SWISH_SLOPE


def _sine(z: Tensor, beta: Tensor | None) -> tuple[Tensor, Tensor]:
    return z.sin(), z.cos()


def _sine_curvature(z: Tensor, beta: Tensor | None) -> Tensor:
    return -z.sin()


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("cpila", _pila, _pila_curvature, (1, -1), PILA_SHIFT, PILA_SPEED),
        Profile("clipswish", _swish, _swish_curvature, (1, -1), 0.0, SWISH_SPEED, learned=True),
        Profile("lipswish", _swish, _swish_curvature, learned=True),
        Profile("crelu", _relu, _none, (1, -1), smooth=False),
        Profile("sine", _sine, _sine_curvature),
    )
}


@fusible
def activate(
    profile: Profile,
    a: Tensor,
    bias: Tensor,
    beta: Tensor | None,
    sign: Tensor,
    rows: Tensor,
    batch: int,
) -> Tensor:
    """Write the activations of A (K, m, (1 + T) B) into rows (K, P, (1 + T) B).

    Returns:
        the slopes (K, P, B).
    """
    z, beta = _arguments(profile, a, bias, beta, sign, batch)
    value, slope = profile.value_and_slope(z, beta)
    value, slope = value / profile.speed, slope * sign / profile.speed
    out = rows.unflatten(1, (len(profile.signs), -1))
    if a.shape[-1] == batch:
        out.copy_(value)
    else:
        moved = slope.unsqueeze(3) * _directions(a, batch).unsqueeze(1)
        columns = out.unflatten(-1, (-1, batch))
        columns.copy_(torch.cat((value.unsqueeze(3), moved), 3))
    return slope.flatten(1, 2)


@fusible
def deactivate(
    profile: Profile,
    a: Tensor,
    bias: Tensor,
    beta: Tensor | None,
    sign: Tensor,
    slope: Tensor,
    rows_bar: Tensor,
    batch: int,
) -> tuple[Tensor, Tensor | None]:
    """Return the cotangents of A and of beta (K, 1, 1), given that of the rows.

    `rows_bar` has as many columns as the rows, or only those of the values; the result likewise.
    """
    halves = len(profile.signs)
    slope = slope.unflatten(1, (halves, -1))
    bar = rows_bar.unflatten(1, (halves, -1))
    value_bar = bar[..., :batch]
    direct = slope * value_bar
    curved = None
    if rows_bar.shape[-1] > batch:
        moved_bar = _directions(bar, batch)
        if profile.smooth:
            z, at = _arguments(profile, a, bias, beta, sign, batch)
            inner = (_directions(a, batch).unsqueeze(1) * moved_bar).sum(3)
            curved = profile.curvature(z, at) / profile.speed * inner
            direct = direct + curved
        tangents_bar = (slope.unsqueeze(3) * moved_bar).sum(1)
        a_bar = torch.cat((direct.sum(1).unsqueeze(2), tangents_bar), 2).flatten(2)
    else:
        a_bar = direct.sum(1)
    if beta is None:
        return a_bar, None
    # f(z) is S(beta z) / beta for a fixed S, which gives the derivatives by beta.
    z, at = _arguments(profile, a, bias, beta, sign, batch)
    value, _ = profile.value_and_slope(z, at)
    bent = (z * sign * slope - value / profile.speed) * value_bar
    if curved is not None:
        bent = bent + z * sign * curved
    return a_bar, bent.sum((1, 2, 3)).reshape(-1, 1, 1) / beta


def _arguments(
    profile: Profile, a: Tensor, bias: Tensor, beta: Tensor | None, sign: Tensor, batch: int
) -> tuple[Tensor, Tensor | None]:
    """Return z (K, S, m, B) and beta (K, 1, 1, 1)."""
    z = (a[..., :batch] + bias.unsqueeze(-1)).unsqueeze(1) * sign - profile.shift
    return z, None if beta is None else beta.unsqueeze(1)


def _directions(columns: Tensor, batch: int) -> Tensor:
    """Return (..., T, B) of (..., (1 + T) B)."""
    return columns[..., batch:].unflatten(-1, (-1, batch))
