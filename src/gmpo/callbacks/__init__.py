"""Lightning callbacks: rollouts, evaluation, checkpoints, times, records, console output."""

from gmpo.callbacks.checkpoint import CheckpointCallback
from gmpo.callbacks.evaluation import EvaluationCallback
from gmpo.callbacks.final_model import FinalModelCallback
from gmpo.callbacks.guards import Guard, GuardsCallback
from gmpo.callbacks.profile import ProfileCallback
from gmpo.callbacks.progress import ProgressCallback
from gmpo.callbacks.rollout import RolloutCallback
from gmpo.callbacks.rollout_table import RolloutTableCallback
from gmpo.callbacks.skipped_updates import SkippedUpdates
from gmpo.callbacks.summary import SummaryCallback
from gmpo.callbacks.throughput import ThroughputCallback

__all__ = [
    "CheckpointCallback",
    "EvaluationCallback",
    "FinalModelCallback",
    "Guard",
    "GuardsCallback",
    "ProfileCallback",
    "ProgressCallback",
    "RolloutCallback",
    "RolloutTableCallback",
    "SkippedUpdates",
    "SummaryCallback",
    "ThroughputCallback",
]
