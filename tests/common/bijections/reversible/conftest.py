import pytest
import torch
from torch.utils.checkpoint import checkpoint


@pytest.fixture(scope="session", autouse=True)
def _checkpoints_are_loaded():
    """Let torch import what its first checkpoint takes, which is seconds, ahead of the tests."""
    y = checkpoint(torch.sin, torch.ones(1, requires_grad=True), use_reentrant=False)
    y.backward()
