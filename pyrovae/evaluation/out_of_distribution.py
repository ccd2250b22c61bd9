"""Scores of how strange a row is to a model, and how well they tell two data sets apart."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyrovae.data import AnyRows
from pyrovae.evaluation.bounds import BoundComparison, compare_bounds
from pyrovae.programs import Program, check_any_rows, check_missing

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Auroc:
    """Area under the receiver operating characteristic.

    Attributes:
        value: probability that a row of the other data has the larger score, ties counted one half.
        standard_error: with both sets of rows as samples; 0 where the sets do not overlap or all scores are equal,
            which says only that the error cannot be seen, NaN with one row in a set. With few rows it is too small:
            with 5 and 200 normal scores, one deviation apart, two errors cover the true value in 84 % of cases.
    """

    value: float
    standard_error: float


@dataclass(frozen=True)
class OutOfDistributionScores:
    """Scores of every row, larger for rows that are stranger to the model; float64 tensors ``(rows,)`` in nats.

    Attributes:
        negative_log_px: -log p(x).
        negative_log_px_standard_error: its Monte Carlo standard error.
        likelihood_ratio: log p(x) of the background model less that of the model, or None.
        likelihood_ratio_standard_error: its Monte Carlo standard error, or None.
        typicality: distance of log p(x) from its mean over the training rows, or None.
        typicality_standard_error: its Monte Carlo standard error, with that of the training rows' mean as a sample of
            all rows, or None.
        reliable: whether every log p(x) of the row can be believed, as in ``BoundComparison.reliable``.
    """

    negative_log_px: Tensor
    negative_log_px_standard_error: Tensor
    likelihood_ratio: Tensor | None
    likelihood_ratio_standard_error: Tensor | None
    typicality: Tensor | None
    typicality_standard_error: Tensor | None
    reliable: Tensor

    def scores(self) -> dict[str, Tensor]:
        """The scores that there are, by name."""
        named = {
            "negative_log_px": self.negative_log_px,
            "likelihood_ratio": self.likelihood_ratio,
            "typicality": self.typicality,
        }
        return {name: score for name, score in named.items() if score is not None}

    def aurocs(self, other: "OutOfDistributionScores") -> dict[str, Auroc]:
        """How well each score tells these rows, as those of the model, from the rows of ``other``."""
        others = other.scores()
        return {name: auroc(score, others[name]) for name, score in self.scores().items() if name in others}

    def to_frame(self) -> "pd.DataFrame":
        """A table with one line for each row of data."""
        import pandas as pd

        columns = {name: value.numpy() for name, value in vars(self).items() if value is not None}
        return pd.DataFrame(columns).rename_axis(index="row")


def ood_scores(
    model: Program,
    guide: Program,
    x: AnyRows,
    *,
    background: tuple[Program, Program] | None = None,
    train: AnyRows | None = None,
    num_samples: int = 1000,
    chunk_size: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> OutOfDistributionScores:
    r"""How strange every row is to a model, by up to three scores; larger is stranger.

    .. math::
        -\log p(x), \qquad \log p_\mathrm{background}(x) - \log p(x), \qquad
        \left|\log p(x) - \frac1N \sum_{i=1}^N \log p(x_i^\mathrm{train})\right|

    The second takes out what a background model also knows, such as the brightness of an image; the usual
    background is the same model fitted to perturbed rows (Ren et al., 2019). The third asks whether a row is as
    likely as the model's own rows are, neither less nor more (Nalisnick, Matsukawa, Teh and Lakshminarayanan,
    2019).

    What a score cannot promise: a low one does not say that a row is of the training data's kind. A density may be
    high where there are no data: models trained on Fashion-MNIST gave digits of MNIST a higher likelihood
    than Fashion-MNIST itself, and VAEs trained on photographs of CIFAR-10 did so with the house numbers of SVHN
    (Nalisnick, Matsukawa, Teh, Gorur and Lakshminarayanan, 2019). The likelihood ratio depends on the choice of the
    background, and typicality passes every stranger whose likelihood is as usual. An AUROC measured on one pair of
    data sets says nothing of another. And where ``reliable`` is false, the score is that of the encoder's failure
    as much as of the row: log p(x) is then too low.

    Args:
        model: Pyro program of the rows, observing them inside a plate ``len(x)`` at dim -1.
        guide: Pyro program of the rows, drawing the model's latents inside the same plate.
        x: rows ``(rows, *data_shape)``, on the device of the parameters; or ``data.StreamedRows``.
        background: model and guide of a background, for the likelihood ratio.
        train: rows that the model was fitted to, or a part of them, for the typicality.
        num_samples: draws for each row.
        chunk_size: draws scored at once for each row of a block; smaller needs less memory, nothing else changes.
        seed: of the draws; the background and the training rows have draws of their own.
        progress: show a progress bar.

    Raises:
        ValueError: numbers out of range, NaN in the data, a pair that breaks the contract of ``check_pair``.

    Example:
        >>> import torch
        >>> from pyrovae import VAE, likelihoods, networks, ood_scores, posteriors, priors
        >>> vae = VAE(
        ...     priors.StandardNormal(2),
        ...     likelihoods.Normal(networks.MLP(2, 5)),
        ...     posteriors.DiagonalNormal(networks.MLP(5, 2 * 2)),
        ... )
        >>> x = torch.randn(20, 5)
        >>> own = ood_scores(vae.model, vae.guide, x, train=x, num_samples=50)
        >>> strange = ood_scores(vae.model, vae.guide, x + 9, train=x, num_samples=50)
        >>> {name: found.value for name, found in own.aurocs(strange).items()}
        {'negative_log_px': 1.0, 'typicality': 1.0}
    """
    if train is not None:
        check_any_rows(train, "train")
        check_missing(model, guide, train, "train")

    def score(pair: tuple[Program, Program], rows: AnyRows, own_seed: int) -> BoundComparison:
        # Draws of their own, so that the errors of differences are sums of squares.
        return compare_bounds(
            *pair, rows, num_samples=num_samples, chunk_size=chunk_size, seed=own_seed, progress=progress
        )

    bounds = score((model, guide), x, seed)
    reliable = bounds.reliable
    ratio, ratio_error, typicality, typicality_error = None, None, None, None
    if background is not None:
        theirs = score(background, x, seed + 1)
        ratio = theirs.log_px - bounds.log_px
        ratio_error = torch.hypot(theirs.standard_error, bounds.standard_error)
        reliable = reliable & theirs.reliable
    if train is not None:
        usual, usual_error, _ = score((model, guide), train, seed + 2).means()["log_px"]
        typicality = (bounds.log_px - usual).abs()
        typicality_error = torch.hypot(bounds.standard_error, torch.full_like(bounds.log_px, usual_error))
    return OutOfDistributionScores(
        negative_log_px=-bounds.log_px,
        negative_log_px_standard_error=bounds.standard_error,
        likelihood_ratio=ratio,
        likelihood_ratio_standard_error=ratio_error,
        typicality=typicality,
        typicality_standard_error=typicality_error,
        reliable=reliable,
    )


def auroc(in_scores: Tensor, out_scores: Tensor) -> Auroc:
    r"""How well a score tells two data sets apart: 1/2 is chance, 1 is without error, 0 is the wrong way round.

    .. math:: P(s_\mathrm{out} > s_\mathrm{in}) + \tfrac12 P(s_\mathrm{out} = s_\mathrm{in})

    over all pairs of rows, with the standard error of DeLong, DeLong and Clarke-Pearson (1988), which needs no
    assumption on the scores' distribution. Monte Carlo errors of the scores are not in it as such; they blur the
    scores, which draws the value towards 1/2.

    Args:
        in_scores: ``(rows,)`` of the data that the model is of.
        out_scores: ``(rows,)`` of the other data, larger for what is stranger to the model.

    Raises:
        ValueError: no scores, NaN among them, or not one number for each row.

    Example:
        >>> import torch
        >>> round(auroc(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([3.0, 4.0])).value, 4)
        0.9167
    """
    for argument, scores in (("in_scores", in_scores), ("out_scores", out_scores)):
        if not isinstance(scores, Tensor) or scores.dim() != 1 or not len(scores):
            shown = f"of shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else f"a {type(scores).__name__}"
            raise ValueError(f"{argument} is {shown}; expected a tensor (rows,) with rows in it")
        if bool(scores.isnan().any()):
            raise ValueError(f"{argument} has NaN in {int(scores.isnan().sum())} of {len(scores)} rows: remove them")
    ins, outs = in_scores.detach().cpu().double(), out_scores.detach().cpu().double()
    beaten = _part_below(outs, ins)
    beating = 1 - _part_below(ins, outs)
    if min(len(ins), len(outs)) < 2:
        return Auroc(beaten.mean().item(), math.nan)
    variance = beaten.var().item() / len(outs) + beating.var().item() / len(ins)
    return Auroc(beaten.mean().item(), math.sqrt(variance))


def _part_below(scores: Tensor, others: Tensor) -> Tensor:
    """For each score the part of the others that lies below it, ties counted one half."""
    ordered = others.sort().values
    below = torch.searchsorted(ordered, scores, right=False)
    not_above = torch.searchsorted(ordered, scores, right=True)
    return (below + not_above).double() / (2 * len(others))
