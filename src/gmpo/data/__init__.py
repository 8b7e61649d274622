"""Problems, their templates, and the DataModule that yields prompts."""

from gmpo.data.datamodule import MathDataModule
from gmpo.data.sources import ArithmeticSource, GSM8KSource

__all__ = ["ArithmeticSource", "GSM8KSource", "MathDataModule"]
