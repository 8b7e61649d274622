"""Rewards: what a response is worth."""

from gmpo.rewards.exact_match import ExactMatch
from gmpo.rewards.math import MathReward
from gmpo.rewards.overlong import Overlong
from gmpo.rewards.reward import Reward

__all__ = ["ExactMatch", "MathReward", "Overlong", "Reward"]
