"""A bijection that follows a differential equation, with the divergence integrated beside it."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchdiffeq import odeint, odeint_adjoint

from common.bijections.base import Bijection
from common.bijections.concat_squash import ConcatSquashNet
from common.solvers import NotConverged

Trace = Literal["hutchinson", "exact"]
Noise = Literal["gaussian", "rademacher"]

# Tolerances below these, in units of the dtype's epsilon, ask for steps that rounding forbids.
FINEST_RTOL, FINEST_ATOL = 4.0, 1 / 16


class Continuous(Bijection):
    """Follow dx/dt = f(t, x) from time 0 to T; ln |det| is the integral of the divergence of f.

    In training mode with trace="hutchinson" the log-determinant is an unbiased estimate, and
    `stochastic` is True: the divergence is v' J v with one probe v per item and solve, drawn from
    `generator`. In evaluation mode it is exact up to the solver's tolerances. The inverse follows
    the same equation back; it meets the input up to the tolerances only.

    The step adapts to the root mean square error of the whole batch, or that of the log-determinant
    if larger; so an item's result depends on the rest of the batch within the tolerances. Stacked
    models share their steps: the stiffest of them sets the pace.

    Args:
        network: f, with its models as leading dimensions.
        time: T at the start.
        learn_time: learn T, one per model.
        trace: "hutchinson" or "exact", in training; evaluation is always exact. For networks of two
            hidden layers both cost the same.
        noise: distribution of the probes, "gaussian" (published) or "rademacher" (less variance).
        rtol: relative tolerance of a step; raised to what the dtype of the input can resolve.
        atol: absolute tolerance of a step; likewise.
        method: an adaptive solver of torchdiffeq.
        adjoint: find gradients by solving back in time, in constant memory and up to the tolerances
            (published); False keeps all steps in memory and differentiates what was computed, which
            takes a fraction of the time.
        max_evaluations: of f per solve, forward and adjoint each.

    Attributes:
        generator: source of the probes, set by the caller (see `set_probes`); on the CPU or the
            device of the data.
        evaluations: of f in the last solve, without those of the adjoint.

    Shapes: x and z (*models, B, D); logdet (*models, B). Without models, any leading batch.
    Raises: NotConverged where the step underflows, the state is no longer finite or the evaluations
        exceed their maximum; ValueError in stochastic mode without a generator.

    Reference: FFJORD: Free-form Continuous Dynamics for Scalable Reversible Generative Models,
    Grathwohl, Chen, Bettencourt, Sutskever and Duvenaud, 2019, https://arxiv.org/abs/1810.01367,
    eqs. 2, 7 and 8.
    """

    def __init__(
        self,
        network: ConcatSquashNet,
        *,
        time: float = 1.0,
        learn_time: bool = True,
        trace: Trace = "hutchinson",
        noise: Noise = "gaussian",
        rtol: float = 1e-6,
        atol: float = 1e-8,
        method: str = "dopri5",
        adjoint: bool = False,
        max_evaluations: int = 10_000,
    ) -> None:
        super().__init__()
        if trace not in ("hutchinson", "exact") or noise not in ("gaussian", "rademacher"):
            raise ValueError(
                "Continuous: expected trace hutchinson or exact and noise gaussian or rademacher, "
                f"got {trace!r} and {noise!r}"
            )
        self.network = network
        # T = root_time^2 cannot change its sign.
        self.root_time = nn.Parameter(
            torch.full(network.models, time**0.5), requires_grad=learn_time
        )
        self.trace, self.noise = trace, noise
        self.rtol, self.atol, self.method = rtol, atol, method
        self.adjoint = adjoint
        self.max_evaluations = max_evaluations
        self.generator: torch.Generator | None = None
        self.evaluations = 0

    @property
    def stochastic(self) -> bool:
        """Say whether the log-determinant is an estimate."""
        return self.training and self.trace == "hutchinson"

    def forward_and_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._follow(x, (0.0, 1.0))

    def inverse_and_logdet(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self._follow(z, (1.0, 0.0))

    def forward_with_error(self, x: Tensor, draws: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return z, an estimate of the logdet from `draws` probes, and its standard error.

        Shapes: x and z (*models, B, D); logdet and standard error (*models, B).
        """
        rows = self._rows(x)
        z, logdets = self._solve(rows, (0.0, 1.0), self._probes(rows, draws))
        error = logdets.std(0) / draws**0.5
        batch = x.shape[:-1]
        return z.reshape(x.shape), logdets.mean(0).reshape(batch), error.reshape(batch)

    def _follow(self, x: Tensor, ends: tuple[float, float]) -> tuple[Tensor, Tensor]:
        rows = self._rows(x)
        if self.stochastic:
            z, logdets = self._solve(rows, ends, self._probes(rows, 1))
            logdet = logdets.squeeze(0)
        else:
            z, logdet = self._solve(rows, ends, None)
        return z.reshape(x.shape), logdet.reshape(x.shape[:-1])

    def _solve(
        self, rows: Tensor, ends: tuple[float, float], probes: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the state and the integral of the divergence at the end.

        Shapes: rows (*models, B, D), probes (S, *models, B, D); the integral (S, *models, B), or
        (*models, B) without probes.
        """
        system = _System(self, probes)
        start = rows.new_zeros(rows.shape[:-1] if probes is None else probes.shape[:-1])
        if rows.numel() == 0:  # no error to choose a step by; one step keeps the graph
            velocity, divergence = system(rows.new_tensor(ends[0]), (rows, start))
            return rows + velocity, start + divergence
        eps = torch.finfo(rows.dtype).eps
        times = torch.tensor(ends, dtype=rows.dtype, device=rows.device)
        options: dict[str, Any] = {
            "rtol": max(self.rtol, FINEST_RTOL * eps),
            "atol": max(self.atol, FINEST_ATOL * eps),
            "method": self.method,
            # A step ends at the end. Else the result is interpolated within a step that goes
            # beyond it, with an error that no tolerance bounds.
            "options": {"step_t": times[1:]},
        }
        if self.adjoint:
            # The integrals that give the parameters' gradients need not steer the steps: Kidger,
            # Chen, Lyons, "Hey, that's not an ODE", 2021, https://arxiv.org/abs/2009.09457.
            options["adjoint_options"] = {"norm": "seminorm", "step_t": times[:1]}
            options["adjoint_params"] = tuple(self.parameters())
            path, integral = odeint_adjoint(system, (rows, start), times, **options)
        else:
            path, integral = odeint(system, (rows, start), times, **options)
        self.evaluations, system.evaluations = system.evaluations, 0
        return path[-1], integral[-1]

    def _probes(self, rows: Tensor, draws: int) -> Tensor:
        """Return probes (draws, *models, B, D) of mean 0 and covariance I."""
        generator = self.generator
        if generator is None:
            raise ValueError(
                "Continuous: the estimate of the logdet needs a torch.Generator; "
                "call set_probes(flow, generator), or eval() for the exact logdet"
            )
        shape, device = (draws, *rows.shape), generator.device
        if self.noise == "gaussian":
            probes = torch.randn(shape, generator=generator, device=device, dtype=rows.dtype)
        else:
            signs = torch.randint(0, 2, shape, generator=generator, device=device)
            probes = (2 * signs - 1).to(rows.dtype)
        return probes.to(rows.device)

    def _rows(self, x: Tensor) -> Tensor:
        return x if self.network.models else x.reshape(-1, x.shape[-1])

    def extra_repr(self) -> str:
        return f"trace={self.trace}, noise={self.noise}, rtol={self.rtol}, atol={self.atol}"


class _System(nn.Module):
    """The equation over s = t / T in [0, 1], of one solve; it counts and stops the evaluations."""

    def __init__(self, flow: Continuous, probes: Tensor | None) -> None:
        super().__init__()
        self.network, self.root_time = flow.network, flow.root_time
        self.probes = probes
        self.limit = flow.max_evaluations
        self.evaluations = 0

    def forward(self, s: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        self.evaluations += 1
        if self.evaluations > self.limit:
            raise NotConverged(
                f"ODE: not at the end after {self.limit} evaluations, at {s.item():.3g} of the "
                "time span; expected a smoother field, looser tolerances or a higher limit"
            )
        span = self.root_time.square().unsqueeze(-1)
        if self.probes is None:
            velocity, divergence = self.network.with_divergence(span * s, state[0])
        else:
            velocity, divergence = self.network.with_probes(span * s, state[0], self.probes)
        return span.unsqueeze(-1) * velocity, span * divergence

    def callback_step(self, s: Tensor, state: tuple[Tensor, ...], step: Tensor) -> None:
        """Raise where the next step of the solve, or of its adjoint, cannot be taken."""
        # The first step is chosen by the whole batch: unless it is a constant, the gradients of all
        # items mix.
        step.detach_()
        if bool(s + step != s) and all(bool(part.isfinite().all()) for part in state):
            return
        raise NotConverged(
            f"ODE: step {step.item():.1e} at {s.item():.3g} of the time span after "
            f"{self.evaluations} evaluations; expected finite input and a field that is not stiff"
        )

    callback_step_adjoint = callback_step


def set_probes(model: nn.Module, generator: torch.Generator | None) -> None:
    """Let all continuous parts of a model draw their probes from one generator."""
    for part in model.modules():
        if isinstance(part, Continuous):
            part.generator = generator
