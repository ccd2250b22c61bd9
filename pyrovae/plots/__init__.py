"""Pictures of results: each function takes numbers and returns a matplotlib figure."""

from pyrovae.plots.accuracy import accuracy_by_labels
from pyrovae.plots.curves import learning_curves, loss_curves
from pyrovae.plots.decoded import class_samples, interpolation, manifold, traversals, variants
from pyrovae.plots.figures import picture_metadata
from pyrovae.plots.histograms import latent_histograms
from pyrovae.plots.images import image_lines
from pyrovae.plots.latents import latent_space
from pyrovae.plots.projection import Projection, ProjectionMethod, check_method, project
from pyrovae.plots.rows import denoising, reconstructions, samples

__all__ = [
    "Projection",
    "ProjectionMethod",
    "accuracy_by_labels",
    "check_method",
    "class_samples",
    "denoising",
    "image_lines",
    "interpolation",
    "latent_histograms",
    "latent_space",
    "learning_curves",
    "loss_curves",
    "manifold",
    "picture_metadata",
    "project",
    "reconstructions",
    "samples",
    "traversals",
    "variants",
]
