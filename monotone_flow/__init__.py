"""Normalising flows from invertible monotone operators, replicated; not begun."""
