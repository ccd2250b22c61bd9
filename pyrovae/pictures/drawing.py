"""Which pictures apply to a run, and what they are drawn of."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyrovae import plots
from pyrovae.evaluation import latent_summary
from pyrovae.models import VAE, Autoencoder, ConditionalVAE
from pyrovae.pictures.codes import codes_of_autoencoder, codes_of_pair
from pyrovae.pictures.conditional import Conditional
from pyrovae.pictures.decoded import Decoded, draw_interpolation
from pyrovae.programs import evaluation_mode, isolated_rng, private_param_store
from pyrovae.runs import ModelRows, Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OF_LATENTS = ("latent_space.png", "latent_histograms.png")
_OF_A_VAE = ("interpolation.png", "traversals.png", "manifold.png", "class_samples.png", "variants.png")
PICTURE_FILES = (*_OF_LATENTS, *_OF_A_VAE)
# Rows that are interpolated and varied, where none are asked for.
_ROWS = 6


@dataclass(frozen=True)
class PictureOptions:
    """What to draw.

    Attributes:
        method: how codes of more than two dimensions become points of a plane.
        rows: numbers of test rows to interpolate between, to vary and to start from; None takes the first of each
            class, or the first ones, six at most.
        num_rows: test rows of the latent space and the histograms, at most.
        dims: latent dimensions of traversals and histograms; None takes those that hold most.
        variant_scale: how many times as far from the posterior mean as draws of q(z|x) the variants are.
        seed: of all draws.
    """

    method: plots.ProjectionMethod = "pca"
    rows: Sequence[int] | None = None
    num_rows: int = 2000
    dims: Sequence[int] | None = None
    variant_scale: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Pictures:
    """What was drawn, and what was not.

    Attributes:
        figures: by the name of their file.
        left_out: why a picture does not apply, by the name of its file.
    """

    figures: "dict[str, Figure]" = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def draw_pictures(run: Run, rows: ModelRows, options: PictureOptions, device: torch.device) -> Pictures:
    """Draw the pictures that apply to a run, of its test rows; the run stays as it is.

    Codes are posterior means, or means of 20 draws of the guide where these are not known; those of an autoencoder are
    what its encoder gives. A pair of programs that is no VAE has the pictures that need its latents alone, an
    autoencoder those that need no distribution of codes.

    Args:
        run: the model with its weights.
        rows: what it was fitted to.
        options: what to draw.
        device: where the weights are.

    Raises:
        ValueError: rows or dimensions that are not there, one test row alone, UMAP without its package.
    """
    plots.check_method(options.method)
    pictures, module = Pictures(), run.module
    data = rows.data
    chosen = chosen_rows(data.test_labels, len(data.test), options.rows)
    x = rows.test[: options.num_rows].to(device)
    if len(x) < 2:
        repair = "--num-rows 2 or more" if len(rows.test) > 1 else "a run with a larger --test-fraction"
        raise ValueError(f"the pictures compare the codes of rows, and this is one test row: give {repair}")
    labels = None if data.test_labels is None else data.test_labels[: options.num_rows]

    def draw(name: str, make: "Callable[[], Figure]") -> None:
        # Each with draws of its own, whichever others there are.
        with isolated_rng(options.seed, device):
            try:
                pictures.figures[name] = make()
            except ValueError as error:
                pictures.left_out[name] = str(error)

    with torch.no_grad(), held(run):
        if isinstance(module, Autoencoder):
            codes = codes_of_autoencoder(module, x, options.dims)
        else:
            summary = latent_summary(run.model, run.guide, x, aggregate=False, seed=options.seed)
            codes = codes_of_pair(summary, options.dims)
        draw("latent_space.png", lambda: codes.space(labels, options.method, options.seed))
        draw("latent_histograms.png", lambda: codes.histograms(labels))
        if isinstance(module, VAE):
            decoded = Decoded(module, data, chosen, device)
            draw("interpolation.png", decoded.interpolation)
            draw("traversals.png", lambda: decoded.traversals(codes))
            draw("manifold.png", decoded.manifold)
            draw("class_samples.png", decoded.class_samples)
            draw("variants.png", lambda: decoded.variants(options.variant_scale))
        elif isinstance(module, Autoencoder):
            title = "decoded on the straight line between the codes of two test rows"
            draw("interpolation.png", lambda: draw_interpolation(module, data, chosen, device, title))
        elif isinstance(module, ConditionalVAE) and run.config["condition_columns"] is None:
            conditional = Conditional(module, rows, list(run.covariates), chosen, device)
            draw("class_samples.png", conditional.class_samples)
            draw("variants.png", conditional.variants)
    reason = why_not(run)
    pictures.left_out.update(
        {name: reason for name in PICTURE_FILES if name not in pictures.figures | pictures.left_out}
    )
    return pictures


@contextmanager
def held(run: Run) -> Iterator[None]:
    """Evaluation mode, and all parameters as they are."""
    with private_param_store(run.model, run.guide), evaluation_mode(run.model, run.guide):
        yield


def why_not(run: Run) -> str:
    """Why pictures of what is decoded do not apply."""
    if run.module is None:
        return "the run is of a pair of programs of your own, without the encode and decode of a VAE"
    if run.autoencoder is not None:
        return "an autoencoder has no distribution of codes to take them from"
    return f"drawn for a VAE with z alone, and the run is of a {run.system.title}"


def chosen_rows(labels: Tensor | None, count: int, asked: Sequence[int] | None = None) -> list[int]:
    """The test rows that pictures start from: those asked for, the first of each class, or the first ones.

    Args:
        labels: of the test rows, or None.
        count: how many there are.
        asked: their numbers, or None.

    Raises:
        ValueError: rows that are not there.
    """
    if asked is not None:
        if not asked or not all(0 <= row < count for row in asked):
            raise ValueError(f"--rows {' '.join(map(str, asked))}: expected numbers of test rows, 0 to {count - 1}")
        return list(asked)
    if labels is None:
        return list(range(min(_ROWS, count)))
    known = labels.tolist()
    return [known.index(name) for name in sorted(set(known))[:_ROWS]]
