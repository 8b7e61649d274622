"""Problems, their templates, and the DataModule that yields prompts."""

from gmpo.data.datamodule import MathDataModule
from gmpo.data.dataset import ProblemSource
from gmpo.data.questions import Wrapping
from gmpo.data.sources import ArithmeticSource, MixedSource

__all__ = ["ArithmeticSource", "MathDataModule", "MixedSource", "ProblemSource", "Wrapping"]
