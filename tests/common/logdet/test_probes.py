import pytest
import torch

from common.logdet import gaussian, rademacher
from tests.common.logdet.nets import normal, seeded

PROBES = pytest.mark.parametrize("draw", [gaussian, rademacher], ids=lambda draw: draw.__name__)


@PROBES
def test_probes_have_mean_zero_and_the_identity_as_covariance(draw):
    n = 20_000
    probes = draw(n, normal(3), seeded())
    # The mean has standard error 1/sqrt(n), each entry of the covariance at most sqrt(2/n).
    assert probes.mean(0).abs().max() < 4 / n**0.5
    covariance = probes.T @ probes / n
    assert (covariance - torch.eye(3)).abs().max() < 4 * (2 / n) ** 0.5


@PROBES
def test_probes_follow_the_shape_dtype_and_generator(draw):
    like = torch.zeros(4, 3, 8, 8)
    probes = draw(2, like, seeded(1))
    assert probes.shape == (2, 4, 3, 8, 8)
    assert probes.dtype == torch.float32
    assert torch.equal(probes, draw(2, like, seeded(1)))
    assert not torch.equal(probes, draw(2, like, seeded(2)))


def test_rademacher_probes_are_signs():
    assert set(rademacher(5, normal(4, 3), seeded()).unique().tolist()) == {-1.0, 1.0}


@PROBES
def test_no_probes_are_refused(draw):
    with pytest.raises(ValueError, match="expected at least one, got 0"):
        draw(0, normal(4, 3), seeded())
