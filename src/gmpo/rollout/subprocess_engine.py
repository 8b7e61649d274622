"""Any engine in a process of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from torch import Tensor
from transformers.utils.logging import disable_progress_bar

from gmpo.rollout.engine import Engine
from gmpo.run.errors import EngineError, RunError
from gmpo.run.launch import end_with_parent
from gmpo.run.signals import leave_to_trainer
from gmpo.types import Request, Response

OF_THE_TRAINER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
START_PATIENCE = 900.0  # seconds to load the model in
CLOSE_PATIENCE = 5.0


class SubprocessEngine:
    """Runs an engine in a process of its own, whose death or silence is an error and not the end of the run.

    After an error every method raises EngineError until `start` is called again. Weights are sent as bytes between
    CPUs: an engine in the trainer's own process gets them faster. `generate` may run in another thread than the rest;
    `close` ends it.

    timeout: seconds without a finished response after which the engine counts as hung and is killed. first_gpu: the
    engine of a node's rank i runs on the node's GPU first_gpu + i; None: on the rank's own.
    """

    tensor_parallel = 1

    def __init__(self, engine: Engine, timeout: float, first_gpu: int | None = None) -> None:
        if engine.tensor_parallel != 1:
            raise ValueError(
                f"rollout.engine.tensor_parallel={engine.tensor_parallel} spans ranks of the trainer, which a process "
                "of its own cannot: choose rollout=vllm"
            )
        if not timeout > 0:
            raise ValueError(f"rollout.timeout={timeout} must be positive")
        self.engine = engine
        self.timeout = timeout
        self.first_gpu = first_gpu
        self.policy_version = 0
        self._generating = threading.Lock()
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None

    @property
    def pid(self) -> int | None:
        """The id of the engine's process, while it runs."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        self._connection, theirs = get_context("spawn").Pipe()
        gpu = torch.cuda.current_device() + (self.first_gpu or 0) if torch.cuda.is_available() else None
        self._process = get_context("spawn").Process(
            target=_serve, args=(self.engine, theirs, gpu), name="engine", daemon=True
        )
        self._process.start()
        theirs.close()  # so that the engine's end is noticed here
        self._answer(START_PATIENCE)
        self.policy_version = 0

    def load_weights(self, weights: Iterable[tuple[str, Tensor]], policy_version: int) -> None:
        """Send the weights; consume them all even if the engine fails, because ranks gather them together."""
        failure: EngineError | None = None
        try:
            self._send("load_weights", policy_version)
        except EngineError as error:
            failure = error
        for name, tensor in weights:
            if failure is None:
                try:
                    with self._killed_when_late():
                        self._send_tensor(name, tensor)
                except EngineError as error:
                    failure = error
        if failure is not None:
            raise failure
        self._send(None)  # the end of the weights
        self._answer(self.timeout)
        self.policy_version = policy_version

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        """Send all requests at once; each response comes back with the place of its request."""
        with self._generating:
            self._send("generate", requests)
            try:
                while (finished := self._answer(self.timeout)) is not None:
                    place, response = finished
                    yield requests[place], response
            except GeneratorExit:  # the rest would be taken for the answer to the next message
                assert self._process is not None
                self._process.kill()
                raise

    def sleep(self) -> None:
        self._send("sleep")
        self.policy_version = self._answer(self.timeout)

    def close(self) -> None:
        if self._process is None or self._connection is None:
            return
        if self._generating.locked():  # its responses are no longer wanted
            self._process.kill()
        with self._generating:
            self._connection.close()  # which ends it
            self._process.join(CLOSE_PATIENCE)
            self._process.kill()
            self._process.join()
            self._process = self._connection = None

    @contextmanager
    def _killed_when_late(self) -> Iterator[None]:
        """Kill the engine if the block takes too long: a hung process reads nothing, and a full pipe waits for ever."""
        assert self._process is not None
        late = threading.Timer(self.timeout, self._process.kill)
        late.start()
        try:
            yield
        finally:
            late.cancel()

    def _send(self, *message: Any) -> None:
        if self._connection is None:
            raise RuntimeError("the engine's process works only between start() and close()")
        try:
            self._connection.send(message)
        except OSError as error:
            raise self._failed() from error

    def _send_tensor(self, name: str, tensor: Tensor) -> None:
        self._send(name, tensor.dtype, tensor.shape)
        content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        assert self._connection is not None
        try:
            self._connection.send_bytes(memoryview(content))
        except OSError as error:
            raise self._failed() from error

    def _answer(self, patience: float) -> Any:
        """Return the next message; raise EngineError if none comes."""
        assert self._connection is not None
        try:
            if not self._connection.poll(patience):
                assert self._process is not None
                self._process.kill()
                raise EngineError(f"the engine said nothing for {patience:.0f} s (rollout.timeout) and was killed")
            kind, content = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._failed() from error
        if kind == "failure":
            raise content
        if kind == "error":
            raise EngineError(f"the engine failed: {content}")
        return content

    def _failed(self) -> EngineError:
        assert self._process is not None
        self._process.join(CLOSE_PATIENCE)
        return EngineError(f"the engine's process has ended (exit code {self._process.exitcode})")


def _serve(engine: Engine, connection: Connection, gpu: int | None) -> None:
    """Answer the trainer, in the engine's process, until it closes the connection or ends."""
    end_with_parent()
    disable_progress_bar()
    leave_to_trainer()
    for name in OF_THE_TRAINER:
        os.environ.pop(name, None)
    if gpu is not None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        os.environ["CUDA_VISIBLE_DEVICES"] = str(gpu) if visible is None else visible.split(",")[gpu]
    try:
        engine.start()
        connection.send(("done", None))
        while True:
            connection.send(("done", _act(engine, connection, *connection.recv())))
    except (EOFError, BrokenPipeError):
        engine.close()
    except RunError as failure:  # its text gives the reason
        connection.send(("failure", failure))
    except Exception as error:
        connection.send(("error", f"{type(error).__name__}: {error}"))
        raise


def _act(engine: Engine, connection: Connection, what: str, *arguments: Any) -> Any:
    if what == "load_weights":
        engine.load_weights(_incoming(connection), *arguments)
    elif what == "generate":
        (requests,) = arguments
        places = {request: place for place, request in enumerate(requests)}
        for request, response in engine.generate(requests):
            connection.send(("response", (places[request], response)))
    elif what == "sleep":
        engine.sleep()
        return engine.policy_version
    return None


def _incoming(connection: Connection) -> Iterator[tuple[str, Tensor]]:
    while (described := connection.recv()) != (None,):
        name, dtype, shape = described
        content = bytearray(connection.recv_bytes())
        yield name, torch.frombuffer(content, dtype=torch.uint8).view(dtype).reshape(shape)
