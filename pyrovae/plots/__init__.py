"""Pictures of results: each function takes numbers and returns a matplotlib figure."""

from pyrovae.plots.accuracy import accuracy_by_labels
from pyrovae.plots.curves import curve_terms, learning_curves, loss_curves, term_curve
from pyrovae.plots.decoded import class_samples, interpolation, manifold, traversals, variants
from pyrovae.plots.figures import FILE_DPI, picture_metadata
from pyrovae.plots.histograms import latent_histograms
from pyrovae.plots.images import image_blocks, image_lines
from pyrovae.plots.latents import latent_space
from pyrovae.plots.projection import Projection, ProjectionMethod, check_method, project
from pyrovae.plots.rows import denoising, reconstructions, samples
from pyrovae.plots.scores import bound_by_draws, gap_histogram, k_hat_scatter
from pyrovae.plots.usage import kl_per_dimension

__all__ = [
    "FILE_DPI",
    "Projection",
    "ProjectionMethod",
    "accuracy_by_labels",
    "bound_by_draws",
    "check_method",
    "class_samples",
    "curve_terms",
    "denoising",
    "gap_histogram",
    "image_blocks",
    "image_lines",
    "interpolation",
    "k_hat_scatter",
    "kl_per_dimension",
    "latent_histograms",
    "latent_space",
    "learning_curves",
    "loss_curves",
    "manifold",
    "picture_metadata",
    "project",
    "reconstructions",
    "samples",
    "term_curve",
    "traversals",
    "variants",
]
