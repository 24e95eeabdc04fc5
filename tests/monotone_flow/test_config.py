from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from common.training import config
from common.training.provenance import parameter_count
from monotone_flow.config import DOUBLES, Model, Optimiser, Train
from monotone_flow.profiles import PROFILES as KNOWN
from monotone_flow.toys import TOYS
from monotone_flow.vectors import build, kernel_sizes

ROOT = Path(__file__).parents[2]
PROFILES = [
    path.stem
    for path in sorted((ROOT / "conf/monotone_flow").glob("*.yaml"))
    if "train" in config.section("monotone_flow", path.stem, root=ROOT)
]
WHERE = "params.yaml:monotone_flow.train.toys.monotone"
GOOD: dict[str, Any] = {"model": {"layout": ["monotone"]}}


def refused(change: dict[str, Any]) -> str:
    with pytest.raises(UserError) as error:
        config.load(GOOD | change, Train, WHERE)
    return str(error.value)


def published(dataset: str, method: str) -> Train:
    section = config.section("monotone_flow", "paper", "train", dataset, method, root=ROOT)
    return config.load(section, Train)


# The profiles


@pytest.mark.parametrize("profile", PROFILES)
def test_every_training_of_a_profile_can_be_built(profile: str):
    section = config.section("monotone_flow", profile, "train", root=ROOT)
    for dataset, methods in section.items():
        for method in methods:
            cfg = config.load(section.at(dataset).at(method), Train)
            assert all(name in TOYS for name in cfg.sets)
            assert (dataset == "toys") == bool(cfg.sets)
            few = Model(cfg.model.layout, activation=cfg.model.activation, growth=4, depth=1)
            build(few, 1 if dataset == "staircase" else 2, cfg.models, 0)
            assert cfg.look_after(cfg.steps)
            assert (profile == "fast") == bool(cfg.model.scaled_down)


@pytest.mark.parametrize(
    ("dataset", "method", "count"),
    [
        ("staircase", "residual", 100_372),
        ("staircase", "scaled_residual", 100_378),
        ("staircase", "scaled_mixed", 100_376),
        ("staircase", "monotone", 100_378),
        ("toys", "monotone", 5_640),
        ("toys", "i_densenet", 5_670),
    ],
)
def test_models_have_as_many_parameters_as_the_published_ones(dataset, method, count):
    model = published(dataset, method).model
    stack = build(model, 1 if dataset == "staircase" else 2, 2, 0)
    assert parameter_count(stack) == 2 * count


def test_the_published_staircase_training():
    cfg = published("staircase", "monotone")
    assert (cfg.steps, cfg.batch, cfg.learn_shares_from) == (15_000, 5000, 0)
    rates = [cfg.rate(step) for step in (0, 4999, 5000, 9999, 10_000, 14_999)]
    assert rates == pytest.approx([1e-2, 1e-2, 2e-3, 2e-3, 4e-4, 4e-4])
    assert (cfg.optimiser.weight_decay, cfg.norms.iterations, cfg.norms.tol) == (0, 200, 1e-4)


def test_the_published_toy_training():
    cfg = published("toys", "monotone")
    assert cfg.sets == ("swissroll", "circles", "rings", "moons", "8gaussians", "pinwheel",
                        "2spirals", "checkerboard")  # fmt: skip
    assert (cfg.steps, cfg.batch, cfg.learn_shares_from) == (50_000, 500, 25_000)
    assert {cfg.rate(step) for step in (0, 49_999)} == {1e-3}
    assert (cfg.optimiser.weight_decay, cfg.norms.iterations, cfg.norms.tol) == (1e-5, 5, 0)
    looks = [step for step in range(1, cfg.steps + 1) if cfg.look_after(step)]
    assert looks[-20:] == list(range(48_100, 50_001, 100))


# Looks and rates


def test_looks_are_close_together_at_the_end():
    cfg = Train(Model(("monotone",)), steps=60, eval_every=20, last_looks=3, last_every=5)
    looks = [step for step in range(1, 61) if cfg.look_after(step)]
    assert looks == [20, 40, 50, 55, 60]
    even = Train(Model(("monotone",)), steps=70, eval_every=20, last_looks=1, last_every=20)
    assert [step for step in range(1, 71) if even.look_after(step)] == [20, 40, 70]


def test_the_rate_falls_after_each_milestone():
    optimiser = Optimiser(lr=1.0, milestones=(3, 5), factor=0.5)
    cfg = Train(Model(("monotone",)), optimiser)
    assert [cfg.rate(step) for step in range(7)] == [1, 1, 1, 0.5, 0.5, 0.25, 0.25]


def test_activations_that_double_the_channels_need_pairs_and_others_do_not():
    assert {name for name, known in KNOWN.items() if known.doubles} == set(DOUBLES)
    assert Model(("monotone",), activation="sine", growth=5).growth == 5


def test_models_are_sets_times_seeds():
    assert Train(Model(("monotone",)), seeds=3).models == 3
    assert Train(Model(("monotone",)), sets=("rings", "moons"), seeds=3).models == 6
    assert Model(("actnorm", "monotone"), repeat=2).parts == ("actnorm", "monotone") * 2


def test_kernels_are_compiled_for_the_batch_and_for_hard_samples_where_asked():
    assert kernel_sizes(Train(Model(("monotone",)), batch=500)) == set()
    assert kernel_sizes(Train(Model(("monotone",)), batch=500, compiled=True)) == {500, 32, 128}


# Refused


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"step": 3}, ".step' (did you mean 'steps'?)"),
        ({"optimizer": {"lr": 1e-3}}, ".optimizer' (did you mean 'optimiser'?)"),
        ({"model": {"layout": ["monotone"], "grow": 8}}, ".model.grow' (did you mean 'growth'?)"),
        ({"norms": {"iteration": 5}}, ".norms.iteration' (did you mean 'iterations'?)"),
    ],
)
def test_an_unknown_key_names_the_nearest_one(change: dict[str, Any], expected: str):
    message = refused(change)
    assert message.startswith("params.yaml: unknown key 'monotone_flow.train.toys.monotone")
    assert message.endswith(expected)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"steps": "ten"}, ".steps' expected an integer, got 'ten' (str)"),
        ({"batch": 0}, ".batch' expected greater than 0"),
        ({"model": {"layout": ["cayley"]}}, "expected 'actnorm', 'residual', 'inverse_residual'"),
        ({"model": {"layout": ["monotone"], "coefficient": 1.0}}, "expected less than 1"),
        ({"model": {"layout": ["monotone"], "activation": "relu"}}, "'cpila', 'clipswish'"),
        (
            {"model": {"layout": ["monotone"], "growth": 5, "concatenation": None}},
            "cpila doubles the channels, so growth counts pairs; expected an even number, got 5",
        ),
        ({"optimiser": {"lr": 0.0}}, ".lr' expected greater than 0"),
        ({"dtype": "float16"}, ".dtype' expected 'float32' or 'float64'"),
        ({"steps": 1999}, "the last looks need 20 times 100 steps; got steps 1999"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(change: dict[str, Any], expected: str):
    message = refused(change)
    assert message.startswith("params.yaml: 'monotone_flow.train.toys.monotone")
    assert expected in message
