"""The KL term of a pair, taken apart by latent site and by dimension."""

import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from torch import Tensor

from pyrovae.distributions.divergence import closed_form_kl, elementwise
from pyrovae.programs import Sampler, Site, sample_sites


def total_kl(
    model_trace: poutine.Trace, guide_trace: poutine.Trace, names: tuple[str, ...], *, analytic: bool
) -> Tensor:
    """KL(q || p) summed over all that the traces hold, with no scale on it."""
    q_sites, p_sites = sample_sites(guide_trace), sample_sites(model_trace)
    pairs = ((q_sites[name], p_sites[name]) for name in names)
    return torch.stack([_kl(q, p, analytic=analytic).sum() for q, p in pairs]).sum()


def kl_per_dimension(
    sampler: Sampler,
    guide_trace: poutine.Trace,
    model_trace: poutine.Trace,
    name: str,
    num_draws: int,
    *,
    analytic: bool,
) -> Tensor | None:
    """KL of every number of a latent site, ``(draws, rows, numbers)``; None where it does not factorise over them."""
    q_site, p_site = sample_sites(guide_trace)[name], sample_sites(model_trace)[name]
    q, p = elementwise(q_site["fn"]), elementwise(p_site["fn"])
    if q is None or p is None or q_site["mask"] is not None or p_site["mask"] is not None:
        return None
    value = q_site["value"]
    kl = closed_form_kl(q, p) if analytic else None
    if kl is None:
        kl = q.log_prob(value) - p.log_prob(value)
    return sampler.by_row(kl.expand(value.shape), num_draws, sampler.structure.latent_event_dims[name])


def kl_per_site(
    sampler: Sampler,
    guide_trace: poutine.Trace,
    model_trace: poutine.Trace,
    name: str,
    num_draws: int,
    *,
    analytic: bool,
) -> Tensor:
    """KL of a latent site, ``(draws, rows, 1)``."""
    kl = _kl(sample_sites(guide_trace)[name], sample_sites(model_trace)[name], analytic=analytic)
    return sampler.by_row(kl, num_draws, 0).sum(-1, keepdim=True)


def _kl(q: Site, p: Site, *, analytic: bool) -> Tensor:
    """KL over the batch of a site: in closed form where that is asked for and known, else log q - log p at the draw."""
    closed = closed_form_kl(q["fn"], p["fn"]) if analytic else None
    if closed is not None:
        return scale_and_mask(closed, mask=q["mask"])
    return scale_and_mask(q["unscaled_log_prob"], mask=q["mask"]) - scale_and_mask(
        p["unscaled_log_prob"], mask=p["mask"]
    )
