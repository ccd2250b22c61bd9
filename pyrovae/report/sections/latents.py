"""The latent space of a model in pictures, and what is decoded on the way between two rows."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from pyrovae.pictures import LatentOverview
from pyrovae.plots.images import are_images
from pyrovae.report.page import Block, Missing, Section, attempt, picture
from pyrovae.report.sections.rows import of_means

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INTERPOLATION, LATENTS = "Between two rows", "The latent space"


def latent_sections(overview: LatentOverview) -> list[Section]:
    """Interpolation, the latent plane, the histograms of its dimensions, and their KL."""
    labels = overview.labels
    colours: list[Block] = []
    if labels is None:
        colours.append(Missing("colours of classes", "the data have no labels"))
    elif len(set(labels.tolist())) == 1:
        colours.append(f"All rows that are shown are of one class, {labels[0].item()}.")

    def drawn(what: str, figure: "Callable[[], Figure]", note: str = "") -> list[Block]:
        return attempt(what, lambda: [picture(figure(), what, note)])

    by_class = "" if labels is None else " by class"
    active = attempt("which latent dimensions are active, and the KL of each", lambda: [overview.summary.verdict()])
    # The same reason is not said twice.
    kl = [] if isinstance(active[0], Missing) else drawn("KL of each latent dimension", overview.kl)
    of_density = overview.run.autoencoder is None and are_images(overview.rows.data.test[:1])
    note = of_means(overview.run) if of_density else ""
    decoded = drawn("rows decoded on the line between two test rows", overview.interpolation, note)
    return [
        Section(INTERPOLATION, decoded),
        Section(
            LATENTS,
            [
                *colours,
                *active,
                *drawn("the codes of the test rows in a plane", overview.space),
                *kl,
                *drawn(f"histograms of the latent dimensions{by_class}", overview.histograms),
            ],
        ),
    ]
