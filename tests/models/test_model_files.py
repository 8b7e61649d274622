"""Where a model's files are looked for, with the real library of the hub."""

import json
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import ENVIRONMENT

ASK = "import json; from gmpo.models.files import *; print(json.dumps({}))"


def asked(question: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the library reads its settings when it is imported."""
    command = [sys.executable, "-c", ASK.format(question)]
    return subprocess.run(command, env=ENVIRONMENT | environment, capture_output=True, text=True, timeout=60)


@pytest.fixture
def hub(tmp_path: Path) -> str:
    """A server that has the config of one model where the hub would."""
    folder = tmp_path / "hub" / "some" / "model" / "resolve" / "main"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2", "hidden_size": 8}))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=tmp_path / "hub"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_the_hub_is_asked_for_the_config_alone(hub: str, tmp_path: Path) -> None:
    done = asked('hub_config("some/model")', HF_ENDPOINT=hub, HF_HOME=str(tmp_path / "home"))
    assert json.loads(done.stdout) == {"model_type": "qwen2", "hidden_size": 8}
    assert not list((tmp_path / "home").rglob("*.json")), "nothing is kept"


@pytest.mark.parametrize("endpoint", ["the server", "http://127.0.0.1:9"])
def test_what_cannot_be_reached_names_the_files_and_where_to_put_them(hub: str, endpoint: str, tmp_path: Path) -> None:
    address = hub if endpoint == "the server" else endpoint
    done = asked('check_reachable("no/such_model")', HF_ENDPOINT=address, HF_HOME=str(tmp_path / "home"))
    said = done.stderr.splitlines()[-1]
    assert said.startswith("ValueError: model.path=no/such_model cannot be reached: looked for config.json, one of ")
    assert "model*.safetensors in the folder" in said
    assert f"the cache {tmp_path}/home/hub" in said
    assert "give it by model=FOLDER" in said


def test_what_was_downloaded_before_needs_no_hub(tmp_path: Path) -> None:
    model = tmp_path / "home" / "hub" / "models--some--model"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text("0" * 40)
    snapshot = model / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text('{"model_type": "llama"}')
    environment = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    assert json.loads(asked('local_config("some/model")', **environment).stdout) == {"model_type": "llama"}
    assert json.loads(asked('is_cached("some/model")', **environment).stdout) is False, "it has no tokenizer"
    (snapshot / "tokenizer.json").write_text("{}")
    assert asked('check_reachable("some/model")', **environment).stdout.strip() == "null"
    assert json.loads(asked('local_config("other/model")', **environment).stdout) is None
