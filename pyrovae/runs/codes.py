"""The codes of rows under a stored run."""

from typing import TYPE_CHECKING

import torch

from pyrovae.data import AnyRows
from pyrovae.evaluation import posterior_moments
from pyrovae.runs.run import Run

if TYPE_CHECKING:
    import pandas as pd

CODES_FILE = "codes.csv"
"""The codes of a run's rows, where no other name is given."""

_ROWS_AT_ONCE = 4096


def codes_of_rows(
    run: Run, x: AnyRows, *, num_samples: int, seed: int, progress: bool = False
) -> tuple["pd.DataFrame", dict[str, str]]:
    """A table with a line for each row, and the latents that have no code, each with the reason.

    Args:
        run: the pair with its weights, or an autoencoder.
        x: rows ``(rows, *row_shape)``, on the device of the weights; or ``data.StreamedRows``.
        num_samples: draws of the guide where its means have no closed form.
        seed: of the draws.
        progress: show a progress bar.

    Returns:
        The columns of ``PosteriorMoments.to_frame``; of an autoencoder ``z[0]``, ``z[1]``, ... alone.

    Raises:
        ValueError: no latent has a mean.
    """
    import pandas as pd

    if run.autoencoder is not None:
        blocks = (x[start : start + _ROWS_AT_ONCE] for start in range(0, len(x), _ROWS_AT_ONCE))
        codes = torch.cat([run.autoencoder.encode(rows).detach().flatten(1).cpu() for rows in blocks])
        names = [f"z[{dim}]" for dim in range(codes.shape[1])]
        return pd.DataFrame(codes.numpy(), columns=names).rename_axis("row"), {}
    moments = posterior_moments(run.model, run.guide, x, num_samples=num_samples, seed=seed, progress=progress)
    if not moments.sites:
        reasons = "; ".join(f"of latent {name!r}, {reason}" for name, reason in moments.missing.items())
        raise ValueError(f"no latent has a code: {reasons}")
    return moments.to_frame(), moments.missing
