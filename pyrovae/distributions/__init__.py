"""Distributions that neither Pyro nor PyTorch has, or that need to be faster than theirs."""
