"""Problems, their templates, and the DataModule that yields prompts."""

from gmpo.data.datamodule import MathDataModule
from gmpo.data.dataset import ArithmeticDataset, MixedDataset
from gmpo.data.problem_dataset import ProblemDataset
from gmpo.data.questions import Wrapping

__all__ = ["ArithmeticDataset", "MathDataModule", "MixedDataset", "ProblemDataset", "Wrapping"]
