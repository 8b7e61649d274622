"""A Slurm of its own: this host poses as two nodes, on free ports and out of one folder, until it is closed."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar

from conftest import ENVIRONMENT

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scancel", "scontrol", "sinfo", "squeue")
PATH = os.pathsep.join([ENVIRONMENT.get("PATH", ""), "/usr/sbin", "/sbin"])  # where a distribution puts daemons
NODES = ("n1", "n2")
SETTINGS = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=1
JobRequeue=0
ReturnToService=2
KillWait=2
MinJobAge=3600
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
T = TypeVar("T")


def missing() -> str | None:
    """Why there can be no Slurm here."""
    if os.geteuid() != 0:
        return "Slurm's daemons run as root"
    absent = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    return f"{', '.join(absent)} not installed: apt-get install slurm-wlm munge" if absent else None


class TwoNodes:
    """munged, slurmctld and two slurmds, with room for one task on each node.

    environment: of all jobs, on top of this process's.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # short: names of sockets end at 107 characters
        self._daemons: list[subprocess.Popen[bytes]] = []
        self.environment = {
            **ENVIRONMENT,
            **environment,
            "PATH": PATH,
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "MASTER_ADDR": "127.0.0.1",  # n1 and n2 are no names of the network
            "MASTER_PORT": str(free_ports(1)[0]),
        }

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        self.folder.chmod(0o755)
        for name in ("state", *NODES):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        host = socket.gethostname().partition(".")[0]
        controller, *ports = free_ports(1 + len(NODES))
        lines = [
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 State=UNKNOWN"
            for name, port in zip(NODES, ports, strict=True)
        ]
        settings = SETTINGS.format(host=host, controller=controller, folder=self.folder)
        (self.folder / "slurm.conf").write_text("\n".join([settings, *lines, ""]))
        files = {"socket": "munge", "key-file": "munge.key", "pid-file": "munged.pid", "log-file": "munged.log"}
        files["seed-file"] = "munged.seed"
        places = [f"--{option}={self.folder / name}" for option, name in files.items()]
        self._daemon("munged", "--foreground", "--force", "--num-threads=2", *places)
        self.wait_for((self.folder / "munge").is_socket, 10)
        self._daemon("slurmctld", "-D")
        for name in NODES:
            self._daemon("slurmd", "-D", "-N", name)
        self.wait_for(lambda: self.run("sinfo", "-h", "-N", "-t", "idle", "-o", "%N").split() == list(NODES), 30)

    def _daemon(self, *command: str) -> None:
        with (self.folder / "daemons.log").open("ab") as log:
            self._daemons.append(
                subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, start_new_session=True)
            )

    def run(self, *command: str) -> str:
        """What one of Slurm's commands says."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        return done.stdout + done.stderr

    def job(self, number: str) -> dict[str, str]:
        """What `scontrol show job` says about it, by name; nothing of one that is unknown."""
        words = self.run("scontrol", "-o", "show", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def wait_for(self, condition: Callable[[], T], seconds: float, why_not: Callable[[], str] = lambda: "") -> T:
        """What `condition` returns once it is true."""
        until = time.monotonic() + seconds
        while not (found := condition()):
            dead = [daemon.args for daemon in self._daemons if daemon.poll() is not None]
            assert not dead, f"{dead} ended:\n{(self.folder / 'daemons.log').read_text()[-3000:]}"
            assert time.monotonic() < until, f"waited too long:\n{why_not()[-3000:]}"
            time.sleep(0.1)
        return found

    def close(self) -> None:
        """End the jobs, then the daemons, and nothing else."""
        if len(self._daemons) == 2 + len(NODES):
            self.run("scancel", "--full", "--signal=KILL", "--user=root")
            self.run("scancel", "--user=root")
            until = time.monotonic() + 20
            while self.run("squeue", "-h").strip() and time.monotonic() < until:
                time.sleep(0.1)
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in self._daemons:
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def free_ports(count: int) -> list[int]:
    """So many that nothing listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [end.getsockname()[1] for end in sockets]
    for end in sockets:
        end.close()
    return ports
