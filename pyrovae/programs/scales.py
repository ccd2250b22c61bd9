"""The weight that each site's log-density has, whatever the plates of a program say."""

from collections.abc import Iterable
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample


class SiteScales(Messenger):
    """Sets the scale of every site that runs inside: ``beta`` for latents, 1 for all others.

    A data plate larger than the batch multiplies log-densities by their ratio; that ratio goes here, so the numbers are
    those of the rows. And beta has to act on a latent in the model and in the guide alike: on one side alone it is
    ignored by ``TraceMeanField_ELBO`` and wrong in ``Trace_ELBO``.

    Rows that are repeated for their draws may outnumber a plate with a ``subsample_size``, of which Pyro then takes no
    more than there are; it is given as many as were asked for.

    Args:
        latents: names of the latent sites.
        beta: their scale.
    """

    def __init__(self, latents: Iterable[str] = (), beta: float = 1.0) -> None:
        super().__init__()
        self.latents, self.beta = frozenset(latents), beta

    def _pyro_sample(self, message: Any) -> None:
        if not site_is_subsample(message):
            message["scale"] = self.beta if message["name"] in self.latents else 1.0
        elif message["value"] is None and (message["fn"].subsample_size or 0) > message["fn"].size:
            message["value"] = torch.arange(message["fn"].subsample_size)
