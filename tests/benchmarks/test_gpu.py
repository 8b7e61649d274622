"""The GPU's benchmark on a CPU and a tiny shape, and without a GPU."""

import json
import sys
from pathlib import Path
from typing import Any

import gpu
import pytest
import torch
from gpu_shapes import SHAPES, model_flops, random_model, random_sequences


def run(monkeypatch: pytest.MonkeyPatch, file: Path, *arguments: str) -> Any:
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--json", str(file), *arguments])
    gpu.main()
    return json.loads(file.read_text())


def test_every_way_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = ["--device", "cpu", "--shape", "tiny", "--tokens", "60", "100", "--rounds", "1"]
    found = run(monkeypatch, tmp_path / "gpu.json", *small)["raw"]["found"]
    ways = ["varlen", "varlen, checkpointing", "sdpa", "plain"]
    assert [(f["way"], f["tokens"]) for f in found] == [(way, tokens) for way in ways for tokens in (60, 100)]
    assert all(f["share_of_matmul"] > 0 for f in found)


def test_without_a_gpu_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run(monkeypatch, tmp_path / "gpu.json")["ratios"] == {}
    assert capsys.readouterr().out == "there is no GPU here: nothing is measured\n"


def test_parameters_of_the_shapes_are_the_published_ones() -> None:
    assert SHAPES["7b"].matrix_parameters + 3584 * 152_064 == pytest.approx(7.62e9, rel=0.001)
    assert SHAPES["1.5b"].matrix_parameters == pytest.approx(1.54e9, rel=0.005)  # the embedding is the head
    shape = SHAPES["tiny"]
    model = random_model(shape, "sdpa", torch.device("cpu"), torch.float32)
    matrices = sum(p.numel() for name, p in model.named_parameters() if p.ndim == 2)
    assert shape.matrix_parameters == matrices


def test_flops_grow_with_parameters_and_pairs_of_tokens() -> None:
    shape = SHAPES["7b"]
    one = model_flops(shape, random_sequences(shape, 4000))
    assert one == pytest.approx(6 * shape.matrix_parameters * 4000, rel=0.05)
    assert model_flops(shape, random_sequences(shape, 8000)) > 2 * one
