"""Workers as actors of Ray, on one machine or a cluster. The one module that imports ray."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from batch.job import BatchJob, BatchTask, JobError, Outcome, Row
from batch.pool import Died, Event, Idle, processors, run_pool
from weights.errors import InputError

PROBE = ".seen-by-all"  # In the batch's folder, while it is found out whether all machines see it.


class RayCluster:
    """Works through a batch by Ray's actors: one a GPU, or a few processors each; Ray decides on which machines.

    Photos are read and results written by the actors, through paths that mean the same on every machine; a group's
    tasks and outcomes, some hundred bytes a photo, are all that travels. An actor has one group at a time.

    Args:
        workers: How many actors; None: as many as the cluster has GPUs, or room for with so many threads. Of more
            than there are GPUs, several share one.
        address: Of a running cluster, or "auto" for the one of this machine; None: a local one, for this batch alone.
        threads: That each computes with; None: on a local cluster the processors are divided, elsewhere 1.
        shared: Whether all machines share the batch's folder. If not, each keeps its own results in a folder of that
            path, and the table says on which.
    """

    def __init__(self, workers: int | None = None, *, address: str | None = None, threads: int | None = None,
                 shared: bool = True) -> None:
        self.workers, self.address, self.threads, self.shared = workers, address, threads, shared

    def run(self, job: BatchJob, folder: Path, groups: Iterable[Sequence[BatchTask]],
            tell: Callable[[Row], None]) -> Iterator[Outcome]:
        """Work through groups of tasks; see `batch.pool.Executor`. Rows are told of when they have ended."""
        groups = iter(groups)
        first = next(groups, None)
        if first is None:
            return
        ray = _import()
        ours = not ray.is_initialized()
        if ours:
            # Ray's workers are told by the variable whether they see the GPUs of a machine, not whether they may.
            ray.init(address=self.address, num_cpus=None if self.address else processors(), log_to_driver=False,
                     include_dashboard=False if self.address is None else None, logging_level="warning")
        probe = folder / PROBE
        try:
            probe.touch()
            yield from self._run(ray, job, folder.absolute(), chain([first], groups), tell)
        finally:
            probe.unlink(missing_ok=True)
            if ours:
                ray.shutdown()

    def _run(self, ray: Any, job: BatchJob, folder: Path, groups: Iterable[Sequence[BatchTask]],
             tell: Callable[[Row], None]) -> Iterator[Outcome]:
        there = ray.cluster_resources()
        gpus = int(there.get("GPU", 0)) if job.device.partition(":")[0] in ("cuda", "auto") else 0
        room = int(there.get("CPU", 1))
        workers = self.workers or gpus or max(1, room // (self.threads or 1))
        threads = self.threads or (1 if self.address else max(1, room // workers))
        if not gpus:
            workers = min(workers, max(1, room // threads))  # Ray would wait for ever for room for more.
        actor = ray.remote(num_cpus=0 if gpus else threads, max_restarts=0,
                           num_gpus=min(1.0, gpus / workers) if gpus else 0)(_Actor)
        options = {"runtime_env": {"env_vars": dict.fromkeys(
            ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
            | {"PYTHONPATH": os.pathsep.join(filter(None, [_root(), os.environ.get("PYTHONPATH")]))}
            | ({} if self.address else {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE")})}}
        the_job = ray.put(job)  # Once for all actors.

        def start(place: int) -> _Handle:
            return _Handle(ray, actor.options(**options).remote(the_job, str(folder), threads, self.shared))

        def wait(handles: list[_Handle]) -> list[tuple[_Handle, Event]]:
            return _wait(ray, handles)

        yield from run_pool(start, wait, workers, groups, tell)


class _Handle:
    """An actor, and the group that it has."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray, self._actor = ray, actor
        self.result: Any = None

    def hand(self, tasks: Sequence[BatchTask]) -> None:
        self.result = self._actor.work.remote(list(tasks))

    def close(self) -> None:
        self._ray.kill(self._actor)


def _wait(ray: Any, handles: list[_Handle]) -> list[tuple[_Handle, Event]]:
    ready, _ = ray.wait([handle.result for handle in handles], num_returns=1)
    events: list[tuple[_Handle, Event]] = []
    for handle in handles:
        if handle.result in ready:
            try:
                answer = ray.get(handle.result)
            except ray.exceptions.RayActorError:
                events.append((handle, Died()))
                continue
            if isinstance(answer, tuple):
                raise JobError(*answer)
            events += [*((handle, outcome) for outcome in answer), (handle, Idle())]
    return events


class _Actor:
    """What Ray runs on the machines: the models, loaded once."""

    def __init__(self, job: BatchJob, folder: str, threads: int, shared: bool) -> None:
        import torch

        torch.set_num_threads(threads)
        self.job, self.folder, self.shared = job, Path(folder), shared

    def work(self, tasks: list[BatchTask]) -> list[Outcome] | tuple[str, str, str]:
        """The outcomes of a group; or what an error that concerns all of the job says."""
        from batch.worker import work

        node = socket.gethostname()
        if self.shared and not (self.folder / PROBE).exists():
            return str(self.folder), f"is not the same folder on {node}", \
                "put it on a file system that all machines share, or keep results per node"
        try:
            outcomes = list(work(self.job, tasks, self.folder))
        except JobError as error:
            return error.subject, error.problem, error.remedy
        return [replace(outcome, rows=tuple(replace(row, node=node) for row in outcome.rows)) for outcome in outcomes]


def _root() -> str:
    """Where the program's packages lie, for actors of this machine that did not begin where it did."""
    return str(Path(__file__).parents[1])


def _import() -> Any:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # As later versions of Ray do by themselves.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Nothing is told to anybody.
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise InputError(None, "Ray is not installed", "run: pip install 'gradctrl[ray]'") from error
    return ray
