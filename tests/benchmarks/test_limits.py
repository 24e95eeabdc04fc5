import pytest
import torch

from benchmarks.limits import Limit, Product, Traffic, copy_bytes_per_second
from benchmarks.lu_products import inverse_flops, training_products

CPU = torch.device("cpu")


def test_the_products_of_a_layer_are_those_of_its_strips():
    dense = 2.0 * 3 * 256 * 784**2
    work = sum(p.flops for p in training_products((3,), 256, 784, CPU))
    # Seven strips: each of the six triangular products is (1 + 1/7) / 2 of a dense one.
    assert work == pytest.approx(6 * dense * 4 / 7)
    first = sum(p.flops for p in training_products((3,), 256, 784, CPU, to_input=False))
    assert first == pytest.approx(5 * dense * 4 / 7)


def test_the_flops_of_an_inverse_are_those_of_two_triangles():
    assert inverse_flops(100, 784) == 2 * 100 * 784 * 784


@pytest.mark.parametrize("layout", ["nn", "nt", "tn", "tt"])
def test_a_limit_runs_products_of_every_layout(layout):
    limit = Limit([Product((2,), 3, 4, 5, layout), Product((), 3, 4, 5, layout)], CPU)
    limit()
    assert limit.flops == 2 * 3 * (3 * 4 * 5)


def test_a_limit_scales_the_measured_time_by_the_operations():
    product = Product((), 10, 10, 10)
    assert Limit([product], CPU).seconds(4.0) == 4.0
    assert Limit([product], CPU, flops=500.0).seconds(4.0) == 1.0
    assert Limit([product] * 5, CPU).gflops(1e-6) == pytest.approx(10.0)


def test_a_copy_has_a_rate():
    assert copy_bytes_per_second(CPU, size=2**16, rounds=2) > 0


def test_traffic_is_bounded_by_a_copy_of_as_many_bytes():
    limit = Traffic(1000, CPU)
    limit()
    assert limit._source.nbytes + limit._target.nbytes == 1000
    assert limit.seconds(4.0) == 4.0
    assert limit.rate(1e-6) == {"limit_gbytes_per_s": pytest.approx(1.0)}
