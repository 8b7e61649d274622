"""The Slurm job of this process, and its requeueing."""

import logging
import os
import subprocess
from collections.abc import Mapping

PATIENCE = 60.0  # seconds that Slurm gets for its answer

log = logging.getLogger(__name__)


def slurm_job(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return scontrol's name for the job of this process; None outside a job."""
    array = environment.get("SLURM_ARRAY_JOB_ID")
    if array is not None:  # one task of the array: its number alone may mean all of them
        return f"{array}_{environment['SLURM_ARRAY_TASK_ID']}"
    return environment.get("SLURM_JOB_ID")


def requeue() -> None:
    """Ask Slurm to start this job again, if it is one; log a refusal.

    Slurm ends the job's processes as soon as it agrees: call this when everything is saved.
    """
    job = slurm_job()
    if job is None:
        return
    log.warning("asking Slurm to start job %s again: the run resumes there", job)  # the last line of a run that it ends
    try:
        asked = subprocess.run(
            ["scontrol", "requeue", job], capture_output=True, text=True, errors="replace", timeout=PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        refusal = str(error)
    else:
        refusal = asked.stderr.strip() if asked.returncode > 0 else ""  # below 0: ended with the rest of the job
    if refusal:
        log.warning("job %s is not requeued (%s): submit it again to resume the run", job, refusal)
