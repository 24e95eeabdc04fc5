"""A whole training step of a tabular spline flow, at the published size of POWER."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.comparison import Builder, Comparison, Options
from benchmarks.limits import Limit, Product
from benchmarks.spline_peers import found as imported
from common.bijections.splines.backend import use_backend
from common.training.capture import Captured
from lrs_flow.config import Model
from lrs_flow.model import build
from lrs_flow.train import backward

FEATURES, BINS, BOUND, CLIP = 6, 8, 3.0, 5.0
# Of noise (B, 6): the mean loss.
Loss = Callable[[Tensor], Tensor]


def comparisons(options: Options) -> list[Builder]:
    """Compare both our splines with every peer's rational-quadratic flow, float32."""
    kinds = {"lrs": "linear rational", "rq": "rational quadratic"}
    peers = {"nflows eager": _nflows, "normflows eager": _normflows, "zuko eager": _zuko}
    builders: list[Builder] = [
        partial(_step, options, kind, words, name, peer)
        for kind, words in kinds.items()
        for name, peer in peers.items()
    ]
    if options.device.type == "cuda":  # not run on a GPU yet
        builders.append(partial(_captured, options))
    return builders


def _captured(options: Options) -> Comparison:
    """Compare our step, recorded as a CUDA graph, with the same step called eagerly."""
    device = options.device
    rows, steps, hidden = (16, 2, 8) if options.quick else (512, 10, 256)
    cfg = Model(kind="lrs", steps=steps, hidden=hidden, blocks=2, bins=BINS, bound=BOUND)
    x = torch.randn(1, rows, FEATURES, device=device)
    weight = torch.ones(1, rows, device=device)
    sides = []
    for _ in range(2):
        torch.manual_seed(0)
        bank = build(cfg, (FEATURES,), None, 1, 0).to(device)
        rate = torch.tensor(5e-4, device=device)
        optimiser = torch.optim.AdamW(bank.parameters(), lr=rate, fused=True, capturable=True)

        def step(x: Tensor, weight: Tensor, bank: Any = bank, optimiser: Any = optimiser) -> Tensor:
            optimiser.zero_grad(set_to_none=True)
            with use_backend("auto"):
                losses = backward(bank, x, weight)
            bank.clip(CLIP)
            optimiser.step()
            return losses

        sides.append((step, bank, optimiser))
    step, bank, optimiser = sides[0]
    recorded = Captured(step, (x, weight), bank, optimiser, device)
    return Comparison(
        what="training step, linear rational, recorded",
        ours="lrs_flow, CUDA graph",
        peer="ours eager",
        run_ours=partial(recorded, x, weight),
        run_peer=partial(sides[1][0], x, weight),
        limit=Limit(_products(cfg, rows), device),
        facts={"batch": rows, "flow_steps": steps, "hidden": hidden},
    )


def _step(
    options: Options,
    kind: Any,
    words: str,
    name: str,
    peer: Callable[[Model], tuple[nn.Module, Loss]],
) -> Comparison:
    device = options.device
    rows, steps, hidden = (16, 2, 8) if options.quick else (512, 10, 256)
    cfg = Model(kind=kind, steps=steps, hidden=hidden, blocks=2, bins=BINS, bound=BOUND)
    torch.manual_seed(0)
    bank = build(cfg, (FEATURES,), None, 1, 0).to(device)
    module, loss = peer(cfg)
    module.to(device)
    x = torch.randn(1, rows, FEATURES, device=device)
    weight = torch.ones(1, rows, device=device)
    optimisers = [torch.optim.AdamW(m.parameters(), lr=5e-4, fused=True) for m in (bank, module)]

    def ours() -> None:
        optimisers[0].zero_grad(set_to_none=True)
        with use_backend("eager" if options.quick else "auto"):
            backward(bank, x, weight)
        bank.clip(CLIP)
        optimisers[0].step()

    def theirs() -> None:
        optimisers[1].zero_grad(set_to_none=True)
        loss(x[0]).backward()
        nn.utils.clip_grad_norm_(module.parameters(), CLIP)
        optimisers[1].step()

    return Comparison(
        what=f"training step, {words}",
        ours=f"lrs_flow, {words}",
        peer=name,
        run_ours=ours,
        run_peer=theirs,
        limit=Limit(_products(cfg, rows), device),
        packages=(name.split()[0],),
        facts={
            "batch": rows,
            "flow_steps": steps,
            "hidden": hidden,
            "parameters": sum(p.numel() for p in bank.parameters()),
            "peer_parameters": sum(p.numel() for p in module.parameters()),
        },
    )


