"""Invertible generative modelling with linear rational splines, replicated; not begun."""
