"""How a decoder's logits say what the pixels are: two laws of the observation x given z."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Pixels(nn.Module):
    """Give the probability of images around the mean image sigmoid(logits).

    Args:
        levels: number of values of a pixel, which stand at 0, 1/(levels - 1), ..., 1.

    Shapes: logits and x (*batch, C, H, W), broadcast against each other; `log_prob` (*batch,).
    """

    # Whether log_prob is that of the pixels, so that a bound on it is a code length.
    is_likelihood: bool

    def __init__(self, levels: int) -> None:
        super().__init__()
        if levels < 2:
            raise ValueError(f"pixels: expected at least 2 levels, got {levels}")
        self.levels = levels

    def log_prob(self, logits: Tensor, x: Tensor) -> Tensor:
        """Return the log-probability of images in nats."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"levels={self.levels}"


class Bernoulli(Pixels):
    """Take minus the cross-entropy between grey values and sigmoid(logits), as published for MNIST.

    Source: Bora, Jalal, Price, Dimakis, "Compressed Sensing using Generative Models", 2017,
    https://arxiv.org/abs/1703.03208, and the code published with it.

    For pixels that are 0 or 1 it is a log-probability. Of grey values it is none: the two ends of
    the scale take all of the mass already, and the values between them add to it. What is derived
    from it compares models trained this way with each other and with nothing else.
    """

    def __init__(self, levels: int) -> None:
        super().__init__(levels)
        self.is_likelihood = levels == 2

    def log_prob(self, logits: Tensor, x: Tensor) -> Tensor:
        logits, x = torch.broadcast_tensors(logits, x)
        entropy = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
        return -entropy.flatten(-3).sum(-1)


class DiscretisedLogistic(Pixels):
    """Give each pixel level the mass that a logistic law around the mean has in its bin.

    The bins are centred at the levels; the outer ones reach to infinity, hence the masses of all
    levels sum to one and bounds on `log_prob` are code lengths, with no dequantisation noise.
    Between b and a, the bin's ends in units of the scale, the mass is
    sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)), which cancels nowhere.

    Source: Kingma, Salimans, Jozefowicz, Chen, Sutskever, Welling, "Improved Variational Inference
    with Inverse Autoregressive Flow", 2016, https://arxiv.org/abs/1606.04934.

    Args:
        levels: number of values of a pixel.
        channels: C; each has a scale of its own, trained with the decoder.
        scale: the first scale, where an image has values from 0 to 1.
    """

    is_likelihood = True

    def __init__(self, levels: int, channels: int, scale: float = 0.1) -> None:
        super().__init__(levels)
        self.log_scale = nn.Parameter(torch.full((channels, 1, 1), math.log(scale)))

    def log_prob(self, logits: Tensor, x: Tensor) -> Tensor:
        half = 0.5 / (self.levels - 1)
        inverse = torch.exp(-self.log_scale)
        centred = x - torch.sigmoid(logits)
        below = F.logsigmoid((centred + half) * inverse)  # of the bin's upper end
        above = F.logsigmoid(-(centred - half) * inverse)  # of its lower end
        inner = below + above + torch.log(-torch.expm1(-2 * half * inverse))
        logs = torch.where(x < half, below, torch.where(x > 1 - half, above, inner))
        return logs.flatten(-3).sum(-1)
