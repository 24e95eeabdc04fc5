import numpy as np
import pytest

from common.datasets import maf


def test_the_last_tenth_tests_and_the_last_tenth_of_the_rest_validates():
    x = np.arange(1_059.0)[:, None]
    train, valid, test = maf.split_tail(x)
    assert (len(train), len(valid), len(test)) == (859, 95, 105)
    assert np.array_equal(np.concatenate((train, valid, test)), x)


@pytest.mark.parametrize(
    ("total", "sizes"),
    [
        (2_049_280, (1_659_917, 184_435, 204_928)),
        (1_052_065, (852_174, 94_685, 105_206)),
        (36_488, (29_556, 3_284, 3_648)),
    ],
)
def test_the_published_totals_give_the_published_sizes(total, sizes):
    assert tuple(len(part) for part in maf.split_tail(np.zeros((total, 1)))) == sizes


def test_power_draws_the_published_numbers_in_the_published_order():
    x = np.random.default_rng(0).uniform(1, 9, (500, 8))
    # The published steps one by one: rows shuffled in place, columns 3 and then 1 dropped.
    rng = np.random.RandomState(42)
    rows = x.copy()
    rng.shuffle(rows)
    rows = np.delete(np.delete(rows, 3, axis=1), 1, axis=1)
    voltage = 0.01 * rng.rand(500, 1)
    active = 0.001 * rng.rand(500, 1)
    metering = rng.rand(500, 3)
    rows = rows + np.hstack((active, voltage, metering, np.zeros((500, 1))))
    rest = rows[:450]
    expected = (rows - rest.mean(0)) / rest.std(0)
    before = x.copy()
    parts = maf.power(x)
    assert [len(part) for part in parts] == [405, 45, 50]
    np.testing.assert_allclose(np.concatenate(parts), expected, rtol=0, atol=1e-13)
    assert np.array_equal(x, before)


def test_whole_minutes_get_noise_and_change_nothing_else():
    x = np.random.default_rng(0).uniform(1, 9, (500, 8))
    x[:, 7] = np.arange(500)
    plain = np.concatenate(maf.power(x))
    noisy = np.concatenate(maf.power(x, whole_minutes=True))
    assert np.array_equal(plain[:, :5], noisy[:, :5])
    # One minute is the spacing of the sorted plain times.
    minute = np.diff(np.sort(plain[:, 5])).mean()
    shift = (noisy - plain)[:, 5] / minute
    assert 0.9 < shift.max() - shift.min() < 1.1


def test_gas_drops_correlated_sensors_and_scales_by_all_rows():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 3)) * 5 + 2
    x = np.column_stack((x[:, 0] + 0.01 * rng.standard_normal(300), x))
    parts = maf.gas(x)
    everything = np.concatenate(parts)
    np.testing.assert_allclose(everything.mean(0), 0, atol=1e-14)
    np.testing.assert_allclose(everything.std(0, ddof=1), 1, rtol=1e-14)
    kept = (x - x.mean(0)) / x.std(0, ddof=1)
    np.testing.assert_allclose(everything, kept[:, 1:], rtol=0, atol=1e-13)


def test_hepmass_scales_by_its_training_file_and_drops_repeated_minima():
    rng = np.random.default_rng(0)
    train, test = rng.standard_normal((105, 3)) + 4, rng.standard_normal((40, 3)) + 4
    train[:6, 1] = -2.0
    trailing = np.full((40, 1), 1000.0)
    new_train, valid, new_test = maf.hepmass(train, np.hstack((test, trailing)))
    assert new_train.shape == (95, 2)
    assert valid.shape == (10, 2)
    rest = np.concatenate((new_train, valid))
    np.testing.assert_allclose(rest.std(0, ddof=1), 1, rtol=1e-14)
    expected = (test - train.mean(0)) / train.std(0, ddof=1)
    np.testing.assert_allclose(new_test, expected[:, [0, 2]], rtol=0, atol=1e-14)


def test_miniboone_drops_missing_rows_before_it_counts_minima():
    x = np.random.default_rng(0).standard_normal((60, 4))
    x[:, 2] = np.maximum(x[:, 2], 0)
    missing = np.full((11, 4), -999.0)
    rows = maf.miniboone_rows(np.concatenate((x[:30], missing, x[30:])))
    assert np.array_equal(rows, x[:, [0, 1, 3]])


def test_miniboone_scales_by_train_and_validation():
    x = np.random.default_rng(0).standard_normal((200, 2)) * 3 + 1
    train, valid, test = maf.miniboone(x)
    rest = np.concatenate((train, valid))
    np.testing.assert_allclose(rest.mean(0), 0, atol=1e-14)
    np.testing.assert_allclose(rest.std(0), 1, rtol=1e-14)
    expected = (x[180:] - x[:180].mean(0)) / x[:180].std(0)
    np.testing.assert_allclose(test, expected, rtol=0, atol=1e-14)


def test_the_partial_set_never_trains_on_test_rows():
    rng = np.random.default_rng(0)
    valid, test, head = (rng.standard_normal((n, 2)) for n in (50, 30, 40))
    train, new_valid, new_test = maf.miniboone_partial(valid, test, 100 * head + 7)
    assert (len(train), len(new_valid)) == (81, 9)
    assert np.array_equal(new_test, test)
    rest = {row.tobytes() for row in np.concatenate((train, new_valid))}
    assert {row.tobytes() for row in valid} < rest
    assert not rest & {row.tobytes() for row in test}
    # The other forty rows are the head at its own scale.
    assert len(rest - {row.tobytes() for row in valid}) == 40
    other = maf.miniboone_partial(valid, test, head, seed=1)[1]
    assert not np.array_equal(new_valid, other)
