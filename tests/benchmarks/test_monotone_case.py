import dataclasses
import json

import pytest
import torch
from torch.testing import assert_close

from benchmarks.__main__ import main
from benchmarks.cases import CASES, monotone_1d_step, monotone_2d_step
from benchmarks.comparison import Options
from benchmarks.monotone_case import OurStep, configuration, published_nets, sources
from common.training.weights import write_weights

QUICK = Options(torch.device("cpu"), quick=True)


@pytest.fixture(autouse=True)
def _no_results_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def saturated(dataset, dtype="float64"):
    """Return our step with weights so large that all norms are at their bounds."""
    cfg = configuration(dataset, None, QUICK)
    model = dataclasses.replace(cfg.model, repeat=2 if dataset == "toys" else 1)  # two blocks
    cfg = dataclasses.replace(cfg, dtype=dtype, model=model)
    ours = OurStep(dataset, cfg, None, torch.device("cpu"))
    with torch.no_grad():
        for weight in ours.chain.nets.weights:
            weight.mul_(3)
    ours.chain.nets.power_iterate(200)
    return ours


def sides(dataset, dtype="float64"):
    """Return our step and the published models with its weights."""
    ours = saturated(dataset, dtype)
    if dataset == "staircase":
        return ours, [monotone_1d_step.published_fit(ours.chain)]
    return ours, monotone_2d_step.published_densities(ours)


def losses(ours, theirs):
    """Return the losses (K,) of both sides on the points of the step."""
    x, y = ours.points()
    mine = ours.task.losses(ours.stack, x, y).mean(-1)
    if len(theirs) == 1:
        return mine, (theirs[0](x[0]) - y[0]).square().mean().unsqueeze(0)
    densities = zip(theirs, x, strict=True)
    return mine, torch.stack([-model.log_prob(points).mean() for model, points in densities])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("dataset", ["staircase", "toys"])
def test_both_sides_have_the_same_losses_to_the_tolerance_of_the_published_solver(dataset, dtype):
    mine, published = losses(*sides(dataset, dtype))
    # Its residuals are up to 1e-6 (1 + |w|), and slopes of a few blocks magnify them.
    assert_close(published, mine, rtol=0, atol=1e-5 if dtype == "float64" else 1e-4)


@pytest.mark.parametrize("dataset", ["staircase", "toys"])
def test_both_sides_have_the_same_gradients_to_that_tolerance(dataset):
    ours, theirs = sides(dataset)
    for side in losses(ours, theirs):
        side.sum().backward()
    nets = ours.chain.nets
    for k, model in enumerate(theirs):
        for n, block in enumerate(model.blocks):
            pairs = [(block.net.concat, nets.shares)]
            pairs += zip(block.net.weights, nets.weights, strict=True)
            pairs += zip(block.net.biases, nets.biases, strict=True)
            for published, mine in pairs:
                largest = mine.grad.abs().max().item()
                assert_close(published.grad, mine.grad[k, n], rtol=0, atol=1e-4 * (1 + largest))
    for i, scale in enumerate(ours.chain.scales):
        assert_close(theirs[0].shifts[i].grad, scale.shift.grad[0], rtol=1e-4, atol=1e-4)


def test_every_call_takes_the_same_step_from_the_same_weights():
    cfg = configuration("toys", None, QUICK)
    ours = OurStep("toys", cfg, None, torch.device("cpu"))
    before = [weight.detach().clone() for weight in ours.stack.parameters()]
    first = ours()
    assert any(not torch.equal(a, b) for a, b in zip(before, ours.stack.parameters(), strict=True))
    assert_close(ours(), first, rtol=0, atol=0)


def test_the_published_nets_take_over_the_singular_vectors():
    nets = saturated("toys").chain.nets
    weights = published_nets(nets, 1)[0]
    norm = weights["left0"] @ weights["weight0"] @ weights["right0"]
    expected = torch.linalg.matrix_norm(nets.weights[0][1, 0], 2)
    assert_close(norm, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize(("dataset", "case"), [("staircase", "1d"), ("toys", "2d")])
def test_weights_of_a_training_add_a_row_for_its_last_step(dataset, case, tmp_path):
    cfg = configuration(dataset, tmp_path / "any.pt", QUICK)
    trained = OurStep(dataset, cfg, None, torch.device("cpu")).stack
    write_weights(tmp_path / "weights.pt", trained.tensors(), {"models": cfg.models})
    options = dataclasses.replace(QUICK, weights=tmp_path / "weights.pt")
    assert sources(dataset, options) == [None, tmp_path / "weights.pt"]
    _, build = CASES[f"monotone_{case}_step"].load()(options)
    pair = build()
    assert pair.what == "training step, trained weights"
    assert pair.facts["weights"] == "weights.pt"
    assert pair.facts["loss_difference"] < 1e-4


def test_the_weights_of_another_model_are_refused(tmp_path, capsys):
    write_weights(tmp_path / "weights.pt", {"x": torch.zeros(3)}, {})
    with pytest.raises(SystemExit):
        main(["monotone_2d_step", "--quick", "--weights", "weights.pt"])
    out, err = capsys.readouterr()
    (line,) = [json.loads(line) for line in out.splitlines()]
    assert line["weights"] == "fresh"
    assert "weights.pt: expected the weights of toys, monotone, paper profile" in err
