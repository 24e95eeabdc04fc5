"""Log-determinants of I + J and of (I - J)(I + J)^-1: exact, truncated, unbiased, gradient only.

Each estimator is a function of a product v -> J^T v, made by `linearise`.
"""

from common.logdet.estimate import Estimate
from common.logdet.exact import (
    dense_jacobian,
    exact_trace,
    jacobian,
    monotone_logdet,
    residual_logdet,
)
from common.logdet.hutchinson import hutchinson
from common.logdet.lengths import Lengths, geometric, poisson
from common.logdet.linearise import Product, linearise
from common.logdet.memory_saving import memory_saving_surrogate
from common.logdet.neumann import Surrogate, neumann_surrogate
from common.logdet.power_series import power_series
from common.logdet.probes import gaussian, rademacher
from common.logdet.roulette import roulette
from common.logdet.second_moment import SecondMoment
from common.logdet.series import MONOTONE, RESIDUAL, Series, remainder_bound

__all__ = [
    "MONOTONE",
    "RESIDUAL",
    "Estimate",
    "Lengths",
    "Product",
    "SecondMoment",
    "Series",
    "Surrogate",
    "dense_jacobian",
    "exact_trace",
    "gaussian",
    "geometric",
    "hutchinson",
    "jacobian",
    "linearise",
    "memory_saving_surrogate",
    "monotone_logdet",
    "neumann_surrogate",
    "poisson",
    "power_series",
    "rademacher",
    "remainder_bound",
    "residual_logdet",
    "roulette",
]
