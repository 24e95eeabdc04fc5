"""Measure the memory that a step of training takes."""

from collections.abc import Callable, Iterable
from types import TracebackType

import torch
from torch import Tensor


class SavedBytes:
    """Count what autograd keeps for the way back, while this context is open.

    Every storage counts once and whole, however many tensors look into it.

    Args:
        excluded: tensors that do not count, such as parameters and what the caller holds anyway.

    Attributes:
        total: bytes kept.
        count: number of storages.
    """

    def __init__(self, excluded: Iterable[Tensor] = ()) -> None:
        self._excluded = {_address(tensor) for tensor in excluded}
        # The tensors are held while the context is open, or an address could come twice.
        self._held: dict[int, Tensor] = {}
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, _unpack)
        self.total = 0
        self.count = 0

    def _pack(self, tensor: Tensor) -> Tensor:
        address = _address(tensor)
        if address not in self._excluded and address not in self._held and tensor.numel() > 0:
            self._held[address] = tensor
            self.total += tensor.untyped_storage().nbytes()
            self.count += 1
        return tensor

    def __enter__(self) -> "SavedBytes":
        self._hooks.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._hooks.__exit__(kind, error, traceback)
        self._held.clear()


def cuda_peak(step: Callable[[], object], device: torch.device) -> int:
    """Return by how many bytes the allocated memory of a CUDA device peaks above its start.

    What lies there before, such as parameters, their gradients and an optimiser's state, does not
    count; so `step` should leave gradients in place and have run once before.
    """
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    step()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _unpack(tensor: Tensor) -> Tensor:
    return tensor
