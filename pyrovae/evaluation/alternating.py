"""Expectation-maximisation with a guide in the place of the exact posterior."""

from typing import Any, Literal

from pyrovae.data import AnyRows
from pyrovae.evaluation.bounds import compare_bounds
from pyrovae.models import EMStep
from pyrovae.programs import Program, check_positive, isolated_rng
from pyrovae.progress import Progress
from pyrovae.training import fit_svi
from pyrovae.training.transform import transformed


def fit_alternating(
    model: Program,
    guide: Program,
    train: AnyRows,
    *,
    rounds: int = 5,
    epochs_per_step: int = 10,
    num_rows: int = 200,
    num_samples: int = 1000,
    seed: int = 0,
    progress: bool = False,
    **options: Any,
) -> list[EMStep]:
    r"""Fit the guide with the model held, then the model with the guide held, and so on: the EM reading of the ELBO.

    .. math:: \mathrm{ELBO} = \log p(x) - KL(q(z|x) \,\|\, p(z|x))

    An E step leaves log p(x) as it is and closes the gap, as far as the guide can; an M step raises the ELBO with q as
    it is, and so log p(x) or the gap (Neal and Hinton, 1998). ``ProbabilisticPCA.fit_em`` does both exactly. Fitting
    both at once, ``fit_svi``, is faster; this is to look at. Buffers, such as the running means of batch normalisation,
    move in both steps. Where p(z) uses the guide's parameters, as that of a ``VampPrior`` on the encoder does, an E
    step moves log p(x) too.

    Args:
        model: Pyro program of a batch of rows, observing them inside a plate ``len(x)`` at dim -1.
        guide: Pyro program of a batch of rows, drawing the model's latents inside the same plate.
        train: rows ``(rows, *data_shape)``, or ``data.StreamedRows``.
        rounds: pairs of an E and an M step.
        epochs_per_step: passes over the rows in each of them.
        num_rows: the first rows of ``train``, at most, that the numbers are taken from; with a ``train_transform`` as
            it gives them once, from ``seed``.
        num_samples: importance draws for each of these, always from the same seed.
        seed: of all draws.
        progress: show a progress bar.
        **options: ``batch_size``, ``lr``, ``objective`` and others of ``fit_svi``, for every step; not ``epochs``,
            ``trained``, ``checkpoints`` and ``resume``.

    Returns:
        The bound and the importance-weighted estimate of log p(x) after each half step, in nats per row.

    Raises:
        ValueError: numbers out of range, what ``fit_svi`` refuses, a model or a guide without parameters of its own.

    Example:
        >>> import torch
        >>> from pyrovae import VAE, likelihoods, networks, posteriors, priors
        >>> vae = VAE(
        ...     priors.StandardNormal(1),
        ...     likelihoods.Normal(networks.MLP(1, 3, ())),
        ...     posteriors.DiagonalNormal(networks.MLP(3, 2, ())),
        ... )
        >>> x = torch.randn(200, 1) * torch.ones(3) + 0.1 * torch.randn(200, 3)
        >>> steps = fit_alternating(vae.model, vae.guide, x, rounds=2, batch_size=50, lr=0.02)
        >>> [half.step for half in steps]
        ['E', 'M', 'E', 'M']
        >>> steps[-1].bound > steps[0].bound
        True
    """
    check_positive(rounds=rounds, epochs_per_step=epochs_per_step, num_rows=num_rows, num_samples=num_samples)
    repairs = {
        "epochs": "give epochs_per_step",
        "trained": "each half step has its own",
        **dict.fromkeys(("checkpoints", "resume"), "the half steps are fits of their own, which are not kept"),
    }
    for name in repairs.keys() & options.keys():
        raise ValueError(f"{name} is no option of fit_alternating: {repairs[name]}")
    judged = train[:num_rows]
    with isolated_rng(seed, judged.device):
        judged = transformed(judged, options.get("train_transform"))
    steps: list[EMStep] = []
    halves: tuple[tuple[Literal["E", "M"], Literal["guide", "model"]], ...] = (("E", "guide"), ("M", "model"))
    with Progress("alternating", 2 * rounds, "half step", shown=progress) as bar:
        for step, trained in halves * rounds:
            # Other draws in each step, or the M step would learn the noise of the E step.
            fit_svi(
                model,
                guide,
                train,
                trained=trained,
                epochs=epochs_per_step,
                seed=seed + len(steps),
                progress=False,
                **options,
            )
            bounds = compare_bounds(model, guide, judged, num_samples=num_samples, seed=seed)
            steps.append(EMStep(step, bounds.elbo.mean().item(), bounds.log_px.mean().item()))
            now = steps[-1]
            bar.tell(f"{step} step {len(steps)}/{2 * rounds}, ELBO {now.bound:.2f}, log p(x) {now.log_px:.2f} nats")
            bar.advance()
    return steps
