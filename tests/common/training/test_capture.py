"""A recorded training step, and its eager form on a CPU."""

import copy

import pytest
import torch
from torch import Tensor, nn

from common.training.capture import Captured

CPU = torch.device("cpu")


def training(device: torch.device) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1)).to(device)
    cuda = device.type == "cuda"
    rate = torch.tensor(0.05, device=device) if cuda else 0.05
    return model, torch.optim.AdamW(model.parameters(), lr=rate, capturable=cuda)


def step_of(model: nn.Module, optimiser: torch.optim.Optimizer):
    def step(x: Tensor) -> Tensor:
        optimiser.zero_grad(set_to_none=True)
        losses = model(x).square().mean(0)
        losses.sum().backward()
        optimiser.step()
        return losses.detach()

    return step


def test_on_a_cpu_every_call_is_one_eager_step():
    model, optimiser = training(CPU)
    twin = copy.deepcopy(model)
    twin_step = step_of(twin, torch.optim.AdamW(twin.parameters(), lr=0.05))
    batches = torch.randn(4, 16, 3, generator=torch.Generator().manual_seed(1))
    before = copy.deepcopy(model.state_dict())
    captured = Captured(step_of(model, optimiser), (batches[0],), model, optimiser, CPU)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    for x in batches:
        assert torch.equal(captured(x), twin_step(x))
    state = twin.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a recording needs a GPU")
def test_a_replayed_training_takes_the_steps_of_an_eager_one():
    device = torch.device("cuda")
    (model, optimiser), (twin, twin_optimiser) = training(device), training(device)
    batches = torch.randn(6, 16, 3, generator=torch.Generator().manual_seed(1)).to(device)
    captured = Captured(step_of(model, optimiser), (batches[0],), model, optimiser, device)
    eager = step_of(twin, twin_optimiser)
    for number, x in enumerate(batches):
        for group in (*optimiser.param_groups, *twin_optimiser.param_groups):
            group["lr"].fill_(0.05 / (1 + number))
        torch.testing.assert_close(captured(x), eager(x))
    state = twin.state_dict()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, state[name])
