"""Inverse problems with invertible generative priors, replicated; not begun."""
