"""What a fit returns, and how it fails."""

from dataclasses import dataclass

from torch import Tensor

from pyrovae.objectives import KlForm, Objective

EpochTerms = dict[str, float]
"""The numbers of one epoch by name, as in ``FitResult.history``."""


@dataclass(frozen=True)
class FitResult:
    """What ``fit_svi`` did; the fitted weights are in the model and the guide.

    Attributes:
        history: for each epoch ``epoch``, counted from 1, and its terms, means over rows in nats: ``train_elbo``,
            ``train_reconstruction``, ``train_kl`` and ``train_objective``, what is maximised; the same with
            ``validation_`` where there are validation rows; ``seconds``. The terms of training are taken while the
            weights move; those of validation after the epoch, by the values that schedules end with. ``beta``,
            ``capacity`` and ``lr`` where they are schedules, at the epoch's last step. There are no terms of single
            steps.
        best_epoch: the epoch, counted from 1, whose weights were kept; 0 is the state before training.
        stopped_early: whether the validation objective had stopped rising before the last epoch.
        params: fitted values of the programs' ``pyro.param`` statements, by name. They stay with the programs:
            the functions of this package find them there, and a lambda or ``functools.partial`` that is written again
            is another program, without them. Weights of modules are in the modules.
        kl_forms: how the objective found the KL term of each latent site, ``"analytic"`` or ``"Monte Carlo"``.
        signs_of_trouble: what looked wrong, each sign once, in plain words with what to do: latents that are not used,
            a scale on its floor, a warm-up that fills the run, gradients that explode. Empty where nothing did.
        stepping: how the programs ran in the last steps: ``"plain"``, ``"recorded"`` or ``"compiled"``; where they
            could not be recorded, ``"plain: "`` and the reason.
        skipped_steps: steps that were left out, as their loss or gradient was not finite.
    """

    history: list[EpochTerms]
    best_epoch: int
    stopped_early: bool
    params: dict[str, Tensor]
    kl_forms: dict[str, KlForm]
    signs_of_trouble: tuple[str, ...] = ()
    stepping: str = "plain"
    skipped_steps: int = 0


@dataclass(frozen=True)
class LossResult:
    """What a fit by a loss did; the fitted weights are in the module.

    Attributes:
        history: for each epoch ``train_loss``, a mean over rows taken while the weights move, ``validation_loss`` after
            it where there are validation rows, ``epoch`` and ``seconds``.
        best_epoch: the epoch, counted from 1, whose weights were kept.
        stopped_early: whether the validation loss had stopped falling.
    """

    history: list[dict[str, float]]
    best_epoch: int
    stopped_early: bool


def still_improving(result: FitResult | LossResult, epochs: int, objective: Objective | None = None) -> bool:
    """Whether more epochs would have helped: the best is among the last tenth.

    While a weight moves each newest epoch is kept, which says nothing.

    Args:
        result: of the fit.
        epochs: that it had at most.
        objective: what was maximised; None of a fit by a loss, which stays as it is.
    """
    settled = objective.settled if objective is not None else 0.0
    return result.best_epoch > 0.9 * epochs and settled * epochs <= epochs - 1


class NonFiniteLossError(RuntimeError, FloatingPointError):
    """The loss became NaN or infinite; the last good weights were put back.

    Attributes:
        epoch: epoch of the step, counted from 1.
        step: step within the epoch, counted from 1; None on the validation rows, and in a fit by a loss.
        site: name of the first site whose parameters, value or log-density are not finite; None in a fit by a loss.
        result: what had been fitted until then; a ``LossResult`` of a fit by a loss.
    """

    def __init__(self, epoch: int, step: int | None, site: str | None, result: FitResult | LossResult) -> None:
        place = f"step {step}" if step is not None else "on the validation rows"
        where = "" if site is None else f", {place}; the first site that is not finite is {site!r}"
        super().__init__(
            f"the loss is not finite at epoch {epoch}{where}. "
            f"The weights of epoch {result.best_epoch} were put back. A lower learning rate is the usual repair; "
            "otherwise look for extreme values in the data"
        )
        self.epoch, self.step, self.site, self.result = epoch, step, site, result
