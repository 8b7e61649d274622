"""Sharded state on disk: what is written comes back, and nothing that stands in it is run."""

import io
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from torch.distributed.checkpoint.api import CheckpointException

from gmpo.checkpoint import storage
from gmpo.checkpoint.folder import Manifest, damage


class Runs:
    """Runs code where it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return open, ("ran",)


def state() -> storage.State:
    return {"optimizer": {"weight": torch.arange(6.0).reshape(2, 3), "lr": 0.1, "betas": (0.9, 0.99), "half": None}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "checkpoint"
    storage.save(state(), path, asynchronous=False, group=None)
    storage.complete(path, {"step": 3}, Manifest(3, 1, {"torch": "2"}))
    return path


def test_what_is_written_comes_back(folder: Path) -> None:
    read = {"optimizer": {"weight": torch.zeros(2, 3), "lr": 0.0, "betas": (0.0, 0.0), "half": 1}}
    storage.load(read, folder)
    assert read["optimizer"]["weight"].equal(state()["optimizer"]["weight"])
    assert {**read["optimizer"], "weight": 0} == {**state()["optimizer"], "weight": 0}
    assert storage.load_meta(folder / storage.META) == {"step": 3}
    assert Manifest.read(folder).rollout_step == 3
    assert sorted(Manifest.read(folder).files) == [".metadata", "__0_0.distcp", "meta.pt"]
    assert sorted(path.name for path in folder.iterdir()) == [".metadata", "__0_0.distcp", "checkpoint.json", "meta.pt"]


def test_each_file_is_checked(folder: Path, tmp_path: Path) -> None:
    assert damage(folder) is None
    for name in Manifest.read(folder).files:
        copy = shutil.copytree(folder, tmp_path / name)
        content = bytearray((copy / name).read_bytes())
        content[-3] ^= 4
        (copy / name).write_bytes(content)
        assert damage(copy) == f"{name} holds other bytes than were written"


def test_metadata_that_would_run_code_is_refused(folder: Path) -> None:
    for evil in (Runs(), torch.distributed.checkpoint.FileSystemReader):
        (folder / ".metadata").write_bytes(pickle.dumps(evil))
        with pytest.raises(CheckpointException, match="which could run code"):
            storage.load(state(), folder)
    assert not Path("ran").exists()


def test_values_that_would_run_code_are_refused(folder: Path, tmp_path: Path) -> None:
    evil = {"optimizer": {"lr": Runs()}}
    storage.save(evil, tmp_path / "evil", asynchronous=False, group=None)
    with pytest.raises(CheckpointException, match="weights_only"):
        storage.load({"optimizer": {"lr": 0.1}}, tmp_path / "evil")
    assert not Path("ran").exists()


def test_meta_that_would_run_code_is_refused(folder: Path) -> None:
    written = io.BytesIO()
    torch.save({"step": Runs()}, written)
    (folder / storage.META).write_bytes(written.getvalue())
    with pytest.raises(ValueError, match="could run code"):
        storage.load_meta(folder / storage.META)
    assert not Path("ran").exists()
