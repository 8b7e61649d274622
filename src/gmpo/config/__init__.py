"""Composed configs: their checks, and what follows from them. Imports no torch."""

from gmpo.config import resolvers  # noqa: F401  (registers them)
from gmpo.config.checks import check, check_evaluation, check_recipe
from gmpo.config.cluster import layout_of
from gmpo.config.keys import check_added_keys
from gmpo.config.model import model_config, vocabulary_size
from gmpo.config.overrides import clear_config_errors
from gmpo.config.values import divisors

__all__ = [
    "check",
    "check_added_keys",
    "check_evaluation",
    "check_recipe",
    "clear_config_errors",
    "divisors",
    "layout_of",
    "model_config",
    "vocabulary_size",
]
