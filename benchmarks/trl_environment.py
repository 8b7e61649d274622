"""Make TRL's environment for benchmarks/against_trl.py: its own packages on top of this project's.

torch, vLLM and transformers are the very ones of this Python, so that both sides run on the same. TRL 1.16 names vLLM
0.22 to 0.31 as supported, and warns of others; its sampled log-probs agree with its trainer's to 1e-6 on 0.32 as well.
"""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from work import ROOT

FOLDER = ROOT / ".venv-trl"
PACKAGES = ("trl==1.16.0", "accelerate==1.15.0")  # without their requirements, which are here already


def python_of(folder: Path = FOLDER) -> Path:
    """Return the environment's Python; make the environment if it is missing."""
    python = folder / "bin" / "python"
    made_of = folder / "made-of.txt"
    here = "\n".join([*PACKAGES, sysconfig.get_path("purelib"), sys.version])
    if not made_of.is_file() or made_of.read_text() != here:
        print(f"making {folder.name}: {', '.join(PACKAGES)} beside this project's packages", flush=True)
        venv.create(folder, clear=True, with_pip=True)
        (own,) = folder.glob("lib/python*/site-packages")
        (own / "project.pth").write_text(sysconfig.get_path("purelib") + "\n")
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", *PACKAGES]
        if subprocess.call(pip) != 0:
            sys.exit(f"error: {folder.name} could not be made; pip's message is above")
        made_of.write_text(here)
    return python


if __name__ == "__main__":
    print(python_of())
