import pytest
from omegaconf import OmegaConf

from gmpo.run.launch import Launch, follow, launch


def test_torchrun_is_recognised() -> None:
    environment = {
        "TORCHELASTIC_RUN_ID": "none",
        "RANK": "11",
        "LOCAL_RANK": "3",
        "WORLD_SIZE": "16",
        "LOCAL_WORLD_SIZE": "8",
        "SLURM_NTASKS": "2",  # torchrun in a Slurm job, once on each node
        "SLURM_PROCID": "1",
    }
    assert launch(environment) == Launch(11, 3, 16, 2, "torchrun")


def test_slurm_is_recognised() -> None:
    environment = {"SLURM_NTASKS": "16", "SLURM_NNODES": "2", "SLURM_PROCID": "9", "SLURM_LOCALID": "1"}
    started = launch(environment)
    assert started == Launch(9, 1, 16, 2, "Slurm")
    assert started.devices == 8
    for job in ("bash", "interactive"):  # a person types in a job of this name: Lightning starts the processes
        assert not launch(environment | {"SLURM_JOB_NAME": job}).is_external


def test_lightning_starts_the_others_itself() -> None:
    assert launch({}) == Launch(0, 0, None, None, "Lightning")
    assert launch({"LOCAL_RANK": "1"}).rank == 1
    assert launch({}).devices is None


@pytest.mark.parametrize(
    ("started", "said"),
    [
        (Launch(0, 0, 1, 1, "Slurm"), "Slurm started 1 processes, but cluster.devices=8 .* start them by srun"),
        (Launch(0, 0, 4, 1, "torchrun"), "torchrun started 4 processes, .* asks for 8, or choose a smaller cluster"),
        (Launch(0, 0, 9, 2, "Slurm"), "Slurm started 9 processes on 2 nodes: start as many on each"),
    ],
)
def test_fewer_processes_than_the_cluster_asks_for_are_refused(started: Launch, said: str) -> None:
    cfg = OmegaConf.create({"cluster": {"devices": 8, "nodes": 1}})
    with pytest.raises(ValueError, match=said):
        follow(started, cfg)


def test_what_a_launcher_started_is_what_there_is() -> None:
    cfg = OmegaConf.create({"cluster": {"devices": 1, "nodes": 1}})
    follow(Launch(0, 0, 16, 2, "Slurm"), cfg)
    assert cfg.cluster == {"devices": 8, "nodes": 2}
    follow(Launch(0, 0, None, None, "Lightning"), cfg)
    assert cfg.cluster == {"devices": 8, "nodes": 2}
