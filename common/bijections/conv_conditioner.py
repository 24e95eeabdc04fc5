"""Residual convolutional networks that condition couplings of images."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Half-width of the interval that starts the last convolution of a block: a block is near identity.
NEAR_ZERO = 1e-3


class ConvBlock(nn.Module):
    """Add two convolutions to their input: [norm] ReLU conv [norm] ReLU dropout conv.

    Shapes: (B, P, H, W) in and out.
    """

    def __init__(self, planes: int, dropout: float, batch_norm: bool) -> None:
        super().__init__()
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(planes, eps=1e-3) if batch_norm else nn.Identity() for _ in range(2)
        )
        self.first = nn.Conv2d(planes, planes, 3, padding=1)
        self.second = nn.Conv2d(planes, planes, 3, padding=1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor) -> Tensor:
        """Return the block's output, (B, P, H, W)."""
        inner = self.first(F.relu(self.norms[0](h)))
        return h + self.second(self.dropout(F.relu(self.norms[1](inner))))


class ConvConditioner(nn.Module):
    """Map images to images of as many channels as a coupling needs: conv, blocks, conv.

    The first and the last convolution are 1x1, those of the blocks 3x3.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        planes: width P of the hidden layers.
        blocks: number of residual blocks of two convolutions each.
        dropout: share of hidden numbers that a training step leaves out.
        batch_norm: normalise ahead of both activations of a block; in training the output then
            depends on the batch.
        generator: draws the initial weights; torch's global one if None.

    Shapes: (*batch, inputs, H, W) -> (*batch, outputs, H, W).

    Source: Durkan, Bekasov, Murray, Papamakarios, "Neural Spline Flows", 2019,
    https://arxiv.org/abs/1906.04032, appendix on images.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        planes: int,
        blocks: int,
        *,
        dropout: float = 0.0,
        batch_norm: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.batch_norm = batch_norm
        self.first = nn.Conv2d(inputs, planes, 1)
        self.blocks = nn.ModuleList(ConvBlock(planes, dropout, batch_norm) for _ in range(blocks))
        self.last = nn.Conv2d(planes, outputs, 1)
        self._draw(generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return (*batch, outputs, H, W)."""
        h = self.first(x.reshape(-1, *x.shape[-3:]))
        for block in self.blocks:
            h = block(h)
        out: Tensor = self.last(h)
        return out.reshape(*x.shape[:-3], *out.shape[-3:])

    def give_constant(self, values: Tensor) -> None:
        """Make the output the same at every pixel, whatever the input: values (outputs,)."""
        self.last.load_state_dict({"weight": torch.zeros_like(self.last.weight), "bias": values})

    def _draw(self, generator: torch.Generator | None) -> None:
        """Draw all weights, uniform in +-1/sqrt(fan-in) as torch does but for those near zero."""
        near_zero = {id(block.second) for block in self.blocks}
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                bound = NEAR_ZERO if id(layer) in near_zero else layer.weight[0].numel() ** -0.5
                for parameter in layer.parameters():
                    nn.init.uniform_(parameter, -bound, bound, generator=generator)

    def __repr__(self) -> str:  # one line: a flow prints dozens of these
        return (
            f"ConvConditioner({self.first.in_channels} -> {self.last.out_channels} channels, "
            f"{len(self.blocks)} blocks of {self.first.out_channels} planes, "
            f"batch_norm={self.batch_norm})"
        )
