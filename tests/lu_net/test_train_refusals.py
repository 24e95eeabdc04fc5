"""What is wrongly asked of a training is refused in one sentence that says what to do."""

import shutil

import pytest

from tests.trainings import sentence

# Every test waits for processes that import torch.
pytestmark = pytest.mark.slow

HERE = "'lu_net.train.digits.lu_net"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"epoch": 3}, f"unknown key {HERE}.epoch' (did you mean 'epochs'?)"),
        (
            {"model": {"kind": "lu_net", "layer": 2}},
            f"{HERE}.model.layer' (did you mean 'layers'?)",
        ),
        ({"optimizer": {"lr": 1e-3}}, f"{HERE}.optimizer' (did you mean 'optimiser'?)"),
        ({"epochs": "ten"}, f"{HERE}.epochs' expected an integer, got 'ten' (str)"),
        ({"epochs": 1.5}, f"{HERE}.epochs' expected an integer, got 1.5 (float)"),
        ({"optimiser": {"lr": "fast"}}, f"{HERE}.optimiser.lr' expected a number, got 'fast'"),
        ({"optimiser": 1e-3}, f"{HERE}.optimiser' expected a mapping, got 0.001 (float)"),
        ({"model": {"kind": "lunet"}}, f"{HERE}.model.kind' expected 'gaussian', 'lu_net' or"),
        ({"model": None}, f"{HERE}.model' expected a mapping, got nothing"),
        ({"batch": 0}, "batch, eval_every, save_every must be positive"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_was_expected(workspace, change, expected):
    workspace.digits["lu_net"].update(change)
    message = sentence(workspace.train())
    assert message.startswith("params.yaml: ")
    assert expected in message
    assert not (workspace.folder / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--dataset", "digit"], "'lu_net.train.digit' (did you mean 'digits'?)"),
        (["--method", "realnpv"], "'lu_net.train.digits.realnpv' (did you mean 'realnvp'?)"),
        (["--profile", "papr"], "unknown profile 'papr' of lu_net (did you mean 'paper'?)"),
        (["--device", "cuda"], "--device cuda: no CUDA device was found; use --device cpu"),
        (["--device", "gpu"], "--device gpu: expected auto, cpu, cuda or cuda:<number>"),
        pytest.param(
            ["--device", "meta"],
            "--device meta: expected auto, cpu, cuda or cuda:<number>",
        ),
        (["--raw", "elsewhere"], "run `python -m common.datasets.fetch digits --raw elsewhere`"),
    ],
)
def test_a_wrong_argument_is_named_with_what_was_expected(workspace, arguments, expected):
    workspace.write_params()
    conf = workspace.folder / "conf/lu_net"
    conf.mkdir(parents=True)
    (conf / "paper.yaml").touch()
    given = ["--dataset", "digits", "--method", "lu_net", *arguments]  # the last one counts
    assert expected in sentence(workspace.command(*given).done())
    assert not (workspace.folder / "results").exists()


def test_a_data_set_that_only_the_parameters_know_is_refused(workspace):
    workspace.write_params()
    params = workspace.folder / "params.yaml"
    params.write_text(params.read_text().replace("digits:", "digitz:"))
    message = sentence(workspace.command("--dataset", "digitz", "--method", "lu_net").done())
    assert message.startswith("unknown data set 'digitz' (did you mean 'digits'?)")


def test_missing_raw_data_name_the_command_that_brings_them(workspace):
    shutil.rmtree(workspace.folder / "data")
    assert sentence(workspace.train()).endswith("run `python -m common.datasets.fetch digits`")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("lu_net: [", "not valid YAML"), ("- 1", "expected a mapping"), (None, "unknown profile")],
)
def test_a_params_file_that_cannot_be_read_is_one_sentence(workspace, text, expected):
    if text is not None:
        (workspace.folder / "params.yaml").write_text(text)
    arguments = ["--dataset", "digits", "--method", "lu_net"]
    assert expected in sentence(workspace.command(*arguments).done())
