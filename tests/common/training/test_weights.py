"""Exported weights are equal bytes for equal content, and are read with the same caution."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from common.errors import UserError
from common.training.weights import read_weights, write_weights
from tests.common.training.test_checkpoint import Payload, flip, truncate

STATE = {"b": torch.arange(3.0), "a": torch.eye(2), "n": torch.tensor(4)}
FACTS = {"method": "lu_net", "steps": 3, "sizes": [1, 2]}


def test_weights_come_back_exactly(tmp_path):
    write_weights(tmp_path / "weights.pt", STATE, FACTS)
    state, facts = read_weights(tmp_path / "weights.pt")
    torch.testing.assert_close(state, STATE, rtol=0, atol=0)
    assert facts == FACTS


def test_torch_alone_can_read_them(tmp_path):
    write_weights(tmp_path / "weights.pt", STATE, FACTS)
    content = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert content["metadata"] == FACTS
    assert torch.equal(content["state_dict"]["b"], STATE["b"])


def test_equal_content_gives_equal_bytes(tmp_path):
    big = torch.arange(6.0)
    same = {
        "n": torch.nn.Parameter(torch.tensor(4.0), requires_grad=True).long(),
        "a": torch.nn.Parameter(torch.eye(2).t()),
        "b": big[:3],
    }
    key = "".join(["st", "eps"])
    write_weights(tmp_path / "one.pt", STATE, FACTS)
    write_weights(tmp_path / "two.pt", same, {"sizes": (1, 2), key: 3, "method": "lu_net"})
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "two.pt").read_bytes()


@pytest.mark.slow
def test_another_process_writes_the_same_bytes(tmp_path):
    program = (
        "import sys, torch; from pathlib import Path\n"
        "from common.training.weights import write_weights\n"
        "write_weights(Path(sys.argv[1]), {'n': torch.tensor(4), 'a': torch.eye(2),"
        " 'b': torch.arange(3.0)}, {'steps': 3, 'method': 'lu_net', 'sizes': [1, 2]})"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "other.pt")]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[3])
    write_weights(tmp_path / "weights.pt", STATE, FACTS)
    digests = {hashlib.sha256(file.read_bytes()).hexdigest() for file in tmp_path.iterdir()}
    assert len(digests) == 1


def test_missing_weights_say_what_to_do(tmp_path):
    with pytest.raises(UserError, match=r"no weights there; run the training stage"):
        read_weights(tmp_path / "weights.pt")


@pytest.mark.parametrize("size", [0, 10, 700, -1])
def test_truncated_weights_are_refused(tmp_path, size):
    write_weights(tmp_path / "weights.pt", STATE, FACTS)
    truncate(tmp_path / "weights.pt", size)
    with pytest.raises(UserError, match="damaged weights"):
        read_weights(tmp_path / "weights.pt")


def test_a_flipped_bit_in_the_weights_is_noticed(tmp_path):
    path = tmp_path / "weights.pt"
    write_weights(path, {"a": torch.full((1000,), 3.0)}, {})
    value = torch.tensor(3.0).numpy().tobytes() * 10
    flip(path, 8 * path.read_bytes().index(value) + 5)
    with pytest.raises(UserError, match="damaged weights"):
        read_weights(path)


def test_malicious_weights_are_refused_and_not_executed(tmp_path):
    path, target = tmp_path / "weights.pt", tmp_path / "owned"
    torch.save({"state_dict": {}, "metadata": Payload(target)}, path)
    with pytest.raises(UserError, match="not executed"):
        read_weights(path)
    assert not target.exists()


def test_a_file_of_something_else_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "weights.pt")
    with pytest.raises(UserError, match="not a file of exported weights"):
        read_weights(tmp_path / "weights.pt")
