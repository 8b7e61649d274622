"""An exported model behind vLLM's OpenAI-compatible server, which is a process of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
import torch
from conftest import ENVIRONMENT, make_prompt
from small_training import fit, module

from gmpo.models.export import export
from gmpo.types import Group, Response, Rollout

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed"),
]
SETTINGS = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "TORCHDYNAMO_DISABLE": "1",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}
STARTS_WITHIN, ENDS_WITHIN = 240, 60  # seconds
SAMPLES, LENGTH = 4, 24


def ask(url: str, content: dict[str, Any] | None = None) -> bytes:
    data = None if content is None else json.dumps(content).encode()
    with urlopen(Request(url, data, {"Content-Type": "application/json"}), timeout=60) as answer:
        return answer.read()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served(folder: Path, log: Path) -> Iterator[tuple[str, int]]:
    """The address of a server, and the session of processes that it leads; afterwards these have ended."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    command += ["--dtype", "float32", "--enforce-eager", "--max-model-len", "256", "--served-model-name", "policy"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with log.open("w") as file:
        server = subprocess.Popen(command, env=ENVIRONMENT | SETTINGS, stdout=file, stderr=file, start_new_session=True)
    try:
        wait_until_healthy(server, url, log)
        yield url, server.pid
    finally:
        end(server)


def wait_until_healthy(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline:
        assert server.poll() is None, f"the server ended by itself: {log.read_text()[-3000:]}"
        try:
            ask(f"{url}/health")
        except (URLError, ConnectionError):
            time.sleep(0.5)
        else:
            return
    pytest.fail(f"no answer in {STARTS_WITHIN} s: {log.read_text()[-3000:]}")


def end(server: subprocess.Popen[bytes]) -> None:
    """Ask, wait, then kill the whole group."""
    server.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + ENDS_WITHIN
    while (server.poll() is None or alive(server.pid)) and time.monotonic() < deadline:
        time.sleep(0.2)
    if server.poll() is None or alive(server.pid):
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        pytest.fail(f"the server and its processes did not end in {ENDS_WITHIN} s")


def alive(session: int) -> list[str]:
    """The processes of a session that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        state, _, _, its_session = rest.split()[:4]
        if int(its_session) == session and state not in "ZX":
            found.append(name)
    return found


def test_the_server_samples_from_what_was_trained(qwen2_folder: str, tmp_path: Path) -> None:
    policy = module(qwen2_folder, dtype="float32")
    fit(policy, steps=2).trainer.save_checkpoint(tmp_path / "checkpoint")
    export(str(tmp_path / "checkpoint"), str(tmp_path / "out"))
    prompt = make_prompt("12+34")
    asked = {
        "model": "policy",
        "prompt": prompt.token_ids,
        "n": SAMPLES,
        "max_tokens": LENGTH,
        "temperature": 1.0,
        "seed": 0,
        "logprobs": 0,  # of the sampled token alone
        "return_token_ids": True,
    }
    with served(tmp_path / "out", tmp_path / "server.log") as (url, session):
        answer = json.loads(ask(f"{url}/v1/completions", asked))
        chat = {"model": "policy", "messages": [{"role": "user", "content": "1+1"}], "max_tokens": 4}
        said = json.loads(ask(f"{url}/v1/chat/completions", chat))["choices"][0]["message"]
        assert len(alive(session)) > 1, "the server and its engine"
    assert alive(session) == []
    assert said["role"] == "assistant"
    rollouts = []
    for choice in answer["choices"]:
        log_probs = choice["logprobs"]["token_logprobs"]
        response = Response(choice["token_ids"], log_probs, choice["text"], choice["finish_reason"] == "length")
        rollouts.append(Rollout(response, 0.0))
    assert len({tuple(rollout.response.token_ids) for rollout in rollouts}) == SAMPLES
    policy.old_log_probs.fill([Group(prompt, rollouts)])
    for rollout in rollouts:
        assert rollout.old_log_probs is not None
        torch.testing.assert_close(rollout.old_log_probs, torch.tensor(rollout.response.log_probs), rtol=0, atol=1e-4)
