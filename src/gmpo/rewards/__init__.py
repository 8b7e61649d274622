"""Rewards: what a response is worth."""

from gmpo.rewards.exact_match import ExactMatch
from gmpo.rewards.format import FormatReward
from gmpo.rewards.isolated import Isolated
from gmpo.rewards.math import MathReward
from gmpo.rewards.overlong import Overlong
from gmpo.rewards.reward import Instant, Reward, as_reward, report_of, verifier_of
from gmpo.rewards.weighted_sum import WeightedSum

__all__ = [
    "ExactMatch",
    "FormatReward",
    "Instant",
    "Isolated",
    "MathReward",
    "Overlong",
    "Reward",
    "WeightedSum",
    "as_reward",
    "report_of",
    "verifier_of",
]
