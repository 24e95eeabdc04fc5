import numpy as np

from common.datasets.columns import discrete, rare_minimum, uncorrelated


def test_whole_number_columns_are_discrete():
    x = np.array([[1.0, 0.5, -3.0], [0.0, 1.0, 1e6]])
    assert discrete(x).tolist() == [True, False, True]


def test_the_first_column_of_a_correlated_pair_goes():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 400))
    x = np.stack((a, b, 2 * a + 0.01 * b, b + 3), axis=1)
    assert uncorrelated(x).tolist() == [2, 3]


def test_columns_are_dropped_one_at_a_time():
    # A chain: the ends are correlated with the middle but not with each other.
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((2, 4000))
    x = np.stack([a * np.cos(t) + b * np.sin(t) for t in (0.0, 0.17, 0.34)], axis=1)
    correlation = np.corrcoef(x, rowvar=False)
    assert correlation[0, 1] > 0.98 > correlation[0, 2]
    # The first goes for the second, then the second for the third.
    assert uncorrelated(x).tolist() == [2]


def test_the_correlation_counts_with_its_sign():
    a = np.random.default_rng(2).standard_normal(100)
    assert uncorrelated(np.stack((a, -a), axis=1)).tolist() == [0, 1]


def test_a_minimum_that_is_often_taken_drops_the_column_and_another_value_does_not():
    x = np.tile(np.arange(20.0)[:, None], 3)
    x[:6, 1] = -1.0
    x[:6, 2] = 30.0
    assert rare_minimum(x).tolist() == [0, 2]
    x[5, 1] = 7.0
    assert rare_minimum(x).tolist() == [0, 1, 2]
