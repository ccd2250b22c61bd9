"""Gradients that lie otherwise in memory than their parameters do: transposed, expanded, of slices, and shared ones."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrovae import Autoencoder, fit_autoencoder, fit_svi

X = 3 * torch.randn(64, 6, generator=torch.Generator().manual_seed(0)) + 2
IMAGES = torch.randn(32, 4, 4, 3, generator=torch.Generator().manual_seed(1)) + 1


class Pair(nn.Module):
    """z of two dimensions, and the mean of x in the order that a subclass makes."""

    scale = 0.1

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.decoder = nn.Linear(6, 2), nn.Linear(2, 6)

    def encode(self, x):
        return self.encoder(x)

    def decode(self, z):
        return self.decoder(z)

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decode(z), 1.0).to_event(x.dim() - 1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encode(x), self.scale).to_event(1))


class Transposed(Pair):
    def __init__(self):
        super().__init__()
        self.loadings = nn.Parameter(torch.randn(6, 2))

    def decode(self, z):
        return torch.einsum("...k,dk->...d", z, self.loadings)


class Slice(Transposed):
    def __init__(self):
        super().__init__()
        self.loadings = nn.Parameter(torch.randn(6, 5)[:, 1:3])


class OfSVD(Transposed):
    def __init__(self):
        super().__init__()
        self.loadings = nn.Parameter(torch.linalg.svd(X, full_matrices=False).Vh[:2].T)


class Expanded(Pair):
    def __init__(self):
        super().__init__()
        self.offsets = nn.Parameter(torch.randn(4))

    def decode(self, z):
        return self.decoder(z) + self.offsets.sum()


class ChannelsLast(Pair):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(80, 2))
        self.decoder = nn.Linear(2, 48)

    def encode(self, x):
        return self.encoder(x.permute(0, 3, 1, 2))

    def decode(self, z):
        return self.decoder(z).unflatten(-1, (4, 4, 3))


def loss(pair, x):
    """Minus the ELBO of a row at the mean of q, but for a constant: of q's spread nothing is left in the gradient."""
    z = pair.encode(x)
    return (((x - pair.decode(z)) ** 2).sum() / 2 + (z**2).sum() / 2) / len(x)


@pytest.mark.parametrize("kind", [Transposed, Slice, OfSVD, Expanded, ChannelsLast])
def test_a_fit_goes_where_plain_pytorch_goes(kind):
    x = IMAGES if kind is ChannelsLast else X
    ours, by_hand = kind(), kind()
    ours.scale = 1e-4
    fit_svi(ours.model, ours.guide, x, epochs=30, batch_size=len(x), lr=0.05, progress=False)
    optimizer = torch.optim.Adam(by_hand.parameters(), lr=0.05, fused=False)
    for _ in range(30):
        optimizer.zero_grad()
        loss(by_hand, x).backward()
        optimizer.step()
    # The draws move it by some parts in ten thousand; gradients in another order did by several in a hundred.
    torch.testing.assert_close(loss(ours, x), loss(by_hand, x), rtol=1e-3, atol=0)


@pytest.mark.parametrize("step", ["plain", "recorded"])
@pytest.mark.parametrize("kind", [Transposed, Slice, OfSVD, Expanded, ChannelsLast])
def test_steps_are_those_of_an_optimiser_that_knows_strides(kind, step):
    x = IMAGES if kind is ChannelsLast else X
    options = {"epochs": 6, "batch_size": 16, "lr": 0.05, "step": step, "progress": False}
    ours, right = kind(), kind()
    fit_svi(ours.model, ours.guide, x, **options)
    fit_svi(right.model, right.guide, x, **options, optimizer=lambda p: torch.optim.Adam(p, lr=0.05, fused=False))
    for parameter, expected in zip(ours.parameters(), right.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected, rtol=1e-4, atol=1e-5)


def test_an_autoencoder_of_images_with_channels_last_is_trained_as_by_plain_pytorch():
    """Whole batches and no noise: the same numbers."""

    def make():
        torch.manual_seed(0)
        pair = ChannelsLast()
        return nn.Sequential(Permuted(), *pair.encoder), nn.Sequential(pair.decoder, nn.Unflatten(1, (4, 4, 3)))

    ours, (encoder, decoder) = Autoencoder(*make()), make()
    fit_autoencoder(ours, IMAGES, epochs=10, batch_size=len(IMAGES), lr=0.05, progress=False)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=0.05, fused=False)
    for _ in range(10):
        optimizer.zero_grad()
        ((IMAGES - decoder(encoder(IMAGES))) ** 2).sum().div(len(IMAGES)).backward()
        optimizer.step()
    for parameter, expected in zip(ours.parameters(), [*encoder.parameters(), *decoder.parameters()], strict=True):
        torch.testing.assert_close(parameter, expected, rtol=1e-3, atol=1e-4)


class Permuted(nn.Module):
    def forward(self, x):
        return x.permute(0, 3, 1, 2)


@pytest.mark.parametrize("step", ["plain", "recorded"])
def test_clipping_shortens_a_shared_gradient_once(step):
    """One step of length one, along the gradient."""

    class Shared(Expanded):
        def __init__(self):
            super().__init__()
            self.shift, self.more = (nn.Parameter(torch.zeros(6)) for _ in range(2))

        def decode(self, z):
            return super().decode(z) + (self.shift + self.more)

    pair, before = Shared(), Shared()
    fit_svi(
        *(pair.model, pair.guide, X),
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1.0),
        **{"epochs": 1, "batch_size": 64, "clip_norm": 1.0, "step": step, "progress": False},
    )
    moved = [new.detach() - old.detach() for new, old in zip(pair.parameters(), before.parameters(), strict=True)]
    assert torch.stack([part.norm() for part in moved]).norm() == pytest.approx(1.0, abs=1e-5)
    names = [name for name, _ in pair.named_parameters()]
    torch.testing.assert_close(moved[names.index("shift")], moved[names.index("more")])
    torch.testing.assert_close(moved[names.index("shift")], moved[names.index("decoder.bias")])
