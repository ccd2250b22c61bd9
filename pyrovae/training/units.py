"""How much of the KL term each latent dimension has."""

import torch
from pyro import poutine
from torch import Tensor

from pyrovae.objectives.kl_terms import kl_per_dimension, kl_per_site
from pyrovae.programs import Sampler


def kl_of_units(sampler: Sampler, guide_trace: poutine.Trace, model_trace: poutine.Trace) -> tuple[Tensor, str]:
    """KL of each latent dimension, a mean over rows in nats, in closed form where there is one.

    Args:
        sampler: of the pair.
        guide_trace: a run of the guide, of one draw.
        model_trace: a run of the model at its latents.

    Returns:
        ``(units,)`` and what the units are called. A latent whose KL does not factorise over its dimensions is one; and
        all latents are, where model and guide draw them in different orders, as the term of a single one is no KL then.
    """
    latents = sampler.structure.latents
    if latents != sampler.structure.model_latents:
        terms = [kl_per_site(sampler, guide_trace, model_trace, name, 1, analytic=False) for name in latents]
        return torch.stack(terms).sum(0).mean((0, 1)), "joint posterior"
    of_units, whole = [], False
    for name in latents:
        kl = kl_per_dimension(sampler, guide_trace, model_trace, name, 1, analytic=True)
        if kl is None:
            whole = True
            kl = kl_per_site(sampler, guide_trace, model_trace, name, 1, analytic=True)
        of_units.append(kl.mean((0, 1)))
    return torch.cat(of_units), "latent sites and dimensions" if whole else "latent dimensions"
