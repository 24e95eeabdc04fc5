"""The network and the scale of Glow's couplings."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.bijections.actnorm import ActNorm
from inverse_problems.priors import native


class ZeroConv(nn.Conv2d):
    """Convolve 3x3 and multiply by exp(3 l), with weights, biases and l zero at first.

    Shapes: (*batch, inputs, H, W) -> (*batch, outputs, H, W).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)
        self.log_scale = nn.Parameter(torch.zeros(outputs))
        nn.init.zeros_(self.weight)
        nn.init.zeros_(cast(Tensor, self.bias))

    def scaled(self) -> tuple[Tensor, Tensor]:
        """Return the kernel and the bias, multiplied."""
        scale = (3 * self.log_scale).exp()
        return self.weight * scale[:, None, None, None], cast(Tensor, self.bias) * scale

    def forward(self, input: Tensor) -> Tensor:  # the name of the base class
        """Return (*batch, outputs, H, W)."""
        weight, bias = self.scaled()
        out = F.conv2d(input.reshape(-1, *input.shape[-3:]), weight, bias, padding=1)
        return out.reshape(*input.shape[:-3], *out.shape[-3:])


class GlowNet(nn.Module):
    """Condition a coupling: conv 3x3, norm, ReLU, conv 1x1, norm, ReLU, conv 3x3 times exp(3 l).

    The norms are ActNorms, which start from the first batch in training; the network is evaluated
    and never inverted, so they are applied as they stand in both directions of the flow. Each is
    one linear map with the convolution ahead of it, and is computed as one. The last convolution is
    zero at first, so a new network gives zeros. While all weights are frozen, a compiled kernel
    does all on a CPU, if there is a compiler.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        width: channels of the hidden layers.
        std: standard deviation of the first weights.
        generator: draws them; torch's global one if None.

    Shapes: (*batch, inputs, H, W) -> (*batch, outputs, H, W).

    Reference: Invertible generative models for inverse problems: mitigating representation error
    and dataset bias, Asim, Daniels, Leong, Ahmed and Hand, 2020, https://arxiv.org/abs/1905.11672,
    the published code; without its biases ahead of the norms, whose shifts do the same.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int,
        std: float = 0.01,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, width, 3, padding=1, bias=False)
        self.first_norm = ActNorm(width, event_dims=3)
        self.second = nn.Conv2d(width, width, 1, bias=False)
        self.second_norm = ActNorm(width, event_dims=3)
        self.last = ZeroConv(width, outputs)
        for layer in (self.first, self.second):
            nn.init.normal_(layer.weight, std=std, generator=generator)
        self._frozen: tuple[tuple[object, ...], native.FrozenNet] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return (*batch, outputs, H, W)."""
        h = x.reshape(-1, *x.shape[-3:])
        if self.training and any(norm._waiting for _, norm in self._layers()):
            for conv, norm in self._layers():
                h = F.relu(norm.forward_and_logdet(conv(h))[0])
            out: Tensor = self.last(h)
        elif self._is_frozen() and native.fits(h, self.second.out_channels) and native.available():
            out = self._compiled()(h)
        else:
            self._frozen = None
            for conv, norm in self._layers():
                weight = _scaled(conv, norm)
                h = F.relu(F.conv2d(h, weight, norm.shift, padding=conv.padding), inplace=True)
            out = self.last(h)
        return out.reshape(*x.shape[:-3], *out.shape[-3:])

    def _is_frozen(self) -> bool:
        # Not where gradients are merely off: a fused optimiser writes without leaving a trace.
        return not any(p.requires_grad for p in self.parameters())

    def _compiled(self) -> native.FrozenNet:
        """Return what the kernel takes, made anew once a weight was written to or moved."""
        state = tuple((p._version, p.data_ptr()) for p in self.parameters())
        if self._frozen is None or self._frozen[0] != state:
            with torch.no_grad():
                first, second = (_scaled(conv, norm) for conv, norm in self._layers())
                last, shift = self.last.scaled()
                shifts = (self.first_norm.shift, self.second_norm.shift, shift)
                self._frozen = (state, native.FrozenNet(first, second, last, shifts))
        return self._frozen[1]

    def _layers(self) -> tuple[tuple[nn.Conv2d, ActNorm], ...]:
        return (self.first, self.first_norm), (self.second, self.second_norm)

    def __repr__(self) -> str:  # one line: a flow prints dozens of these
        inputs, width, outputs = (
            self.first.in_channels,
            self.first.out_channels,
            self.last.out_channels,
        )
        return f"GlowNet({inputs} -> {outputs} channels, width {width})"


def _scaled(conv: nn.Conv2d, norm: ActNorm) -> Tensor:
    """Return the kernel of a convolution and the norm's scale as one."""
    return conv.weight * norm.log_scale.exp()[:, None, None, None]


class GlowAffine:
    """Scale and shift, y = x s + t with s = sigmoid(raw_0 + 2) + bias and t = raw_1.

    Without a bias the scale has no lower bound, and the inverse, which divides by it, can explode
    on inputs unlike the training data.

    Args:
        bias: 0, as published, or a small positive lower bound of the scale.

    Shapes: x, y, log-slopes (*shape); raw (*shape, 2).
    """

    parameters = 2

    def __init__(self, bias: float = 0.0) -> None:
        if bias < 0:
            raise ValueError(f"GlowAffine: expected a bias of at least 0, got {bias}")
        self.bias = float(bias)

    def forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        log_scale = self._log_scale(raw)
        return x * log_scale.exp() + raw[..., 1], log_scale

    def inverse(self, y: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        log_scale = self._log_scale(raw)
        return (y - raw[..., 1]) * (-log_scale).exp(), -log_scale

    def identity(self) -> Tensor:
        """Return zeros, which are near the identity only: s is sigmoid(2) + bias then."""
        return torch.zeros(2)

    def _log_scale(self, raw: Tensor) -> Tensor:
        if self.bias == 0:
            return F.logsigmoid(raw[..., 0] + 2)
        return (torch.sigmoid(raw[..., 0] + 2) + self.bias).log()

    def __repr__(self) -> str:
        return f"GlowAffine(bias={self.bias:g})"


class Standardise:
    """Subtract a mean and divide by a scale, y = (x - raw_1) exp(-raw_0).

    So y follows N(0, 1) if x follows N(raw_1, exp(2 raw_0)): a learned prior of factored-out
    channels, in which zero latents are those of zero standardised residual.

    Shapes: x, y, log-slopes (*shape); raw (*shape, 2).
    """

    parameters = 2

    def forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        return (x - raw[..., 1]) * (-raw[..., 0]).exp(), -raw[..., 0]

    def inverse(self, y: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        return y * raw[..., 0].exp() + raw[..., 1], raw[..., 0]

    def identity(self) -> Tensor:
        return torch.zeros(2)

    def __repr__(self) -> str:
        return "Standardise()"
