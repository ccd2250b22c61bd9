"""The KL of a latent in closed form, under estimators of Pyro that take it from draws."""

from typing import Any

import pyro.distributions as dist
from pyro import poutine
from pyro.poutine.messenger import Messenger

from pyrovae.distributions.divergence import closed_form_kl
from pyrovae.programs import Program


def with_closed_form_kl(model: Program, guide: Program, site: str) -> tuple[Program, Any]:
    r"""The same pair, whose terms of one latent have the KL in the place of its draw, where a closed form is known.

    For z drawn from q the log-density of the model becomes

    .. math:: \log q(z) - KL(q \| p),

    which has the mean of log p(z), given what q and p are given: with that of the guide it adds up to -KL, whatever was
    drawn. That is what ``TraceMeanField_ELBO`` does; Pyro has no estimator that does so and enumerates.

    Args:
        model: draws the latent from a p that nothing after the latent in the guide has a part in.
        guide: draws the latent by reparameterisation.
        site: name of the latent.

    Returns:
        The model, to be run after the guide as estimators do, and the guide, whose ``trace`` is that of its last run.
    """
    traced = poutine.trace(guide)

    def closed(*args: Any, **kwargs: Any) -> Any:
        with _ClosedFormKL(site, traced.trace.nodes[site]):
            return model(*args, **kwargs)

    return closed, traced


class _ClosedFormKL(Messenger):
    """Puts the log-density in the place of that of the model's latent."""

    def __init__(self, site: str, drawn: Any) -> None:
        super().__init__()
        self.site, self.q, self.z = site, drawn["fn"], drawn["value"]

    def _pyro_sample(self, message: Any) -> None:
        if message["name"] != self.site:
            return
        kl = closed_form_kl(self.q, message["fn"])
        if kl is not None:
            message["fn"] = dist.Delta(self.z, self.q.log_prob(self.z) - kl, event_dim=self.q.event_dim)
