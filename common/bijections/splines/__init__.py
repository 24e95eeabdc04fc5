"""Monotone splines of one scalar, whose parameters a conditioner outputs."""

from common.bijections.splines.linear_rational import LinearRational
from common.bijections.splines.quadratic import Quadratic
from common.bijections.splines.rational_quadratic import RationalQuadratic
from common.bijections.splines.spline import Spline

__all__ = ["LinearRational", "Quadratic", "RationalQuadratic", "Spline"]
