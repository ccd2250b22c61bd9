"""Missing entries, drawn from what a model says of them."""

import torch
from torch import Tensor

from pyrovae.evaluation.imputation_result import Imputation
from pyrovae.evaluation.imputed_blocks import ImputedBlock, impute_in_blocks
from pyrovae.programs import Program, check_positive, check_rows


def impute(
    model: Program,
    guide: Program,
    x: Tensor,
    *,
    num_samples: int = 100,
    num_proposals: int = 1000,
    chunk_size: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Imputation:
    r"""Draw the missing entries of rows, given the observed ones, by sampling-importance-resampling.

    Proposals :math:`z_k` from the guide have weights :math:`w_k \propto p(x_o, z_k) / q(z_k|x_o)`; draws take a z by
    its weight, and then

    .. math:: x_m \sim p(x_m \mid x_o, z), \qquad E[x_m \mid x_o] \approx \sum_k \bar w_k E[x_m \mid x_o, z_k]

    (Rezende, Mohamed and Wierstra, 2014; Mattei and Frellsen, 2019). Both are exact as the number of proposals grows.
    Parameters, the param store and the global random generators stay as they are.

    Args:
        model: Pyro program of the rows, observing them by a ``PartlyObserved`` distribution inside a plate ``len(x)``
            at dim -1.
        guide: Pyro program of the rows, drawing the model's latents inside the same plate.
        x: rows ``(rows, *data_shape)``, NaN where an entry is missing, on the device of the parameters.
        num_samples: draws of the missing entries of each row.
        num_proposals: draws from the guide for each row.
        chunk_size: proposals scored at once for each row of a block; smaller needs less memory, nothing else changes.
        seed: of the draws.
        progress: show a progress bar.

    Raises:
        ValueError: numbers out of range, a model that does not observe the rows by a ``PartlyObserved`` distribution,
            a pair that breaks the contract of ``check_pair``, rows without any observed entry, rows of which no
            proposal has a finite weight.

    Example:
        >>> import torch
        >>> from pyrovae import VAE, impute, likelihoods, networks, posteriors, priors
        >>> vae = VAE(
        ...     priors.StandardNormal(2),
        ...     likelihoods.PartlyObserved(likelihoods.Normal(networks.MLP(2, 3))),
        ...     posteriors.PartlyObserved(posteriors.DiagonalNormal(networks.MLP(3, 2 * 2)), data_shape=(3,)),
        ... )
        >>> x = torch.tensor([[0.5, torch.nan, 1.0], [0.1, 0.2, 0.3]])
        >>> filled = impute(vae.model, vae.guide, x, num_samples=7)
        >>> filled.draws.shape, bool((filled.draws[:, ~x.isnan()] == x[~x.isnan()]).all())
        (torch.Size([7, 2, 3]), True)
    """
    check_positive(num_samples=num_samples, num_proposals=num_proposals, chunk_size=chunk_size)
    check_rows(x, "x")
    blocks: list[ImputedBlock] = []
    impute_in_blocks(
        model,
        guide,
        x,
        torch.arange(len(x)),
        blocks.append,
        num_samples=num_samples,
        num_proposals=num_proposals,
        chunk_size=chunk_size,
        seed=seed,
        progress=progress,
    )
    return Imputation(
        draws=torch.cat([block.draws for block in blocks], 1),
        mean=torch.cat([block.mean for block in blocks]),
        missing=x.isnan(),
        ess=torch.cat([block.ess for block in blocks]),
        k_hat=torch.cat([block.k_hat for block in blocks]),
        num_proposals=num_proposals,
    )
