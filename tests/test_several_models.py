"""Several models in one process: none touches another, nor what belongs to the whole process, and none is kept."""

import asyncio
import gc
import random
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pyro
import pytest
import torch
from jobs import JOBS, X, fit, small_vae
from of_the_process import of_the_process
from torch import nn

from pyrovae import compare_bounds
from pyrovae.programs import evaluation_mode


def equal(ours, theirs):
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("name", JOBS)
def test_a_model_that_comes_and_goes_touches_nothing(name):
    """Fitted, evaluated and let go, while another model and the process stay as they were."""
    np.random.seed(1)
    random.seed(1)
    pyro.param("theirs", torch.tensor(2.0))
    bystander = small_vae(99)
    weights = [tensor.clone() for tensor in bystander.state_dict().values()]
    bounds = compare_bounds(bystander.model, bystander.guide, X[:10], num_samples=50)
    before = of_the_process()
    fitted, _ = JOBS[name](7)
    assert of_the_process() == before
    gone = weakref.ref(fitted)
    del fitted
    gc.collect()
    assert gone() is None
    again = compare_bounds(bystander.model, bystander.guide, X[:10], num_samples=50)
    assert equal(bystander.state_dict().values(), weights)
    assert torch.equal(again.log_px, bounds.log_px)
    assert bystander.training


def in_two_threads(*calls):
    """Their results, once all threads have come to where they call."""
    together = threading.Barrier(len(calls))

    def wait_and_call(call):
        together.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(wait_and_call, calls))


@pytest.mark.parametrize(
    "pair",
    [
        ("VAE, plain", "VAE, recorded"),
        ("VAE, plain", "VAE, plain"),
        ("M2", "recorded scoring"),
        ("autoencoder", "annealing"),
    ],
    ids=" and ".join,
)
def test_two_threads_at_once_give_what_they_give_one_after_the_other(pair):
    alone = [JOBS[name](seed)[1] for seed, name in enumerate(pair)]
    before = of_the_process()
    together = in_two_threads(*(lambda seed=seed, name=name: JOBS[name](seed)[1] for seed, name in enumerate(pair)))
    assert all(equal(ours, theirs) for ours, theirs in zip(together, alone, strict=True))
    assert of_the_process() == before


def test_threads_take_turns():
    """A fit that has begun ends before the other's first step, and one thread's own evaluation runs inside it."""
    seen = []

    def fit_and_note():
        vae, other = small_vae(), small_vae(1)

        def note(x):
            seen.append(threading.get_ident())
            compare_bounds(other.model, other.guide, x[:2], num_samples=2)
            return x

        fit(vae, train_transform=note, epochs=1)
        return vae

    vaes = in_two_threads(fit_and_note, fit_and_note)
    assert len(set(seen)) == 2
    assert sum(a != b for a, b in pairwise(seen)) == 1
    assert equal(*(vae.state_dict().values() for vae in vaes))


def test_a_turn_ends_with_an_error():
    vae = small_vae()
    with pytest.raises(ValueError, match="batch of bits"), ThreadPoolExecutor(1) as thread:
        thread.submit(fit, vae, train_transform=no_bits).result()
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(fit, vae).result(timeout=60).best_epoch == 3


def no_bits(x):
    raise ValueError("this batch of bits is refused")


def test_modules_of_another_thread_stay_in_training():
    vae, other = small_vae(), nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    with evaluation_mode(vae.model, vae.guide), ThreadPoolExecutor(1) as thread:
        thread.submit(other, torch.ones(2, 4)).result()
        assert all(part.training for part in other.modules())
        vae.encode(X)
        assert not vae.posterior.training


def test_a_fit_in_a_running_event_loop():
    """As in a notebook, in the loop's own thread and in others, where two take turns."""
    expected = [JOBS["VAE, plain"](seed)[1] for seed in range(2)]

    async def cell():
        here = JOBS["VAE, plain"](0)[1]
        others = await asyncio.gather(*(asyncio.to_thread(JOBS["VAE, plain"], seed) for seed in range(2)))
        return here, [numbers for _, numbers in others]

    here, others = asyncio.run(cell())
    assert equal(here, expected[0])
    assert all(equal(ours, theirs) for ours, theirs in zip(others, expected, strict=True))
