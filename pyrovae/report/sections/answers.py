"""The first screen: did it train, how good is it, can the number be believed."""

import math

from pyrovae.evaluation import BoundComparison, ReconstructionErrors
from pyrovae.report.page import Answer, Block, Table
from pyrovae.runs import FEW_UNRELIABLE, Run, build_objective, in_options
from pyrovae.training import FitResult, LossResult
from pyrovae.training.result import still_improving

INTERRUPTED = "interrupted"
"""The status of a run that was stopped and can go on."""

TRAINED, GOOD, BELIEVED = "Did it train?", "How good is it?", "Can I believe the number?"
# Above this part of unreliable rows the mean is not to be quoted; up to FEW_UNRELIABLE it stands but for some rows.
_MOST_UNRELIABLE = 0.5
_ONE_EPOCH = "One epoch was run, so nothing says whether more would help."


def did_it_train(run: Run, result: FitResult, status: str) -> Answer:
    """What became of a fit of a pair."""
    epochs, best = len(result.history), result.best_epoch
    if status == INTERRUPTED and not _fitted(run, result):
        return _cut_short(run, result)
    if status not in ("complete", INTERRUPTED):
        kept = (
            f"{epochs} epochs were finished, weights of epoch {best} are kept." if epochs else "No epoch was finished."
        )
        return Answer(TRAINED, "No, it broke off", f"{in_options(status)}. {kept}", "bad")
    term = next((name for name in ("validation_elbo", "train_elbo") if name in result.history[0]), "train_elbo")
    first, kept_elbo = result.history[0][term], result.history[best - 1][term] if best else math.nan
    what = "validation ELBO" if term == "validation_elbo" else "training ELBO"
    if epochs == 1 and best == 1:
        return Answer(TRAINED, "One epoch only", f"{_ONE_EPOCH} Its {what} is {kept_elbo:.2f} nats per row.", "care")
    text = f"{epochs} epochs, weights of epoch {best} kept; {what} from {first:.2f} to {kept_elbo:.2f} nats per row."
    if best < 2:
        return Answer(TRAINED, "Hardly", f"No epoch was better than the first. {text}", "care")
    if result.signs_of_trouble:
        count = len(result.signs_of_trouble)
        return Answer(TRAINED, f"Yes, with {count} sign{'s' * (count > 1)} of trouble", f"{text} See below.", "care")
    if still_improving(result, run.config["epochs"], build_objective(run.config)):
        return Answer(TRAINED, "Yes, still improving", f"{text} More --epochs would help.", "care")
    return Answer(TRAINED, "Yes", text, "good")


def _fitted(run: Run, result: FitResult | LossResult) -> bool:
    """Whether the epochs of a run that was interrupted are all done."""
    return bool(result.stopped_early or len(result.history) == run.config["epochs"])


def _cut_short(run: Run, result: FitResult | LossResult | None) -> Answer:
    epochs = 0 if result is None else len(result.history)
    kept = (
        f" What is drawn of it has the weights of epoch {result.best_epoch}." if result is not None and epochs else ""
    )
    done = f"It was interrupted after {epochs:,} of {run.config['epochs']:,} epochs, and can go on."
    return Answer(TRAINED, "Not to its end", f"{done}{kept}", "care")


def how_good(run: Run, bounds: BoundComparison | None) -> Answer:
    """The mean of the test rows."""
    if bounds is None:
        return Answer(GOOD, "Not known", "The test rows were not scored.", "plain")
    means, target = bounds.means(), run.system.target
    (value, error, _), elbo, gap = means["log_px"], means["elbo"][0], means["gap"][0]
    rows = len(bounds.log_px)
    spread = "" if math.isnan(error) else f" \N{PLUS-MINUS SIGN} {error:.2f}"
    return Answer(
        GOOD,
        f"{target} {value:.2f}{spread}",
        f"Nats per row, mean of {rows:,} test row{'s' * (rows > 1)} and its standard error; higher is better. "
        f"The ELBO is {elbo:.2f}, the gap {gap:.2f}.",
    )


