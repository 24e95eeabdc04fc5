import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.datasets import find
from common.datasets.images import IMAGE_SETS
from common.datasets.uci import TABLES
from common.errors import UserError
from common.training import config
from lrs_flow.config import Train
from lrs_flow.data import FOLDS, load_folds
from lrs_flow.model import build
from lrs_flow.protocol import Evaluate, Inverse

ROOT = Path(__file__).parents[2]
PROFILES = sorted(path.stem for path in (ROOT / "conf/lrs_flow").glob("*.yaml"))
WHERE = "params.yaml:lrs_flow.train.wine.lrs_c"
GOOD: dict[str, Any] = {"model": {"kind": "lrs"}}


def refused(change: dict[str, Any]) -> str:
    with pytest.raises(UserError) as error:
        config.load(GOOD | change, Train, WHERE)
    return str(error.value)


# The profiles


@pytest.mark.parametrize("profile", PROFILES)
def test_every_run_of_a_profile_can_be_trained_and_evaluated(profile: str):
    section = config.section("lrs_flow", profile, root=ROOT)
    models = set()
    for key, run in section["runs"].items():
        dataset, method = run["dataset"], run["method"]
        assert key == f"{profile}-{dataset}-{method}"
        find(dataset)
        trained = config.load(section.at("train").at(dataset).at(method), Train)
        config.load(section.at("evaluate").at(dataset), Evaluate)
        if dataset in TABLES:
            assert trained.models == FOLDS, key
        models.add((trained.model, dataset in IMAGE_SETS))
    for model, of_images in models:
        # Those of many steps differ in nothing else; five halvings of 32 pixels are the most.
        few = dataclasses.replace(model, steps=1)
        build(few, (1, 32, 32) if of_images else (2,), 17 if of_images else None, 1, 0)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_inverses_of_a_profile_are_those_of_trained_methods(profile: str):
    section = config.section("lrs_flow", profile, root=ROOT)
    inverse = config.load(section.at("inverse"), Inverse)
    runs = [(run["dataset"], run["method"]) for run in section["runs"].values()]
    assert all((inverse.dataset, method) in runs for method in inverse.methods)


def test_the_default_parameters_are_those_of_the_fast_profile():
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert params["profile"] == "fast"
    assert params["lrs_flow"] == config.section("lrs_flow", "fast", root=ROOT)


# One training


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"step": 3}, ".step' (did you mean 'steps'?)"),
        ({"optimizer": {"lr": 1e-3}}, ".optimizer' (did you mean 'optimiser'?)"),
        ({"model": {"kind": "lrs", "bin": 8}}, ".model.bin' (did you mean 'bins'?)"),
        ({"optimiser": {"clips": 5.0}}, ".optimiser.clips' (did you mean 'clip'?)"),
    ],
)
def test_an_unknown_key_names_the_nearest_one(change: dict[str, Any], expected: str):
    message = refused(change)
    assert message.startswith("params.yaml: unknown key 'lrs_flow.train.wine.lrs_c")
    assert message.endswith(expected)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"steps": "ten"}, ".steps' expected an integer, got 'ten' (str)"),
        ({"steps": -1}, ".steps' expected greater than or equal to 0"),
        ({"batch": 0}, ".batch' expected greater than 0"),
        ({"model": {"kind": "spline"}}, ".model.kind' expected 'lrs', 'rq', 'q', 'affine'"),
        ({"model": {"kind": "lrs", "dropout": 1.0}}, ".dropout' expected less than 1"),
        ({"model": {"kind": "lrs", "dropout": -0.1}}, ".dropout' expected greater than or equal"),
        ({"model": {"kind": "lrs", "bins": 1}}, ".bins' expected greater than or equal to 2"),
        ({"model": {"kind": "lrs", "bins": 501}}, ".bins' expected less than or equal to 500"),
        ({"model": {"kind": "lrs", "bound": 0.0}}, ".bound' expected greater than 0"),
        ({"model": {"kind": "ffjord", "atol": 0.0}}, ".atol' expected greater than 0"),
        ({"model": {"kind": "lrs", "tails": False}}, "expected kind lrs, rq or q, and linear:"),
        (
            {"model": {"kind": "affine", "tails": False, "linear": False}},
            "expected kind lrs, rq or q, and linear: false",
        ),
        ({"optimiser": {"lr": -1e-3}}, ".lr' expected greater than or equal to 0"),
        ({"dtype": "float16"}, ".dtype' expected 'float32' or 'float64'"),
        ({"model": {"kind": "gaussian"}}, "closed form; expected steps: 0"),
        (
            {"model": {"kind": "ffjord", "layer": "autoregressive"}},
            "FFJORD has no layers to choose",
        ),
        ({"stop": 300}, "stop must be a multiple of eval_every, 250, and at most steps, 1000"),
        ({"stop": 1250}, "at most steps, 1000; got 1250"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(change: dict[str, Any], expected: str):
    message = refused(change)
    assert message.startswith("params.yaml: 'lrs_flow.train.wine.lrs_c")
    assert expected in message


def test_splines_on_the_unit_square_are_accepted_without_linear_layers():
    square = {"kind": "q", "tails": False, "linear": False}
    assert not config.load(GOOD | {"model": square}, Train, WHERE).model.tails


def test_a_training_ends_where_it_is_told_to_stop():
    assert config.load(GOOD, Train, WHERE).last == 1000
    assert config.load(GOOD | {"stop": 500}, Train, WHERE).last == 500


# Its data


def test_a_cross_validated_set_takes_a_model_for_each_fold(tmp_path: Path):
    with pytest.raises(UserError) as error:
        load_folds("wine", tmp_path, 3, 0)
    assert str(error.value) == (
        "wine: is cross-validated, so models must be 10, one for each fold, got 3"
    )


def test_folds_share_no_test_item_and_miss_none(raw: Path):
    folds = load_folds("wine", raw, FOLDS, 0)
    assert [len(fold.test) for fold in folds] == [17, 18, 18, 18, 18, 17, 18, 18, 18, 18]
    for fold in folds:
        assert len(fold.train) + len(fold.valid) + len(fold.test) == 178
        # Train and validation together are standardised.
        seen = fold.train.x.numel() + fold.valid.x.numel()
        assert abs((fold.train.x.sum() + fold.valid.x.sum()) / seen) < 1e-12
    assert len({fold.digest for fold in folds}) == FOLDS


def test_other_sets_are_shared_by_all_models(raw: Path):
    (data,) = load_folds("digits", raw, 3, 0)
    assert data.shape == (1, 8, 8)
