"""Scores do not depend on how draws are cut, recorded or compiled, nor on the memory that they may take."""

import math

import pytest
import torch
from problems import bits, small_vae
from torch import nn

from pyrovae import VAE, compare_bounds, likelihoods, log_weights, networks, posteriors, priors
from pyrovae.evaluation import chunks
from pyrovae.evaluation.chunks import LogJoint
from pyrovae.evaluation.opening import open_sampler


def test_many_chunks_are_recorded_and_give_the_numbers_of_plain_pytorch():
    vae, x = small_vae().double(), bits(3).double()
    with open_sampler(vae.model, vae.guide, x, seed=0) as sampler:
        log_joint = LogJoint(sampler, 900, chunk_size=2)
        latents, _ = sampler.draw(x, 900)
        ours = log_joint(x, latents)
        assert log_joint._replay.way == "recorded"
        z = latents["z"]
        by_hand = -nn.functional.binary_cross_entropy_with_logits(
            vae.likelihood.decoder(z), x.expand(900, *x.shape), reduction="none"
        ).flatten(2).sum(2) - (z.square() / 2 + math.log(2 * math.pi) / 2).sum(2)
    torch.testing.assert_close(ours, by_hand, rtol=0, atol=1e-10)


def test_weights_that_change_between_two_calls_are_those_of_each():
    vae, x = small_vae(), bits(3)
    first = log_weights(vae.model, vae.guide, x, 900, chunk_size=2)
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.mul_(1.5)
    second = log_weights(vae.model, vae.guide, x, 900, chunk_size=2)
    torch.testing.assert_close(second, log_weights(vae.model, vae.guide, x, 900), rtol=0, atol=1e-3)
    assert float((first - second).abs().mean()) > 0.1


class Wide(nn.Module):
    """A decoder whose hidden layer takes 8 MB for each evaluation, two times a million numbers."""

    def __init__(self):
        super().__init__()
        self.out = networks.MLP(1, (1, 8, 8), ())

    def forward(self, z):
        return self.out(((z.expand(*z.shape[:-1], 2**20) + 1) * 2).mean(-1, keepdim=True))


def test_a_chunk_takes_no_more_than_the_memory(monkeypatch):
    encoder = networks.MLP((1, 8, 8), 2, ())
    vae = VAE(priors.StandardNormal(1), likelihoods.Bernoulli(Wide()), posteriors.DiagonalNormal(encoder))
    x, sizes = bits(4), []

    def counted(sampler, rows, latents):
        sizes.append(latents["z"].shape[:2].numel())
        return plain(sampler, rows, latents)

    with open_sampler(vae.model, vae.guide, x, seed=0) as sampler:
        latents, _ = sampler.draw(x, 20)
        plain = type(sampler).log_joint
        monkeypatch.setattr(type(sampler), "log_joint", counted)
        ample = LogJoint(sampler, 20, memory_gib=0.2)(x, latents)
        assert sizes[1] == 24
        sizes.clear()
        scarce = LogJoint(sampler, 20, memory_gib=0.001)(x, latents)
        # One draw for each of the four rows is the least.
        assert set(sizes) == {4}
    torch.testing.assert_close(ample, scarce)


def test_a_budget_that_is_none_is_refused():
    vae = small_vae()
    with pytest.raises(ValueError, match="memory_gib is 0; expected a positive number of GiB, such as 2"):
        log_weights(vae.model, vae.guide, bits(2), 3, memory_gib=0)


def test_the_chunks_of_usual_images_are_those_of_the_cache():
    vae, x = small_vae(), bits(64)
    with open_sampler(vae.model, vae.guide, x, seed=0) as sampler:
        latents, _ = sampler.draw(x, 100)
        assert LogJoint(sampler, 100)._draws_at_once(x, latents) * 64 == chunks._MOST_IN_A_CHUNK


@pytest.mark.filterwarnings("ignore:Using `torch.compile")
def test_parts_that_are_compiled_are_not_compiled_anew_to_count_their_memory():
    vae = small_vae()
    own = compare_bounds(vae.model, vae.guide, bits(40), num_samples=200).log_px
    vae.likelihood.decoder = torch.compile(vae.likelihood.decoder, backend="eager")
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        compiled = compare_bounds(vae.model, vae.guide, bits(40), num_samples=200).log_px
    torch.testing.assert_close(compiled, own)
