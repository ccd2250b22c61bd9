"""An interrupt at any moment of a fit leaves a model with its best weights, and the process as it was."""

import random
import signal
import threading
import time
from contextlib import suppress

import pyro
import pytest
import torch
from jobs import CLASSIFIER, LABELS, X, fit, small_vae
from of_the_process import of_the_process

from pyrovae import compare_bounds
from pyrovae.semi_supervised import M2, PCVAE

STEPS = len(X) // 20
EPOCHS = 6


pytestmark = pytest.mark.usefixtures("interrupts_are_taken")


def copies(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def equal(ours, theirs):
    return all(torch.equal(ours[name], theirs[name]) for name in theirs)


def interrupting(step):
    """A ``train_transform`` that raises a true SIGINT at a step, counted from 1."""
    calls = []

    def transform(x):
        # The first call is for the first rows, to look at them.
        calls.append(x)
        if len(calls) - 1 == step:
            signal.raise_signal(signal.SIGINT)
        return x

    return transform


@pytest.mark.parametrize("options", [{}, {"step": "recorded"}, {"objective": "IWAE"}, {"validation": X[:20]}], ids=str)
@pytest.mark.parametrize("step", [1, STEPS, STEPS + 2], ids=lambda step: f"step {step}")
def test_interrupted_in_a_step(step, options):
    vae, whole_epochs = small_vae(), small_vae()
    if step > STEPS:
        fit(whole_epochs, epochs=1, **options)
    before = of_the_process()
    with pytest.raises(KeyboardInterrupt):
        fit(vae, train_transform=interrupting(step), **options)
    assert of_the_process() == before
    assert equal(vae.state_dict(), whole_epochs.state_dict())
    assert all(part.training for part in vae.modules())
    for bounds in [compare_bounds(one.model, one.guide, X[:5], num_samples=10) for one in (vae, whole_epochs)]:
        assert bounds.log_px.isfinite().all()
    for one in (vae, whole_epochs):
        fit(one, seed=1, **options)
    assert equal(vae.state_dict(), whole_epochs.state_dict())


def test_a_plate_that_an_interrupt_left_open_is_closed():
    """As where it comes between the first line of a plate and its second."""
    vae, before, calls = small_vae(), of_the_process(), []

    def enter_and_leave(x):
        calls.append(x)
        if len(calls) == STEPS:
            pyro.plate("data", len(x), dim=-1).__enter__()
            signal.raise_signal(signal.SIGINT)
        return x

    with pytest.raises(KeyboardInterrupt):
        fit(vae, train_transform=enter_and_leave)
    assert of_the_process() == before
    assert compare_bounds(vae.model, vae.guide, X[:5], num_samples=10).log_px.isfinite().all()
    fit(vae)


@pytest.mark.parametrize("kind", [M2, PCVAE])
def test_an_interrupted_classifier(kind):
    options = CLASSIFIER | {"epochs": 2}
    whole_epoch = kind(**options | {"epochs": 1}).fit(X, LABELS)
    # The epoch has as many batches as there are unlabelled rows for them; labelled ones are transformed beside them.
    calls = []

    def transform(x):
        calls.append(x)
        if len(calls) == 9:
            signal.raise_signal(signal.SIGINT)
        return x

    classifier, before = kind(**options, train_transform=transform), of_the_process()
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(X, LABELS)
    assert of_the_process() == before
    assert classifier.best_epoch_ == 1
    assert equal(classifier.programs_.state_dict(), whole_epoch.programs_.state_dict())
    assert (classifier.predict_proba(X) == whole_epoch.predict_proba(X)).all()
    classifier.train_transform = None
    assert classifier.fit(X, LABELS).best_epoch_ == 2


def weights_of_epochs(step):
    """Those at the start, and at the end of each epoch."""
    found = [copies(small_vae())]
    for epochs in range(1, EPOCHS + 1):
        vae = small_vae()
        fit(vae, epochs=epochs, step=step)
        found.append(copies(vae))
    return found


def interrupted_at(seconds, step):
    """A model whose fit got a SIGINT from another thread after so many seconds."""
    vae = small_vae()
    timer = threading.Timer(seconds, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    with suppress(KeyboardInterrupt):
        timer.start()
        fit(vae, epochs=EPOCHS, step=step)
        # Here the interrupt comes where the fit was faster. Inside a callback of Python's own it is lost.
        timer.join()
        time.sleep(0.01)
    return vae


def check_cuts(cuts, step, seed):
    whole_epochs, moments = weights_of_epochs(step), random.Random(seed)
    seen, changed = set(), 0
    for _ in range(cuts):
        before = of_the_process()
        vae = interrupted_at(0.4 * moments.random(), step)
        changed += of_the_process() != before
        ends = [epoch for epoch, weights in enumerate(whole_epochs) if equal(vae.state_dict(), weights)]
        assert ends, "the weights are those of no whole epoch"
        seen |= set(ends)
        assert all(parameter.requires_grad for parameter in vae.parameters())
        assert compare_bounds(vae.model, vae.guide, X[:5], num_samples=10).log_px.isfinite().all()
    again = small_vae()
    fit(again, epochs=EPOCHS, step=step)
    assert equal(again.state_dict(), whole_epochs[-1])
    # Python may take an interrupt between the last line of a with block and the way out of it, which is then gone
    # later, perhaps after the one around it: seen once in 2,000 cuts.
    assert changed <= cuts // 100
    return seen


# Python reports what it lost.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("step", ["plain", "recorded"])
def test_interrupted_at_any_moment(step):
    check_cuts(6, step, seed=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("step", ["plain", "recorded"])
def test_interrupted_at_many_moments(step):
    assert len(check_cuts(200, step, seed=1)) > 1
