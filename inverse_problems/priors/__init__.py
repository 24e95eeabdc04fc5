"""Generative models of images as priors of an inverse problem."""
