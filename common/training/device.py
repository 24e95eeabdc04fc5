"""Choose where to compute."""

import torch

from common.errors import UserError


def pick_device(name: str) -> torch.device:
    """Return the named device; `auto` is CUDA where there is one.

    Raises:
        UserError: the name is unknown, or there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise UserError(f"--device {name}: expected auto, cpu, cuda or cuda:<number>")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"--device {name}: no CUDA device was found; use --device cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        raise UserError(f"--device {name}: the last CUDA device is cuda:{last}; use that or cpu")
    return device
