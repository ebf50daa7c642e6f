"""Runs that are killed at random moments, forked from one process that has imported everything.

A leg is one or two processes that train until they finish or are killed; the next leg resumes. In the end they are compared
with the run that nothing disturbed.
"""

import json
import os
import random
import signal
import socket
import sys
import time
import traceback
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only

from detkit.cli.config import load_config
from detkit.errors import UserError
from detkit.overrides import override
from detkit.train.checkpoints import newest_checkpoint
from detkit.train.fit import fit
from detkit.train.module import DetectorModule
from tests.train.test_resume import assert_same, rows
from tests.train.test_rtdetr import experiment_of as rtdetr_experiment
from tests.train.tiny import tiny_experiment

AP = (0.1, 0.3, 0.2, 0.4)
"""Of the epochs, so that best.ckpt is replaced in some of them only."""
WRITES = ("half", "unsynced", "renamed")
"""Moments of a file's writing."""
ENTRIES = ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "epoch", "global_step", "random")
LOOK = os.WEXITED | os.WNOHANG | os.WNOWAIT
"""To see whether a process has ended and leave it there."""
HANGS = 60
"""Seconds after which a process that waits for a killed one hangs."""
EPOCH_STEPS = 5
"""No epoch has more optimizer steps."""


@dataclass(frozen=True)
class Kill:
    """A moment: ``at`` seconds after the start or the first batch, or in the ``at``-th write of a file; and who dies in it."""

    kind: str
    at: float
    victims: tuple[int, ...] = (0,)


def draw(rng: random.Random, seconds: float, world: int) -> Kill:
    """Draw a moment of a run that takes so many ``seconds``; files are written by the first process."""
    kind = rng.choices(["starting", "training", *WRITES], [1, 5, 2, 1, 1])[0]
    if kind in WRITES:
        return Kill(kind, rng.randint(1, 10))
    victims = rng.choice([(0,), (1,), (0, 1)]) if world > 1 else (0,)
    return Kill(kind, rng.uniform(0, seconds / 2), victims)


class Runs:
    """Runs of one kind that are killed and resumed.

    Attributes:
        family: yolo or rtdetr.
        world: processes.
        kills: that took place.
        lost: steps that each of them cost.
    """

    def __init__(self, family: str, world: int, data: Path, output: Path) -> None:
        self.family, self.world, self.data, self.output = family, world, data, output
        self.kills, self.lost = [], []
        self._legs = 0

    def whole(self, name: str) -> tuple[Path, float]:
        """Return a run that nothing disturbs, and its seconds."""
        started = time.monotonic()
        assert self.leg(name, None, None), self._log()
        return self.output / name / "run" / "0", time.monotonic() - started

    def killed(self, name: str, kills: list[Kill], every: int | None) -> Path:
        """Return a run that is killed and resumed until no kill is left; finished or not started legs use one up, too."""
        run, queue = self.output / name / "run" / "0", list(kills)
        first = 0
        while not self.leg(name, queue.pop(0) if queue else None, every):
            done = self._done(first)
            try:
                first = step(newest_checkpoint(run))
            except UserError as refusal:
                assert "it stopped before its first checkpoint" in str(refusal)
                first, name = 0, f"{name}+"
                run = self.output / name / "run" / "0"
            self.lost.append(max(done - first, 0))
            assert self.lost[-1] <= (every or EPOCH_STEPS), f"{self.kills[-1]} lost {self.lost[-1]} steps"
            if first and finished(run):
                break
        assert not list(run.glob(".*.partial"))
        return run

    def leg(self, name: str, kill: Kill | None, every: int | None) -> bool:
        """Start or resume a run; return whether it came to its end."""
        self._legs += 1
        port = str(free_port())
        pids = [fork(partial(self._train, name, rank, port, kill, every), self._log_file(rank)) for rank in range(self.world)]
        if kill is not None and kill.kind not in WRITES:
            self._await(kill, pids[0])
            for rank in kill.victims:
                os.kill(pids[rank], signal.SIGKILL)
        codes = self._wait(pids)
        if not any(codes):
            return True
        assert kill is not None and -signal.SIGKILL in codes, self._log()
        self.kills.append(kill)
        return False

    def _await(self, kill: Kill, pid: int) -> None:
        """Sleep until the moment of ``kill``, while process ``pid`` starts and trains."""
        while kill.kind == "training" and not self._steps_file(0).exists() and os.waitid(os.P_PID, pid, LOOK) is None:
            time.sleep(0.01)
        time.sleep(kill.at)

    def _wait(self, pids: list[int]) -> list[int]:
        """Return the exit codes; processes that had come to train must end by themselves when another one is killed."""
        codes: dict[int, int] = {}
        deadline = None
        while len(codes) < len(pids):
            for pid in set(pids) - set(codes):
                found, status = os.waitpid(pid, os.WNOHANG)
                if found:
                    codes[pid] = os.waitstatus_to_exitcode(status)
                    deadline = deadline or time.monotonic() + HANGS
            if deadline and len(codes) < len(pids) and any(codes.values()):
                met = all(self._steps_file(rank).exists() for rank in range(self.world))
                if not met:  # they wait for one another, and whoever starts them ends them: torchrun, SLURM, Lightning
                    for pid in set(pids) - set(codes):
                        os.kill(pid, signal.SIGKILL)
                assert time.monotonic() < deadline, f"a process hangs: {self._log()}"
            time.sleep(0.01)
        return [codes[pid] for pid in pids]

    def _train(self, name: str, rank: int, port: str, kill: Kill | None, every: int | None) -> None:
        """Train, in a process of its own."""
        torch.set_num_threads(1)
        if self.world > 1:
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "LOCAL_RANK": str(rank), "NODE_RANK": "0"}
            rank_zero_only.rank = rank
        if kill is not None and kill.kind in WRITES and rank == 0:
            kill_in_write(kill)
        watch(self._steps_file(rank))
        run = self.output / name / "run" / "0"
        if (run / "config.json").is_file() and any(run.glob("*.ckpt")):
            fit(load_config(str(run / "config.json")), resume=run, progress=False)
        else:
            fit(self._experiment(name, every), progress=False)

    def _experiment(self, name: str, every: int | None):
        make = tiny_experiment if self.family == "yolo" else rtdetr_experiment
        devices = [] if self.world == 1 else ["trainer.devices=2", "trainer.strategy=ddp", "recipe.batch=2"]
        experiment = make(self.data, self.output / name, epochs=3, checkpoint_steps=every)
        return override(experiment, devices)

    def _done(self, first: int) -> int:
        """Return the steps that were done for certain in the latest leg."""
        file = self._steps_file(0)
        started = [int(line) for line in file.read_text().split()] if file.exists() else []
        assert not started or started[0] == first, f"resumed at step {started[0]}, not {first}"
        return started[-1] if started else first

    def _steps_file(self, rank: int) -> Path:
        return self.output / f"steps_{self._legs}_{rank}.txt"

    def _log_file(self, rank: int) -> Path:
        return self.output / f"log_{self._legs}_{rank}.txt"

    def _log(self) -> str:
        return "".join(self._log_file(rank).read_text()[-3000:] for rank in range(self.world))


