import pytest
import torch
from torch import backends

from common.solvers import full_precision

KINDS = (
    backends.cuda.matmul,
    backends.cudnn.conv,
    backends.cudnn.rnn,
    backends.mkldnn.matmul,
    backends.mkldnn.conv,
    backends.mkldnn.rnn,
)


def settings():
    return [kind.fp32_precision for kind in KINDS]


def by_the_older_switches():
    torch.set_float32_matmul_precision("high")
    backends.cudnn.allow_tf32 = True


def by_the_newer_switches():
    for kind in KINDS:
        kind.fp32_precision = "tf32"


def mixed():
    backends.cuda.matmul.fp32_precision = "ieee"
    backends.cudnn.conv.fp32_precision = "tf32"


@pytest.fixture(params=[by_the_older_switches, by_the_newer_switches, mixed])
def before(request):
    original = settings()
    request.param()
    yield settings()
    torch.set_float32_matmul_precision("highest")
    for kind, setting in zip(KINDS, original, strict=True):
        kind.fp32_precision = setting


# Some versions of torch warn of the older switches, which a user may still set.
pytestmark = pytest.mark.filterwarnings("ignore:Please use the new API settings")


def test_inside_everything_is_float32_and_afterwards_as_before(before):
    with full_precision():
        assert settings() == ["ieee"] * 6
        with full_precision():
            pass
        assert settings() == ["ieee"] * 6
    assert settings() == before


def test_an_exception_restores_the_settings_too(before):
    with pytest.raises(ZeroDivisionError), full_precision():
        raise ZeroDivisionError
    assert settings() == before


def test_the_older_switches_can_be_read_afterwards():
    reading = backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32
    with full_precision():
        assert not backends.cuda.matmul.allow_tf32
    assert (backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32) == reading
