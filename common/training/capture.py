"""Record a training step of fixed shape once and replay it, so that a GPU never waits for Python.

Not run on a GPU yet: the development machines have none. On a CPU the step is called as it is.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

# Passes that let libraries allocate and choose their kernels before the recording.
WARM_UP = 3

Step = Callable[..., Tensor]


class Captured:
    """Call `step(*inputs)` eagerly on a CPU, and replay its recording on a GPU.

    The step must do all its work on the device: forward, backward, clipping and an optimiser made
    with `capturable=True`, whose state is all tensors and whose learning rate is a tensor that is
    changed in place. The inputs keep their shapes and dtypes; they are copied to where the
    recording reads them. A start that depends on the first batch (ActNorm's) must lie behind it.

    What the warm-up passes change is put back, so that a captured training takes the steps of an
    eager one.

    Args:
        step: returns one tensor, the losses.
        example: inputs of the shapes to come.
        model: whose parameters and buffers the step changes.
        optimiser: whose state it changes.
        device: of all of it.
    """

    def __init__(
        self,
        step: Step,
        example: Sequence[Tensor],
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        device: torch.device,
    ) -> None:
        self.step = step
        self._graph: torch.cuda.CUDAGraph | None = None
        if device.type != "cuda":
            return
        self._inputs = [tensor.clone() for tensor in example]
        before = [tensor.detach().clone() for tensor in _tensors(model)]
        moments = {
            (parameter, name): value.clone()
            for parameter, state in optimiser.state.items()
            for name, value in state.items()
        }
        side = torch.cuda.Stream(device)
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                step(*self._inputs)
        torch.cuda.current_stream(device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._output = step(*self._inputs)
        with torch.no_grad():
            for tensor, value in zip(_tensors(model), before, strict=True):
                tensor.copy_(value)
            for parameter, state in optimiser.state.items():
                for name, value in state.items():
                    # What the warm-up made starts at zero, Adam's step counter included.
                    value.copy_(moments.get((parameter, name), torch.zeros_like(value)))
        self._graph = graph

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Take one step and return its losses; on a GPU the next call overwrites them."""
        if self._graph is None:
            return self.step(*inputs)
        for kept, tensor in zip(self._inputs, inputs, strict=True):
            kept.copy_(tensor)
        self._graph.replay()
        return self._output


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
