"""Make randomness a function of the seed and the step, so that a resumed run draws the same."""

import hashlib

import torch
from torch import Tensor


def generator(seed: int, *counters: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator that is a function of the given integers alone.

    Args:
        seed: the run's seed.
        counters: what tells this draw from others, for instance a stream and a step.
        device: where the generator draws.
    """
    text = ",".join(str(int(n)) for n in (seed, *counters))
    # Hashing makes neighbouring counters unrelated; 63 bits stay a positive int64.
    value = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
    return torch.Generator(device=device).manual_seed(value)


def permutation(n: int, seed: int, *counters: int, device: torch.device | str = "cpu") -> Tensor:
    """Return a permutation (n,) of 0..n-1, int64, that is a function of the integers alone.

    It is drawn on the CPU, so every device visits the data in the same order.
    """
    return torch.randperm(n, generator=generator(seed, *counters)).to(device)
