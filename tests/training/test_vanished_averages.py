"""Averages of an optimiser whose gradients have become zero: they go to zero, where they slow nothing down."""

import pytest
import torch
from problems import bits, small_vae
from torch import nn

from pyrovae import fit_svi, networks
from pyrovae.models import Autoencoder
from pyrovae.semi_supervised import M2, loop
from pyrovae.training import fit_autoencoder, loss_epochs, optimizers, training_step
from pyrovae.training.shuffler import Shuffler

# 0.9 ** 1000 is 1.7e-46, of which single precision has nothing; subnormal numbers begin after 830 steps.
STEPS = 1000


def rows_of_which_one_has_a_pixel_on(number):
    x = bits(STEPS)
    x[:, 0, 0, 0] = 0
    x[number, 0, 0, 0] = 1
    return x


def by_svi():
    vae = small_vae()
    first = int(Shuffler(0).order(STEPS)[0])
    x = rows_of_which_one_has_a_pixel_on(first)
    fit_svi(vae.model, vae.guide, x, epochs=1, batch_size=1, patience=None, progress=False)
    return vae


def by_a_loss():
    autoencoder = Autoencoder(networks.MLP((1, 8, 8), 2, (16,)), networks.MLP(2, (1, 8, 8), (16,)))
    x = rows_of_which_one_has_a_pixel_on(int(Shuffler(0).order(STEPS)[0]))
    fit_autoencoder(autoencoder, x, epochs=1, batch_size=1, progress=False)
    return autoencoder


def by_few_labels():
    m2 = M2(2, hidden_dims=(16,), epochs=1, batch_size=1, progress=False)
    first = int(torch.randperm(STEPS, generator=torch.Generator().manual_seed(1))[0])
    return m2.fit(rows_of_which_one_has_a_pixel_on(first), torch.arange(STEPS) % 2).programs_


def fitted(fit, module, monkeypatch):
    """The weights after a fit, and the averages that its optimiser kept."""
    made = []
    monkeypatch.setattr(module, "adam", lambda *given: made.append(optimizers.adam(*given)) or made[0])
    torch.manual_seed(0)
    program: nn.Module = fit()
    kept = [tensor for state in made[0].state.values() for tensor in state.values()]
    return program.state_dict(), torch.cat([tensor.flatten() for tensor in kept])


@pytest.mark.parametrize(("fit", "module"), [(by_svi, training_step), (by_a_loss, loss_epochs), (by_few_labels, loop)])
def test_they_are_zero_and_the_weights_those_of_torch(fit, module, monkeypatch):
    weights, averages = fitted(fit, module, monkeypatch)
    monkeypatch.setattr(optimizers, "_STEPS_BETWEEN_FLUSHES", 10 * STEPS)
    weights_of_torch, averages_of_torch = fitted(fit, module, monkeypatch)
    tiny = torch.finfo(torch.float32).tiny

    def subnormal(numbers):
        return int(((numbers != 0) & (numbers.abs() < tiny)).sum())

    assert subnormal(averages_of_torch) >= 16  # of the first layer's weights for the pixel
    assert subnormal(averages) == 0
    for name, weight in weights_of_torch.items():
        assert torch.equal(weights[name], weight), name


def test_an_optimiser_may_keep_more_than_what_belongs_to_parameters():
    class Counting(torch.optim.Adam):
        def step(self, closure=None):
            self.state["calls"] = self.state.get("calls", 0) + 1
            return super().step(closure)

    vae = small_vae()
    fit_svi(vae.model, vae.guide, bits(70), epochs=1, batch_size=1, optimizer=Counting, patience=None, progress=False)
