"""The job of a scheduler that this process is part of, and how it is started again."""

import logging
import os
import subprocess
from collections.abc import Mapping

PATIENCE = 60.0  # seconds that Slurm gets for its answer

log = logging.getLogger(__name__)


def slurm_job(environment: Mapping[str, str] = os.environ) -> str | None:
    """What scontrol calls the job of this process; None outside of one."""
    array = environment.get("SLURM_ARRAY_JOB_ID")
    if array is not None:  # one task of the array: its number alone may mean all of them
        return f"{array}_{environment['SLURM_ARRAY_TASK_ID']}"
    return environment.get("SLURM_JOB_ID")


def requeue() -> None:
    """Have Slurm start this job again, if it is one; where Slurm does not, that is said.

    Slurm ends the processes of the job as soon as it has agreed: to be called when everything is saved.
    """
    job = slurm_job()
    if job is None:
        return
    log.warning("asking Slurm to start job %s again: the run resumes there", job)  # the last word of a run that it ends
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
