"""Trade resolution for channels without touching a value."""

from torch import Tensor

from common.bijections.base import Bijection


class Squeeze(Bijection):
    """Move each 2 x 2 block of pixels into four channels (space to depth).

    Shapes: x (*batch, C, H, W) with even H and W; z (*batch, 4C, H/2, W/2); logdet (*batch,),
    zero. Channel 4c + 2i + j of z holds the pixels of channel c at offset (i, j) in their blocks.

    Reference: Density estimation using Real NVP, Dinh, Sohl-Dickstein and Bengio, 2017, section
    3.6.
    """

    event_dims = 3

    def forward_and_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return _space_to_depth(x), x.new_zeros(x.shape[:-3])

    def inverse_and_logdet(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return _depth_to_space(z), z.new_zeros(z.shape[:-3])


class Unsqueeze(Bijection):
    """Move four channels back into each 2 x 2 block of pixels: the inverse of `Squeeze`.

    Shapes: x (*batch, 4C, H, W); z (*batch, C, 2H, 2W); logdet (*batch,), zero.
    """

    event_dims = 3

    def forward_and_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return _depth_to_space(x), x.new_zeros(x.shape[:-3])

    def inverse_and_logdet(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return _space_to_depth(z), z.new_zeros(z.shape[:-3])


# torch's pixel_shuffle and pixel_unshuffle keep the shape of an empty batch, so they do not serve.


def _space_to_depth(x: Tensor) -> Tensor:
    *batch, channels, height, width = x.shape
    if height % 2 or width % 2:
        raise ValueError(f"squeeze: expected even height and width, got {height} x {width}")
    blocks = x.reshape(*batch, channels, height // 2, 2, width // 2, 2)
    depth = blocks.movedim((-3, -1), (-4, -3))
    return depth.reshape(*batch, 4 * channels, height // 2, width // 2)


def _depth_to_space(z: Tensor) -> Tensor:
    *batch, channels, height, width = z.shape
    if channels % 4:
        raise ValueError(f"unsqueeze: expected a multiple of four channels, got {channels}")
    depth = z.reshape(*batch, channels // 4, 2, 2, height, width)
    blocks = depth.movedim((-4, -3), (-3, -1))
    return blocks.reshape(*batch, channels // 4, 2 * height, 2 * width)
