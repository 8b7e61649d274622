"""Composed configs: their checks, and what follows from them. Imports no torch."""

from gmpo.config import resolvers  # noqa: F401  (registers them)
from gmpo.config.checks import check, check_evaluation, check_recipe
from gmpo.config.cluster import layout_of
from gmpo.config.model import model_config, vocabulary_size
from gmpo.config.values import divisors

__all__ = ["check", "check_evaluation", "check_recipe", "divisors", "layout_of", "model_config", "vocabulary_size"]
