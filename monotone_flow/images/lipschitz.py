"""Affine layers of images and vectors whose Lipschitz constant is bounded by their own division."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monotone_flow.images.power_iteration import Pair, RelativeChange, Stop, power_iteration

COEFFICIENT = 0.98  # as published for images
STOP = RelativeChange()


class Lipschitz(nn.Module):
    """Divide the weights W of an affine map K(W) x + b by max(1, sigma / coefficient).

    sigma = u^T K v estimates the largest singular value of the linear map K, from unit vectors that
    are buffers: they count as constants, so that the gradient of sigma flows through W, and are
    saved with the model. Only `update` moves them; the trainer calls it after each step of the
    optimiser. sigma never exceeds the true norm, so a layer is as Lipschitz as its vectors are good
    (see `certificate`).

    Args:
        weight: shape of W.
        outputs: length of b.
        u: shape of u, an output of K of batch 1.
        v: shape of v, an input of K of batch 1.
        coefficient: the bound of the layer's Lipschitz constant.
        generator: draws u, v and the start; torch's global one if None.

    Source: Behrmann, Grathwohl, Chen, Duvenaud, Jacobsen, "Invertible Residual Networks", 2019,
    https://arxiv.org/abs/1811.00995, section 2.1. The start is uniform in +-1 / sqrt(fan in).
    """

    u: Tensor
    v: Tensor

    def __init__(
        self,
        weight: tuple[int, ...],
        outputs: int,
        u: tuple[int, ...],
        v: tuple[int, ...],
        coefficient: float,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        if not 0 < coefficient < 1:
            raise ValueError(
                f"Lipschitz: expected a coefficient between 0 and 1, got {coefficient}"
            )
        self.coefficient = coefficient
        self.weight = nn.Parameter(torch.empty(weight))
        self.bias = nn.Parameter(torch.empty(outputs))
        bound = self.weight[0].numel() ** -0.5
        nn.init.uniform_(self.weight, -bound, bound, generator)
        nn.init.uniform_(self.bias, -bound, bound, generator)
        for name, shape in (("u", u), ("v", v)):
            vector = nn.init.normal_(torch.empty(shape), generator=generator)
            self.register_buffer(name, vector / torch.linalg.vector_norm(vector))

    def operate(self, v: Tensor, weight: Tensor) -> Tensor:
        """Return K v, shaped like u."""
        raise NotImplementedError

    def adjoint(self, u: Tensor, weight: Tensor) -> Tensor:
        """Return K^T u, shaped like v."""
        raise NotImplementedError

    def affine(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return K x + b for a batch of x and the given weights."""
        raise NotImplementedError

    def sigma(self) -> Tensor:
        """Return u^T K v, a scalar with its gradient to W."""
        # Cloned, so that an update before the backward pass does no harm to it.
        return (self.u.clone() * self.operate(self.v.clone(), self.weight)).sum()

    def normalised(self) -> Tensor:
        """Return the weights that count, W / max(1, sigma / coefficient)."""
        return self.weight / (self.sigma() / self.coefficient).clamp_min(1)

    @torch.no_grad()
    def update(self, stop: Stop = STOP) -> int:
        """Move u and v towards the largest singular value; return the number of iterations."""
        weight = self.weight
        pair, iterations = power_iteration(
            lambda v: self.operate(v, weight),
            lambda u: self.adjoint(u, weight),
            Pair(self.u, self.v),
            stop,
        )
        self.u.copy_(pair.u)
        self.v.copy_(pair.v)
        return iterations

    def forward(self, x: Tensor) -> Tensor:
        """Return K x + b with the weights that count."""
        return self.affine(x, self.normalised())

    def extra_repr(self) -> str:
        outputs, inputs, *kernel = self.weight.shape
        of = f", kernel={kernel[0]}, size={tuple(self.v.shape[-2:])}" if kernel else ""
        return f"{inputs} -> {outputs}{of}, coefficient={self.coefficient:g}"


class LipschitzLinear(Lipschitz):
    """Bound the matrix of a linear layer.

    Shapes: (*batch, inputs) -> (*batch, outputs).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        coefficient: float = COEFFICIENT,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__((outputs, inputs), outputs, (outputs,), (inputs,), coefficient, generator)

    def operate(self, v: Tensor, weight: Tensor) -> Tensor:
        return weight @ v

    def adjoint(self, u: Tensor, weight: Tensor) -> Tensor:
        return u @ weight

    def affine(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.linear(x, weight, self.bias)


class LipschitzPointwise(LipschitzLinear):
    """Bound a 1x1 convolution, whose norm is that of its matrix at any size of image.

    Shapes: (B, inputs, H, W) -> (B, outputs, H, W).
    """

    def affine(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(x, weight[:, :, None, None], self.bias)


class LipschitzConv2d(Lipschitz):
    """Bound the zero-padded convolution of images of one size, as the operator that it is.

    Neither the flattened kernel nor the circular convolution has its norm.

    Args:
        inputs: channels in.
        outputs: channels out.
        size: (H, W) of the images.
        kernel: odd width of the kernel.
        coefficient: the bound of the Lipschitz constant.
        generator: draws u, v and the start; torch's global one if None.

    Shapes: (B, inputs, H, W) -> (B, outputs, H, W).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: tuple[int, int],
        kernel: int = 3,
        coefficient: float = COEFFICIENT,
        generator: torch.Generator | None = None,
    ) -> None:
        if kernel % 2 == 0:
            raise ValueError(f"LipschitzConv2d: expected an odd kernel, got {kernel}")
        self.padding = kernel // 2
        super().__init__(
            (outputs, inputs, kernel, kernel),
            outputs,
            (1, outputs, *size),
            (1, inputs, *size),
            coefficient,
            generator,
        )

    def operate(self, v: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(v, weight, padding=self.padding)

    def adjoint(self, u: Tensor, weight: Tensor) -> Tensor:
        return F.conv_transpose2d(u, weight, padding=self.padding)

    def affine(self, x: Tensor, weight: Tensor) -> Tensor:
        if x.shape[-2:] != self.v.shape[-2:]:
            raise ValueError(
                f"LipschitzConv2d: made for images of {tuple(self.v.shape[-2:])}, "
                f"got {tuple(x.shape[-2:])}; the norm depends on the size"
            )
        return F.conv2d(x, weight, self.bias, padding=self.padding)


def update_norms(model: nn.Module, stop: Stop = STOP) -> int:
    """Update every Lipschitz layer of a model; return the most iterations that one took."""
    layers = (part for part in model.modules() if isinstance(part, Lipschitz))
    return max((layer.update(stop) for layer in layers), default=0)
