"""Tensors that programs replace: recorded operations, which use those that they met, are then not used.

One step changes a scale by less than recorded values may be off, so that comparing values cannot see it.
"""

import pyro
import pyro.distributions as dist
import pytest
import torch
from problems import LinearPair

from pyrovae import fit_svi

X = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))


def smaller(scale):
    return torch.clamp(scale * (1 - 1e-5), min=0.3)


class InAnAttribute(LinearPair):
    def __init__(self):
        super().__init__()
        self.width = torch.tensor(1.0)

    def scale(self):
        self.width = smaller(self.width)
        return self.width


class InADictionary(LinearPair):
    def __init__(self):
        super().__init__()
        self.state = {"width": torch.tensor(1.0)}

    def scale(self):
        self.state["width"] = smaller(self.state["width"])
        return self.state["width"]


class InAList(LinearPair):
    def __init__(self):
        super().__init__()
        self.widths = [torch.tensor(1.0)]

    def scale(self):
        self.widths[0] = smaller(self.widths[0])
        return self.widths[0]


class InAClosure(LinearPair):
    def __init__(self):
        super().__init__()
        width = torch.tensor(1.0)

        def scale():
            nonlocal width
            width = smaller(width)
            return width

        self.scale = scale


class OfTheClass(LinearPair):
    width = torch.tensor(1.0)

    def scale(self):
        OfTheClass.width = smaller(OfTheClass.width)
        return OfTheClass.width


class ReadAsANumber(InAnAttribute):
    """The new tensor is used by the next call, as a number."""

    def scale(self):
        now = float(self.width)
        self.width = torch.tensor(now * (1 - 1e-5))
        return now


class SetFromOutside(InAnAttribute):
    """The transform of the rows sets it."""

    def scale(self):
        return self.width

    def note(self, rows):
        self.width = smaller(self.width)
        return rows


def fitted(kind, step, **options):
    torch.manual_seed(0)
    pair = kind()
    result = fit_svi(
        *(pair.model, pair.guide, X),
        train_transform=getattr(pair, "note", None),
        objective="Trace_ELBO",
        batch_size=10,
        patience=None,
        step=step,
        progress=False,
        **{"epochs": 15, **options},
    )
    return result, [terms["train_elbo"] for terms in result.history]


@pytest.mark.parametrize(
    "kind", [InAnAttribute, InADictionary, InAList, InAClosure, OfTheClass, ReadAsANumber, SetFromOutside]
)
def test_a_tensor_that_is_replaced_leaves_results_as_they_are(kind):
    elbos = {}
    for step in ("recorded", "plain"):
        OfTheClass.width = torch.tensor(1.0)
        result, elbos[step] = fitted(kind, step)
        assert result.stepping.startswith("plain: it puts a new tensor in place of " if step == "recorded" else "plain")
    assert elbos["recorded"] == elbos["plain"]


class InABuffer(LinearPair):
    """What the message advises."""

    def __init__(self):
        super().__init__()
        self.register_buffer("width", torch.tensor(1.0))

    def scale(self):
        self.width.copy_(smaller(self.width))
        return self.width.clone()


class KeepsItsLastDraw(LinearPair):
    """It stores what nobody reads, beside a list and a dictionary of such."""

    def __init__(self):
        super().__init__()
        self.last, self.losses, self.log = torch.zeros(10, 2), [torch.zeros(())], {"x": X}

    def guide(self, x):
        with pyro.plate("data", len(x)):
            self.last = pyro.sample("z", dist.Normal(self.encoder(x), 1.0).to_event(1))
        self.losses[0], self.log["x"] = self.last.sum(), x + 1


class KeepsForTheModel(LinearPair):
    """The guide's code of the rows is the location of the prior."""

    def guide(self, x):
        self.code = self.encoder(x)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.code, 1.0).to_event(1))

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(self.code / 2, 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 0.5).to_event(1), obs=x)


class RemembersItsRows(LinearPair):
    """A constant is made again where the number of rows is another one, and has the same values then."""

    ones = torch.ones(1)

    def scale(self):
        return self.ones[:, None]

    def guide(self, x):
        if len(self.ones) != len(x):
            self.ones = torch.ones(len(x))
        super().guide(x)


@pytest.mark.parametrize("kind", [InABuffer, KeepsItsLastDraw, KeepsForTheModel, RemembersItsRows])
def test_programs_whose_operations_are_all_that_they_do_stay_recorded(kind):
    elbos = {}
    for step in ("recorded", "plain"):
        result, elbos[step] = fitted(kind, step, validation=X[:7])
        assert result.stepping == step
    assert elbos["recorded"] == pytest.approx(elbos["plain"], rel=1e-5)