def _products(cfg: Model, rows: int) -> list[Product]:
    """Return the products of all conditioners, forward and backward."""
    changed = FEATURES // 2
    outputs = changed * (4 * BINS - 1 if cfg.kind == "lrs" else 3 * BINS - 1)
    inner = [(cfg.hidden, cfg.hidden)] * (2 * cfg.blocks)
    products = []
    for n, m in [(changed, cfg.hidden), *inner, (cfg.hidden, outputs)] * cfg.steps:
        products += [
            Product((), rows, n, m, "nt"),
            Product((), m, rows, n, "tn"),
            Product((), rows, m, n, "nn"),
        ]
    return products


def _nflows(cfg: Model) -> tuple[nn.Module, Loss]:
    """Return the flow of its authors' experiments: permutation, LU, coupling; LU at the end."""
    t = imported("nflows.transforms", "nflows")
    nets = imported("nflows.nn.nets", "nflows")
    flows, base = imported("nflows.flows", "nflows"), imported("nflows.distributions", "nflows")

    def net(inputs: int, outputs: int) -> Any:
        return nets.ResidualNet(inputs, outputs, cfg.hidden, num_blocks=cfg.blocks)

    links = []
    for step in range(cfg.steps):
        links += [t.RandomPermutation(FEATURES), t.LULinear(FEATURES, identity_init=True)]
        links.append(
            t.PiecewiseRationalQuadraticCouplingTransform(
                mask=(torch.arange(FEATURES) + step) % 2,
                transform_net_create_fn=net,
                num_bins=BINS,
                tails="linear",
                tail_bound=BOUND,
                apply_unconditional_transform=True,
            )
        )
    links += [t.RandomPermutation(FEATURES), t.LULinear(FEATURES, identity_init=True)]
    flow = flows.Flow(t.CompositeTransform(links), base.StandardNormal((FEATURES,)))
    return flow, lambda x: -flow.log_prob(x).mean()


def _normflows(cfg: Model) -> tuple[nn.Module, Loss]:
    """Return the same with normflows' layers."""
    nf = imported("normflows", "normflows")
    links = []
    for step in range(cfg.steps):
        links.append(
            nf.flows.CoupledRationalQuadraticSpline(
                FEATURES, cfg.blocks, cfg.hidden, num_bins=BINS, reverse_mask=bool(step % 2)
            )
        )
        links.append(nf.flows.LULinearPermute(FEATURES))
    base = nf.distributions.DiagGaussian(FEATURES, trainable=False)
    flow = nf.NormalizingFlow(base, links)
    return flow, flow.forward_kld


def _zuko(cfg: Model) -> tuple[nn.Module, Loss]:
    """Return couplings alone, on as many products: zuko has no LU layer, nor free splines."""
    zuko = imported("zuko", "zuko")
    coupling = imported("zuko.flows.coupling", "zuko")
    spline = partial(zuko.transforms.MonotonicRQSTransform, bound=BOUND)
    links = [
        coupling.GeneralCouplingTransform(
            FEATURES,
            mask=(torch.arange(FEATURES) + step) % 2 == 0,
            univariate=spline,
            shapes=[(BINS,), (BINS,), (BINS - 1,)],
            hidden_features=[cfg.hidden] * (2 * cfg.blocks + 1),
        )
        for step in range(cfg.steps)
    ]
    base = zuko.lazy.UnconditionalDistribution(
        zuko.distributions.DiagNormal, torch.zeros(FEATURES), torch.ones(FEATURES), buffer=True
    )
    flow = zuko.lazy.Flow(links, base)
    return flow, lambda x: -flow().log_prob(x).mean()
