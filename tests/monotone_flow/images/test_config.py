import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from common.errors import UserError
from common.training import config
from monotone_flow.images.config import Evaluate, Model, Optimiser, Train
from monotone_flow.images.model import build, count

ROOT = Path(__file__).parents[3]
PROFILES = [path.stem for path in sorted((ROOT / "conf/monotone_flow").glob("*.yaml"))]
WHERE = "params.yaml:monotone_flow.images.train.digits.monotone_cpila"
GOOD: dict[str, Any] = {"model": {"kind": "monotone"}, "steps": 10}
IMAGES = {
    "digits": ((1, 8, 8), 17),
    "mnist": ((1, 28, 28), 256),
    "cifar10": ((3, 32, 32), 256),
    "imagenet64": ((3, 64, 64), 256),
}


def section(profile: str, *keys: str) -> config.Section:
    return config.section("monotone_flow", profile, *keys, root=ROOT)


def published(dataset: str, method: str) -> Train:
    return config.load(section("paper-gpu", "images", "train", dataset, method), Train)


def refused(change: dict[str, Any]) -> str:
    with pytest.raises(UserError) as error:
        config.load(GOOD | change, Train, WHERE)
    return str(error.value)


# The profiles


@pytest.mark.parametrize("profile", PROFILES)
def test_every_image_run_of_a_profile_is_described_and_can_be_built(profile: str):
    for name, run in section(profile, "image_runs").items():
        dataset, method = run["dataset"], run["method"]
        assert name == f"{profile}-{dataset}-{method}"
        cfg = config.load(section(profile, "images", "train", dataset, method), Train)
        config.load(section(profile, "images", "evaluate", dataset), Evaluate)
        few = dataclasses.replace(cfg.model, blocks=(1,) * len(cfg.model.blocks))
        with torch.device("meta"):
            model = build(few, *IMAGES[dataset], seed=None)
        assert count(model) > 0
        assert (profile != "paper-gpu") == bool(cfg.model.scaled_down)


@pytest.mark.parametrize("profile", ["fast", "paper"])
def test_the_ablation_crosses_blocks_and_activations_and_nothing_else(profile: str):
    methods = section(profile, "images", "train", "digits")
    found = {name: config.load(methods.at(name), Train) for name in methods}
    crossed = {f"{k}_{a}": (k, a) for k in ("residual", "monotone") for a in ("clipswish", "cpila")}
    assert {n: (c.model.kind, c.model.activation) for n, c in found.items()} == crossed
    plain = {
        repr(cfg).replace(cfg.model.kind, "").replace(cfg.model.activation, "")
        for cfg in found.values()
    }
    assert len(plain) == 1


@pytest.mark.parametrize(
    ("dataset", "method", "expected"),
    [
        ("mnist", "monotone", 20_872_826),
        ("cifar10", "monotone", 24_894_430),
        ("cifar10", "i_densenet", 24_894_430 + 3 * 52),
        ("cifar10", "residual_flow", 25_174_129),
        ("cifar10", "monotone_vdq", 24_894_430 + 21_997_218),
        ("imagenet64", "monotone", 48_907_888),
    ],
)
def test_models_have_as_many_parameters_as_the_published_ones(dataset, method, expected):
    with torch.device("meta"):
        model = build(published(dataset, method).model, *IMAGES[dataset], seed=None)
    assert count(model) == expected


def test_the_published_cifar_training():
    cfg = published("cifar10", "monotone")
    assert (cfg.batch, cfg.accumulation, cfg.learn_shares_from, cfg.flip) == (64, 1, 25, True)
    assert cfg.optimiser == Optimiser(lr=1e-3, warmup=1000, clip=1.0, average=0.999)
    assert (cfg.series.exact, cfg.series.look_exact, cfg.series.rate) == (10, 20, 2.0)
    assert (cfg.model.alpha, cfg.model.coefficient, cfg.model.lip) == (0.05, 0.98, 0.98)
    assert cfg.tolerance == 1e-3


def test_what_differs_between_the_published_trainings():
    mnist, imagenet = published("mnist", "monotone"), published("imagenet64", "monotone")
    assert (mnist.model.alpha, mnist.batch * mnist.accumulation, mnist.flip) == (1e-6, 256, False)
    assert not mnist.series.memory_saving
    assert (imagenet.batch, imagenet.optimiser.lr, imagenet.learn_shares_from) == (256, 4e-3, 0)
    assert published("cifar10", "i_densenet").series.exact == 2


# Steps and rates


def test_the_rate_rises_along_a_line_and_stays():
    cfg = Train(Model("monotone"), Optimiser(lr=1.0, warmup=4), steps=10)
    assert [cfg.rate(step) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert Train(Model("monotone"), Optimiser(lr=1.0, warmup=0), steps=10).rate(0) == 1


def test_epochs_end_with_a_whole_step_of_the_optimiser():
    assert Train(Model("monotone"), steps=10).last(7) == 10
    assert Train(Model("monotone"), epochs=3).last(7) == 21
    assert Train(Model("monotone"), epochs=3, accumulation=4).last(7) == 24


# Refused


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"model": {"kind": "monotone", "growth": 5}}, "growth counts pairs; expected an even"),
        (
            {"model": {"kind": "monotone", "activation": "crelu", "vector_growth": 3}},
            "crelu doubles the channels, so vector_growth counts pairs; expected an even number",
        ),
        ({"model": {"kind": "monotone", "net": "plain"}}, "expected activation lipswish, or net"),
        (
            {
                "model": {
                    "kind": "residual",
                    "net": "plain",
                    "activation": "lipswish",
                    "dequantisation": "variational",
                }
            },
            "expected net dense",
        ),
        ({"model": {"kind": "cayley"}}, "expected 'residual', 'inverse_residual' or 'monotone'"),
        ({"model": {"kind": "monotone", "alpha": 0.5}}, "alpha' expected less than 0.5"),
        ({"accumulation": 3, "eval_every": 9}, "steps must be a multiple of accumulation, 3"),
        ({"accumulation": 4}, "steps must be a multiple of accumulation"),
        ({"epochs": 1}, "expected either steps or epochs, got both or neither"),
        ({"steps": None}, "expected either steps or epochs, got both or neither"),
        ({"batchsize": 3}, "batchsize' (did you mean 'batch'?)"),
        ({"optimiser": {"average": 1.0}}, "average' expected less than 1"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(change: dict[str, Any], expected: str):
    message = refused(change)
    assert message.startswith("params.yaml: ")
    assert "monotone_flow.images.train.digits.monotone_cpila" in message
    assert expected in message


def test_an_odd_growth_is_fine_where_nothing_doubles():
    model = Model("residual", activation="lipswish", growth=5, vector_growth=3)
    assert build(model, (1, 8, 8), 17, 0).flow is not None


def test_a_single_probe_knows_no_error_and_is_refused():
    with pytest.raises(UserError, match="probes' expected greater than or equal to 2"):
        config.load({"probes": 1}, Evaluate, WHERE)