def fork(work, log: Path) -> int:
    """Do ``work`` in a process of its own and return its id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        file = os.open(log, os.O_WRONLY | os.O_CREAT)
        for stream in (1, 2):
            os.dup2(file, stream)
        work()
        code = 0
    except BaseException:  # noqa: BLE001 (nothing may pass into the code that forked)
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def kill_in_write(kill: Kill) -> None:
    """Have this process kill itself in a write of a file: half of it on the disk, all of it, or after it was renamed."""
    sync, rename, calls = os.fsync, Path.replace, []

    def due() -> bool:
        calls.append(1)
        return len(calls) == kill.at

    def fsync(descriptor: int) -> None:
        if kill.kind != "renamed" and due():
            if kill.kind == "half":
                os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        sync(descriptor)

    def replacing(path: Path, target: Path) -> Path:
        moved = rename(path, target)
        if kill.kind == "renamed" and due():
            os.kill(os.getpid(), signal.SIGKILL)
        return moved

    os.fsync, Path.replace = fsync, replacing


def watch(steps: Path) -> None:
    """Write down at which optimizer step each batch begins, and give the epochs an AP of `AP`."""
    start, evaluated = DetectorModule.on_train_batch_start, DetectorModule.on_validation_epoch_end

    def starting(self, batch, batch_idx):
        with steps.open("a") as file:
            file.write(f"{self.trainer.global_step}\n")
        return start(self, batch, batch_idx)

    def scoring(self):
        compute = self.metric.compute

        def scored():
            result = compute()
            return result._replace(numbers=result.numbers | {"AP": AP[self.trainer.current_epoch]})

        self.metric.compute = scored
        evaluated(self)
        del self.metric.compute

    DetectorModule.on_train_batch_start, DetectorModule.on_validation_epoch_end = starting, scoring


def free_port() -> int:
    """Return a port that nobody listens to."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def load(path: Path) -> dict:
    return torch.load(path, weights_only=True)


def step(path: Path) -> int:
    return load(path)["global_step"]


def finished(run: Path) -> bool:
    return load(run / "last.ckpt")["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"] == 3


def assert_same_runs(run: Path, other: Path) -> None:
    """Compare both checkpoints and the table exactly."""
    for name in ("best.ckpt", "last.ckpt"):
        ours, theirs = load(run / name), load(other / name)
        for entry in ENTRIES:
            assert_same(ours[entry], theirs[entry], f"{name}: {entry}")
    assert rows(run) == rows(other)


def sweep(runs: Runs, count: int, seed: int) -> dict[str, object]:
    """Kill runs ``count`` times in all and compare each in the end; return what took place."""
    whole, seconds = runs.whole("whole")
    rng, number = random.Random(seed), 0
    while len(runs.kills) < count:
        kills = [draw(rng, seconds, runs.world) for _ in range(min(7, count - len(runs.kills)))]
        number += 1
        assert_same_runs(runs.killed(f"killed{number}", kills, rng.choice([None, 1, 2])), whole)
    kinds = [kill.kind for kill in runs.kills]
    return {"kills": len(kinds), "runs": number, "seconds": seconds, "kinds": kinds, "lost": runs.lost}


def main(family: str, world: str, count: str, seed: str, data: str, output: str) -> None:
    """Sweep, and print what took place."""
    print(json.dumps(sweep(Runs(family, int(world), Path(data), Path(output)), int(count), int(seed))))


if __name__ == "__main__":
    main(*sys.argv[1:])
