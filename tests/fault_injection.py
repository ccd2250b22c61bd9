"""Fits that are killed at any moment, and checkpoints that are damaged: all have to end in the same weights.

    python tests/fault_injection.py KIND COUNT FOLDER

Each fit is a fork of this process, so that hundreds take minutes; that is why it may not train itself. It prints what
happened as JSON, and ends with an error where a fit was lost or came to other weights.
"""

import json
import os
import random
import resource
import signal
import sys
import time
import warnings
from pathlib import Path

import torch
from problems import bits, small_vae

from pyrovae import fit_svi
from pyrovae.checkpoints import Checkpoints

ROWS = bits(200)
EPOCHS, BATCH_SIZE = 10, 16
STEPS = EPOCHS * -(-len(ROWS) // BATCH_SIZE)
RESULT = "weights.pt"


class Disk:
    """Changes no row; for some steps files may not grow beyond a size, as on a disk that is full."""

    def __init__(self, first=0, size=0, length=0):
        self.steps, self.size, self.calls = range(first, first + length), size, 0

    def __call__(self, x):
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size if self.calls in self.steps else hard, hard))
        self.calls += 1
        return x


def train(folder, disk=None):
    """In a fork: fit, or go on with a fit, in steps that are recorded on the way, and write the weights."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    torch.manual_seed(0)
    vae = small_vae()
    with warnings.catch_warnings():
        # It says which file is damaged.
        warnings.simplefilter("ignore", UserWarning)
        fit_svi(
            *(vae.model, vae.guide, ROWS),
            validation=ROWS[:40],
            train_transform=disk or Disk(),
            epochs=EPOCHS,
            batch_size=BATCH_SIZE,
            step="recorded",
            checkpoints=Checkpoints(folder / "kept", every_seconds=0),
            resume=True,
            progress=False,
        )
    torch.save(vae.state_dict(), folder / RESULT)


def start(folder, disk=None):
    """A fork that trains."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        # What it says of the full disk is not asked for.
        os.dup2(os.open(folder / "errors.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        train(folder, disk)
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(status)


def status_of(child):
    """Its exit status, below 0 for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def steps_kept(folder):
    """Steps done at the newest checkpoint."""
    return max(
        (int(path.name.split("-")[1]) for path in (folder / "kept").iterdir() if path.suffix == ".pt"), default=0
    )


def kill_after(folder, step, seconds, disk=None):
    """Kill a fit some time after its checkpoint of a step; False if it was over before."""
    (folder / "kept").mkdir(exist_ok=True)
    child = start(folder, disk)
    while steps_kept(folder) < step:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            break
        time.sleep(0.0005)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return status_of(child) == -signal.SIGKILL


def ends_as(folder, expected):
    """Whether the fit of a folder goes on to these weights."""
    (folder / RESULT).unlink(missing_ok=True)
    status = status_of(start(folder))
    if status:
        raise SystemExit(f"{folder}: status {status}: {(folder / 'errors.txt').read_text()}")
    weights = torch.load(folder / RESULT, weights_only=True)
    return all(torch.equal(weights[name], value) for name, value in expected.items())


def killed(folder, luck, number):
    """Every third is killed twice; as each step writes a checkpoint, most are killed while writing."""
    cuts = sum(
        kill_after(folder, luck.randrange(1, STEPS), luck.uniform(0, 0.02)) for _ in range(2 if number % 3 == 0 else 1)
    )
    return {"cuts": cuts, "half written": sum(path.suffix == ".part" for path in (folder / "kept").iterdir())}


def damaged(folder, luck, number):
    """Cut short at any length or with a bit turned: of the newest, or of each fourth fit of all."""
    cuts = kill_after(folder, luck.randrange(2, STEPS // 2), 0)
    found = Checkpoints(folder / "kept").files()
    for path in found if number % 4 == 0 else found[:1]:
        contents = bytearray(path.read_bytes())
        if number % 2:
            bit = luck.randrange(8 * len(contents))
            contents[bit // 8] ^= 1 << bit % 8
        else:
            contents = contents[: luck.randrange(len(contents))]
        path.write_bytes(contents)
    return {"cuts": cuts}


def full(folder, luck, number):
    """No room for thirty steps, then room again; killed on the way."""
    disk = Disk(luck.randrange(60), luck.randrange(20_000), 30)
    return {"cuts": kill_after(folder, luck.randrange(1, STEPS), luck.uniform(0, 0.1), disk)}


def main(kind, count, folder):
    """Do it so many times, and say what happened."""
    luck, whole = random.Random(kind), Path(folder) / "whole"
    whole.mkdir(parents=True)
    if status_of(start(whole)):
        raise SystemExit((whole / "errors.txt").read_text())
    expected = torch.load(whole / RESULT, weights_only=True)
    totals = {"fits": 0, "cuts": 0}
    for number in range(int(count)):
        place = Path(folder) / str(number)
        place.mkdir()
        for name, found in {"killed": killed, "damaged": damaged, "full": full}[kind](place, luck, number).items():
            totals[name] = totals.get(name, 0) + found
        if not ends_as(place, expected):
            raise SystemExit(f"{place} came to other weights")
        totals["fits"] += 1
    print(json.dumps(totals))


if __name__ == "__main__":
    main(*sys.argv[1:])
