"""What a model makes of rows, in pictures: their reconstructions, and new rows."""

import torch

from pyrovae import plots
from pyrovae.evaluation import ReconstructionErrors, sample_rows
from pyrovae.models import ConditionalVAE
from pyrovae.pictures.levels import levels_of, levels_of_reconstructions
from pyrovae.plots.images import are_images
from pyrovae.report.decoded_rows import of_each_class, pair_of_x, reconstruct, rows_to_draw
from pyrovae.report.page import Block, Missing, Section, attempt, picture
from pyrovae.runs import ModelRows, Run

RECONSTRUCTIONS, SAMPLES = "Reconstructions", "New rows from the prior"
_ACROSS = 8


def reconstructions(run: Run, rows: ModelRows, device: torch.device) -> Section:
    """Test rows, the mean of p(x|z) and a draw from it."""
    given = run.system.given

    def draw() -> list[Block]:
        chosen = torch.arange(len(rows_to_draw(rows)))
        found = reconstruct(run, rows, chosen, device)
        if are_images(found.x):
            some = slice(_ACROSS)
            blocks = {
                "data": found.x[some],
                f"mean of p(x|z{given}), z from q(z|x{given})": found.means[some],
                f"draw from p(x|z{given})": found.draws[some],
            }
            figure = plots.image_blocks(blocks, shared=torch.cat([found.x[some], found.means[some]]))
            return [picture(figure, "test rows, their reconstructions, and draws from the likelihood", of_means(run))]
        names = rows.data.column_names
        levels = levels_of_reconstructions(run.module, rows.data)
        figure = plots.reconstructions(found.x, found.means, found.draws, entry_names=names, levels=levels)
        return [picture(figure, "values of test rows against those reconstructed", _no_images(found.x))]

    return Section(RECONSTRUCTIONS, attempt("reconstructions", draw))


def samples(run: Run, rows: ModelRows, device: torch.device) -> Section:
    """New rows, as means of p(x|z) and as draws from it; of a conditional VAE new images of each class."""
    given = run.system.given

    def draw() -> list[Block]:
        x = rows_to_draw(rows)
        module = run.module
        if isinstance(module, ConditionalVAE) and run.config["condition_columns"] is None and are_images(x):
            lines = {name: new[:_ACROSS] for name, new in of_each_class(module, run, x.to(device)).items()}
            figure = plots.image_lines(f"mean of p(x|z{given}), z from the prior", lines, width=4.0)
            return [picture(figure, "new images of each class", of_means(run))]
        means, draws = (
            new.cpu() for new in sample_rows(*pair_of_x(run, rows, torch.arange(len(x)), device), x.to(device))
        )
        if are_images(x):
            count = 2 * _ACROSS
            blocks = {
                f"mean of p(x|z{given}), z from the prior": means[:count],
                f"draw from p(x|z{given})": draws[:count],
            }
            figure = plots.image_blocks(blocks, shared=torch.cat([x, means]))
            return [picture(figure, "new rows: means of the likelihood, and draws from it", of_means(run))]
        figure = plots.samples(x, means, draws, entry_names=rows.data.column_names, levels=levels_of(rows.data))
        return [picture(figure, "histograms of new rows and of data, by entry", _no_images(x))]

    return Section(SAMPLES, attempt("new rows", draw))


def autoencoder_rows(rows: ModelRows, errors: ReconstructionErrors, why_no_samples: str) -> list[Section]:
    """Test rows and their reconstructions; for a denoising autoencoder corrupted ones too.

    Args:
        rows: what it was fitted to.
        errors: of the test rows.
        why_no_samples: why there are no new rows.
    """

    def draw() -> list[Block]:
        x = rows.test[: len(errors.reconstructed)]
        if are_images(x):
            blocks = {"data": x, "reconstruction": errors.reconstructed}
            if errors.example is not None:
                blocks |= dict(zip(("data, corrupted", "reconstruction of these"), errors.example, strict=True))
            some = {name: images[:_ACROSS] for name, images in blocks.items()}
            return [picture(plots.image_blocks(some, shared=x), "test rows and their reconstructions")]
        names = rows.data.column_names
        figures = [plots.reconstructions(x, errors.reconstructed, entry_names=names)]
        if errors.example is not None:
            figures.append(plots.denoising(x, *errors.example, entry_names=names))
        return [picture(figure, "values of test rows against those reconstructed") for figure in figures]

    return [
        Section(RECONSTRUCTIONS, attempt("reconstructions", draw)),
        Section(SAMPLES, [Missing("new rows", why_no_samples)]),
    ]


def of_means(run: Run) -> str:
    """What grey, or a colour, stands for where means of the likelihood are images."""
    density = f"p(x|z{run.system.given})"
    return f"A pixel of a mean is the mean of {density} at it; of data that are 0 or 1 it is the probability of a 1."


def _no_images(x: torch.Tensor) -> str:
    shape = "x".join(map(str, x.shape[1:]))
    return f"A row of shape {shape} is no image of one or three channels, so its values are shown."
