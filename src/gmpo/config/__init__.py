"""Checks of composed configs, and values derived from them. Imports no torch."""

from gmpo.config import resolvers  # noqa: F401  (registers them)
from gmpo.config.checks import check, check_evaluation, check_export, check_recipe, check_responses
from gmpo.config.cluster import layout_of
from gmpo.config.experiments import check_chosen
from gmpo.config.folder import configs_folder
from gmpo.config.keys import check_added_keys
from gmpo.config.model import model_config, vocabulary_size
from gmpo.config.old_log_probs import old_log_probs
from gmpo.config.overrides import accept_model_path, clear_config_errors
from gmpo.config.values import divisors

__all__ = [
    "accept_model_path",
    "check",
    "check_added_keys",
    "check_chosen",
    "check_evaluation",
    "check_export",
    "check_recipe",
    "check_responses",
    "clear_config_errors",
    "configs_folder",
    "divisors",
    "layout_of",
    "model_config",
    "old_log_probs",
    "vocabulary_size",
]
