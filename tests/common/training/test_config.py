"""Parameters are loaded strictly, and a mistake is answered in one helpful sentence."""

from pathlib import Path
from typing import Literal

import pytest
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from common.errors import UserError
from common.training import config

STRICT = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True, config=STRICT)
class Optimiser:
    lr: float


@dataclass(frozen=True, config=STRICT)
class Train:
    steps: int
    lr: float
    schedule: Literal["cosine", "staircase"] = "cosine"
    widths: tuple[int, ...] = ()
    optimiser: Optimiser | None = None

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError("steps must not be negative")


WHERE = "params.yaml:lu_net.train.digits.lu_net"
GOOD = {"steps": 3, "lr": 0.1}


def test_a_right_section_becomes_a_dataclass():
    section = {**GOOD, "lr": 1, "widths": [2, 3], "optimiser": {"lr": 2}}
    assert config.load(section, Train, WHERE) == Train(
        steps=3, lr=1.0, widths=(2, 3), optimiser=Optimiser(lr=2.0)
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"step": 3}, "unknown key '{}.step' (did you mean 'steps'?)"),
        (
            {"zzz": 3},
            "unknown key '{}.zzz' (known: lr, optimiser, schedule, steps, widths)",
        ),
        ({"lr": "fast"}, "'{}.lr' expected a number, got 'fast' (str)"),
        ({"lr": None}, "'{}.lr' expected a number, got nothing"),
        ({"steps": 1.5}, "'{}.steps' expected an integer, got 1.5 (float)"),
        ({"steps": True}, "'{}.steps' expected an integer, got True (bool)"),
        ({"steps": -1}, "'{}': steps must not be negative"),
        (
            {"schedule": "cosin"},
            "'{}.schedule' expected 'cosine' or 'staircase', got 'cosin' (str)",
        ),
        ({"widths": [1, "x"]}, "'{}.widths.1' expected an integer, got 'x' (str)"),
        (
            {"optimiser": {"lrr": 1.0}},
            "unknown key '{}.optimiser.lrr' (did you mean 'lr'?)",
        ),
        ({"optimiser": {}}, "missing key '{}.optimiser.lr'"),
    ],
)
def test_a_wrong_section_is_named_in_one_sentence(change, sentence):
    with pytest.raises(UserError) as caught:
        config.load({**GOOD, **change}, Train, WHERE)
    expected = sentence.replace("{}", "lu_net.train.digits.lu_net")
    assert str(caught.value) == f"params.yaml: {expected}"


def test_a_missing_key_is_named():
    with pytest.raises(UserError, match=r"^params.yaml: missing key 'lu_net.*\.lr'$"):
        config.load({"steps": 3}, Train, WHERE)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(
        "profile: fast\nlu_net:\n  train:\n    digits:\n      lu_net: {steps: 3, lr: 1e-3}\n"
    )
    (tmp_path / "conf" / "lu_net").mkdir(parents=True)
    (tmp_path / "conf" / "lu_net" / "paper.yaml").write_text(
        "train:\n  digits:\n    lu_net: {steps: 900, lr: 0.1}\n"
    )
    return tmp_path


@pytest.mark.parametrize(("profile", "steps"), [(None, 3), ("fast", 3), ("paper", 900)])
def test_a_section_is_that_of_the_profile(root, profile, steps):
    section = config.section("lu_net", profile, "train", "digits", "lu_net", root=root)
    assert config.load(section, Train).steps == steps


def test_an_exponent_without_a_point_is_a_number(root):
    section = config.section("lu_net", "fast", "train", "digits", "lu_net", root=root)
    assert config.load(section, Train).lr == 1e-3


def test_messages_name_the_file_of_the_profile(root):
    section = config.section("lu_net", "paper", "train", "digits", "lu_net", root=root)
    section["step"] = 3
    with pytest.raises(
        UserError, match=r"^conf/lu_net/paper.yaml: unknown key 'train.digits.lu_net.step'"
    ):
        config.load(section, Train)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("lu_net", "fast", "trian"), "unknown key 'lu_net.trian' (did you mean 'train'?)"),
        (("lunet", "fast"), "unknown key 'lunet' (did you mean 'lu_net'?)"),
        (("lu_net", "papers"), "unknown profile 'papers' of lu_net (did you mean 'paper'?)"),
        (
            ("lu_net", "fast", "train", "digits", "lu_net", "lr"),
            "'lu_net.train.digits.lu_net.lr' expected a mapping, got 0.001 (float)",
        ),
    ],
)
def test_an_unknown_coordinate_is_answered_with_the_nearest(root, arguments, sentence):
    with pytest.raises(UserError) as caught:
        config.section(*arguments, root=root)
    assert str(caught.value).removeprefix("params.yaml: ") == sentence


@pytest.mark.parametrize("text", ["profile: [", "a: b: c", "- 1\n- 2\n", "\tx: 1"])
def test_malformed_yaml_is_one_sentence(tmp_path, text):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        config.section("lu_net", None, root=tmp_path)
    assert str(caught.value).startswith("params.yaml")
    assert "\n" not in str(caught.value)


def test_a_missing_parameter_file_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"^params.yaml: not found"):
        config.section("lu_net", None, root=tmp_path)
