"""Reinforcement learning of mathematical reasoning with Geometric-Mean Policy Optimization."""

__version__ = "0.1.0"
