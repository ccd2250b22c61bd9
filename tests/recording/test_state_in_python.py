"""What programs keep in Python from call to call: recorded operations give the same results, or are not used."""

import enum
import itertools
import random
import sys
from types import ModuleType

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from problems import LinearPair
from torch import nn

from pyrovae import compare_bounds, fit_svi
from pyrovae.objectives import Objective, ObjectiveTerms

settings = ModuleType("settings_of_a_user")
sys.modules[settings.__name__] = settings

X = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))


class Kind(enum.IntEnum):
    FIRST = 1
    SECOND = 2


class Annealed:
    """A scale that falls with its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return 1.0 if self.calls < 30 else 0.5


class WithHelper(LinearPair):
    def __init__(self):
        super().__init__()
        self.scale = Annealed()


class WithDictionary(LinearPair):
    def __init__(self):
        super().__init__()
        counts = {"calls": 0}

        def scale():
            counts["calls"] += 1
            return 1.0 if counts["calls"] < 30 else 0.5

        self.scale = scale


class SetFromOutside(LinearPair):
    """Its scale is a number that the transform of the rows sets."""

    def __init__(self):
        super().__init__()
        self.steps = 0

    def scale(self):
        return 1.0 if self.steps < 25 else 0.5

    def note(self, rows):
        self.steps += 1
        return rows


class OfTheClass(LinearPair):
    calls = 0

    def scale(self):
        OfTheClass.calls += 1
        return 1.0 if OfTheClass.calls < 30 else 0.5


def counted():
    counted.calls += 1
    return 1.0 if counted.calls < 30 else 0.5


class OfAFunction(LinearPair):
    def __init__(self):
        super().__init__()
        counted.calls = 0

    def scale(self):
        return counted()


class WithList(LinearPair):
    def __init__(self):
        super().__init__()
        self.calls = []

    def scale(self):
        self.calls.append(None)
        return 1.0 if len(self.calls) < 30 else 0.5


class WithTuple(LinearPair):
    def __init__(self):
        super().__init__()
        self.state = (0, "first")

    def scale(self):
        self.state = (self.state[0] + 1, "later")
        return 1.0 if self.state[0] < 30 else 0.5


class WithNumPyNumber(LinearPair):
    def __init__(self):
        super().__init__()
        self.calls = np.int64(0)

    def scale(self):
        self.calls = self.calls + np.int64(1)
        return 1.0 if self.calls < 30 else 0.5


class WithArray(LinearPair):
    def __init__(self):
        super().__init__()
        self.state = np.zeros((2, 3))

    def scale(self):
        self.state[1, 2] += 1
        return 1.0 if self.state[1, 2] < 30 else 0.5


class Slotted:
    __slots__ = ("calls", "unset")

    def __init__(self):
        self.calls = 0


class WithSlots(LinearPair):
    def __init__(self):
        super().__init__()
        self.state = Slotted()

    def scale(self):
        self.state.calls += 1
        return 1.0 if self.state.calls < 30 else 0.5


class WithDefaults(LinearPair):
    def __init__(self):
        super().__init__()

        def scale(state={"calls": 0}):  # noqa: B006 what people write
            state["calls"] += 1
            return 1.0 if state["calls"] < 30 else 0.5

        self.scale = scale


class WithCounter(LinearPair):
    def __init__(self):
        super().__init__()
        self.calls = itertools.count(1)

    def scale(self):
        return 1.0 if next(self.calls) < 30 else 0.5


def falling():
    yield from [1.0] * 30
    while True:
        yield 0.5


class WithGenerator(LinearPair):
    def __init__(self):
        super().__init__()
        self.scales = falling()

    def scale(self):
        return next(self.scales)


class WithSettings(LinearPair):
    def __init__(self):
        super().__init__()
        settings.calls = 0

    def scale(self):
        settings.calls += 1
        return 1.0 if settings.calls < 30 else 0.5


class ByItsOwnRandom(LinearPair):
    def __init__(self):
        super().__init__()
        self.random = random.Random(0)

    def scale(self):
        # Both runs before a recording is trusted may well be of one kind.
        return 1.0 if self.random.random() < 0.95 else 0.5


class ByItsOwnNumPy(LinearPair):
    def __init__(self):
        super().__init__()
        self.random = np.random.default_rng(0)

    def scale(self):
        return 1.0 if self.random.random() < 0.95 else 0.5


class ByItsOwnTorch(LinearPair):
    def __init__(self):
        super().__init__()
        self.random = torch.Generator().manual_seed(0)

    def scale(self):
        return torch.rand((), generator=self.random) + 0.5


KINDS = [
    *(WithHelper, WithDictionary, SetFromOutside, OfTheClass, OfAFunction, WithList, WithTuple, WithNumPyNumber),
    *(
        WithArray,
        WithSlots,
        WithDefaults,
        WithCounter,
        WithGenerator,
        WithSettings,
        ByItsOwnRandom,
        ByItsOwnNumPy,
        ByItsOwnTorch,
    ),
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_number_that_changes_leaves_results_as_they_are(kind):
    losses = {}
    for step in ("recorded", "plain"):
        torch.manual_seed(0)
        OfTheClass.calls = 0
        pair = kind()
        result = fit_svi(
            *(pair.model, pair.guide, X),
            train_transform=getattr(pair, "note", None),
            objective="Trace_ELBO",
            epochs=15,
            batch_size=10,
            patience=None,
            step=step,
            progress=False,
        )
        losses[step] = [terms["train_elbo"] for terms in result.history]
        assert result.stepping.startswith("plain: " if step == "recorded" else "plain")
    assert losses["recorded"] == losses["plain"]


class LateKL(Objective):
    """The KL counts a tenth in the first half of the run."""

    def terms(self, sampler, x, progress):
        weight = 1.0 if progress > 0.5 else 0.1
        latents, log_guide = sampler.draw(x, self.num_particles)
        log_prior, log_likelihood = sampler.log_terms(x, latents)
        reconstruction, kl = log_likelihood.mean(0).sum(), (log_guide - log_prior).mean(0).sum()
        bound = reconstruction - weight * kl
        return ObjectiveTerms(
            -bound, bound.detach(), (reconstruction - kl).detach(), reconstruction.detach(), kl.detach()
        )


def test_an_objective_that_looks_at_the_progress_is_not_recorded():
    pair = LinearPair()
    result = fit_svi(
        pair.model, pair.guide, X, objective=LateKL(), epochs=4, batch_size=10, step="recorded", progress=False
    )
    assert result.stepping.startswith("plain: its objective looks at the progress of the run")
    assert result.history[-1]["train_objective"] == pytest.approx(result.history[-1]["train_elbo"])


class LastState(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.LSTM(1, 2, batch_first=True)

    def forward(self, x):
        return self.layer(x[..., None])[0][:, -1]


class Recurrent(LinearPair):
    def __init__(self):
        super().__init__()
        self.encoder = LastState()


def test_operations_that_cannot_run_by_themselves_are_not_used():
    elbos = {}
    for step in ("recorded", "plain"):
        torch.manual_seed(0)
        pair = Recurrent()
        result = fit_svi(pair.model, pair.guide, X, epochs=2, batch_size=10, step=step, progress=False)
        elbos[step] = result.history[-1]["train_elbo"]
    assert elbos["recorded"] == elbos["plain"]


class Conditional(nn.Module):
    """The guide encodes two covariates, and the model takes their code from it, or encodes them itself."""

    def __init__(self, kept):
        super().__init__()
        self.kept, self.code = kept, nn.Linear(2, 2)
        self.encoder, self.decoder = nn.Linear(5, 2), nn.Linear(2, 3)

    def guide(self, x):
        self.context = self.code(x[:, :2])
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), 0.7).to_event(1))

    def model(self, x):
        context = self.context if self.kept else self.code(x[:, :2])
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(context, 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 0.5).to_event(1), obs=x[:, 2:])


def test_what_the_guide_keeps_for_the_model_is_of_the_rows_that_are_scored():
    x, log_px = torch.randn(600, 5, generator=torch.Generator().manual_seed(1)), []
    for kept in (True, False):
        torch.manual_seed(0)
        pair = Conditional(kept)
        log_px.append(compare_bounds(pair.model, pair.guide, x, num_samples=300, chunk_size=10).log_px)
    torch.testing.assert_close(*log_px)


class NotesItsRows(LinearPair):
    """It writes down how many rows it was given, and keeps what no recording has to know."""

    def __init__(self):
        super().__init__()
        self.batch_size, self.queue, self.log = 0, [0.1] * 90, {"losses": [], "rows": 0}

    def model(self, x):
        self.batch_size = self.log["rows"] = len(x)
        super().model(x)


def test_the_number_of_rows_may_be_written_down():
    pair = NotesItsRows()
    result = fit_svi(
        *(pair.model, pair.guide, X[:36]), validation=X[:7], epochs=90, batch_size=10, patience=None, progress=False
    )
    assert result.stepping == "recorded"


class Unreadable(dict):
    """A mapping that does not let itself be looked at."""

    def items(self):
        raise RuntimeError("dictionary keys changed during iteration")


def test_what_cannot_be_looked_at_is_left_alone():
    pair = LinearPair()
    pair.settings, pair.images = Unreadable(a=1), [[0] * 100] * 100
    pair.queue = [0.5] * 95
    pair.scale = lambda: pair.queue.pop() if len(pair.queue) > 1 else 0.5
    result = fit_svi(
        *(pair.model, pair.guide, X),
        objective="Trace_ELBO",
        epochs=15,
        batch_size=10,
        patience=None,
        step="recorded",
        progress=False,
    )
    assert result.stepping.startswith("plain: it changes")


class WithEnumeration(LinearPair):
    """A class that programs reach holds an enumeration, whose members cannot be set."""

    kind = Kind.FIRST

    def __init__(self):
        super().__init__()
        self.calls = 0

    def scale(self):
        self.calls += 1
        return 1.0 if self.kind is Kind.FIRST else 0.5


def test_enumerations_stay_as_they_are():
    pair = WithEnumeration()
    result = fit_svi(pair.model, pair.guide, X, epochs=2, batch_size=10, step="recorded", progress=False)
    assert result.stepping == "plain: it changes 'calls', which is no tensor: make it a buffer"


class Augmenting(LinearPair):
    """Its generator and its list are of the transform of the rows alone."""

    def __init__(self):
        super().__init__()
        self.random, self.seen = np.random.default_rng(0), []

    def augment(self, rows):
        self.seen.append(len(rows))
        return rows + 0.1 * torch.as_tensor(self.random.standard_normal(rows.shape), dtype=rows.dtype)


def test_generators_and_lists_that_programs_leave_alone_do_not_count():
    elbos = {}
    for step in ("recorded", "plain"):
        torch.manual_seed(0)
        pair = Augmenting()
        options = {"epochs": 130, "batch_size": 10, "patience": None, "progress": False}
        result = fit_svi(pair.model, pair.guide, X, train_transform=pair.augment, step=step, **options)
        assert result.stepping == step
        elbos[step] = result.history[-1]["train_elbo"]
    assert elbos["recorded"] == pytest.approx(elbos["plain"], rel=1e-6)