def can_it_be_believed(run: Run, bounds: BoundComparison | None) -> Answer:
    """The verdict, in a word and as the table has it."""
    if bounds is None:
        return Answer(BELIEVED, "There is none", "The run ended before the test rows were scored.", "plain")
    rows, bad = len(bounds.k_hat), len(bounds.unreliable_rows)
    verdict = run.system.in_words(bounds.verdict())
    if not math.isfinite(bounds.means()["log_px"][0]):
        return Answer(BELIEVED, "No", f"The mean is not finite. {verdict}", "bad")
    if bool(bounds.k_hat.isnan().all()):
        return Answer(BELIEVED, "It cannot be judged", verdict, "care")
    if not bad:
        return Answer(BELIEVED, "Yes", verdict, "good")
    if bad <= FEW_UNRELIABLE * rows:
        return Answer(BELIEVED, f"Yes, but for {bad:,} of {rows:,} rows", verdict, "care")
    if bad <= _MOST_UNRELIABLE * rows:
        return Answer(BELIEVED, f"Partly: not in {bad:,} of {rows:,} rows", verdict, "care")
    return Answer(BELIEVED, f"No, not in {bad:,} of {rows:,} rows", verdict, "bad")


def means_of(run: Run, result: FitResult, bounds: BoundComparison | None) -> list[Block]:
    """The table of ELBO, log p(x) and gap, and what looked wrong."""
    blocks: list[Block] = []
    if bounds is not None:
        names = {"elbo": "ELBO", "log_px": run.system.target, "gap": "gap"}
        lines = [
            [names[name], f"{mean:.3f}", f"{rows:.3f}", f"{draws:.4f}"]
            for name, (mean, rows, draws) in bounds.means().items()
        ]
        note = (
            f"{len(bounds.elbo):,} test rows, {bounds.num_samples:,} importance draws each. Error over rows: of the "
            "mean, as if the rows were drawn anew; over draws: with these rows held fixed."
        )
        blocks.append(Table(["nats per row", "mean", "se (rows)", "se (draws)"], lines, note=note))
    blocks += [f"Sign of trouble: {in_options(sign)}" for sign in result.signs_of_trouble]
    if not result.signs_of_trouble:
        blocks.append("Signs of trouble: none.")
    remark = run.system.remark(run.config)
    return [*blocks, f"Note: {remark}."] if remark is not None and bounds is not None else blocks


def answers_of_autoencoder(
    run: Run, result: LossResult | None, errors: ReconstructionErrors | None, status: str
) -> list[Answer]:
    """The first screen of a run without a density."""
    no_density = f"No ELBO and no log p(x): {run.system.no_density}."
    if result is None or errors is None:
        broken = Answer(TRAINED, "No, it broke off", f"{status}.", "bad")
        return [
            _cut_short(run, None) if status == INTERRUPTED else broken,
            Answer(GOOD, "Not known", "The test rows were not reconstructed."),
            Answer(BELIEVED, "There is none", no_density),
        ]
    epochs, best, history = len(result.history), result.best_epoch, result.history
    term = "validation_loss" if "validation_loss" in history[0] else "train_loss"
    text = (
        f"{epochs} epochs, weights of epoch {best} kept; {term.replace('_', ' ')} from {history[0][term]:.3g} to "
        f"{history[best - 1][term]:.3g}."
    )
    if status == INTERRUPTED and not _fitted(run, result):
        trained = _cut_short(run, result)
    elif epochs == 1 and best == 1:
        trained = Answer(TRAINED, "One epoch only", _ONE_EPOCH, "care")
    elif best < 2:
        trained = Answer(TRAINED, "Hardly", f"No epoch was better than the first. {text}", "care")
    elif still_improving(result, run.config["epochs"]):
        trained = Answer(TRAINED, "Yes, still improving", f"{text} More --epochs would help.", "care")
    else:
        trained = Answer(TRAINED, "Yes", text, "good")
    mean, error = errors.means()["loss"]
    spread = "" if math.isnan(error) else f" \N{PLUS-MINUS SIGN} {error:.3f}"
    rows = len(errors.loss)
    good = Answer(
        GOOD,
        f"{errors.unit} {mean:.3f}{spread}",
        f"Mean of {rows:,} test row{'s' * (rows > 1)} and its standard error; lower is better.",
    )
    return [trained, good, Answer(BELIEVED, "As a reconstruction error, yes", no_density)]


def errors_of(errors: ReconstructionErrors | None) -> list[Block]:
    """The table of reconstruction errors."""
    if errors is None:
        return []
    titles = {
        "loss": errors.unit,
        "corrupted": "squared error of corrupted rows",
        "restored": "squared error of their reconstructions",
    }
    lines = [[titles[name], f"{mean:.4f}", f"{error:.4f}"] for name, (mean, error) in errors.means().items()]
    return [Table(["", "mean", "se (rows)"], lines, note=f"{len(errors.loss):,} test rows.")]
