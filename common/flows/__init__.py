"""Whole models that several papers compare with."""
