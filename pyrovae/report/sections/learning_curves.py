"""How training went, in curves."""

from functools import partial

from pyrovae import plots
from pyrovae.report.page import Block, Missing, Section, attempt, picture
from pyrovae.training import FitResult, LossResult

TITLE = "Learning curves"


def learning_curves(result: FitResult) -> Section:
    """ELBO, reconstruction and KL of every epoch."""
    if not result.history:
        return Section(TITLE, [Missing("learning curves", "no epoch was finished")])
    blocks: list[Block] = []
    for term, title in plots.curve_terms(result.history).items():
        blocks += attempt(f"the curve of {title}", partial(_curve, result, term, title))
    note = "The numbers of each epoch are in metrics.csv. Those of training are taken while the weights move."
    return Section(TITLE, [*blocks, note])


def _curve(result: FitResult, term: str, title: str) -> list[Block]:
    figure = plots.term_curve(result.history, term, title, result.best_epoch)
    return [picture(figure, f"{title} by epoch, for training and validation rows")]


def loss_curves(pretraining: list[LossResult], result: LossResult | None, unit: str | None, why_not: str) -> Section:
    """The loss of every epoch, and where each layer that was fitted first ended; or why there is none."""
    if result is None or unit is None:
        return Section(TITLE, [Missing("learning curves", why_not)])
    figure = plots.loss_curves(result.history, result.best_epoch, unit)
    blocks: list[Block] = [picture(figure, "reconstruction loss by epoch, for training and validation rows")]
    if pretraining:
        ends = ", ".join(f"{layer.history[-1]['train_loss']:.3g}" for layer in pretraining)
        blocks.append(f"Layers were fitted one by one first; the loss of each at its end: {ends}.")
    return Section(TITLE, [*blocks, "The numbers of each epoch are in metrics.csv."])
