"""Every part of the package in each of its forms, and three of a user's own."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice

import torch
import users_parts
from torch import nn

from pyrovae import likelihoods, networks, posteriors, priors
from pyrovae.data import Masking

LATENT, DATA = 3, (2, 4)
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Maker:
    """How to make one part.

    Attributes:
        make: the part, with fresh weights, of an event shape.
        event_shape: that of the tests of shapes.
        context_shape: of what the part is called with, for one row; None for priors, which are called without.
        smallest: number of entries that an event has at least.
        train_differs: why log_prob in training is not that in evaluation; empty where it is.
        step: how far ``moved`` may move the parameters so that quadrature still sees all of the density.
    """

    make: Callable[[Shape], nn.Module]
    event_shape: Shape
    context_shape: Shape | None
    smallest: int = 1
    train_differs: str = ""
    step: float = 0.1


def make(name: str, event_shape: Shape | None = None, dtype: torch.dtype = torch.float32) -> nn.Module:
    """A part of the table, in evaluation where training is known to differ."""
    maker = PARTS[name]
    part = maker.make(maker.event_shape if event_shape is None else event_shape).to(dtype)
    return part.eval() if maker.train_differs else part


def call(name: str, part: nn.Module, context: torch.Tensor):
    """The part's distribution for contexts ``(*batch, *context_shape)``; a prior's is expanded to the batch."""
    if PARTS[name].context_shape is None:
        return part().expand(context.shape)
    return part(context)


def contexts(name: str, *batch_shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Random arguments for a part; for a prior just a tensor of the batch shape."""
    return torch.randn((*batch_shape, *(PARTS[name].context_shape or ())), dtype=dtype)


@torch.no_grad()
def moved(part: nn.Module, step: float = 0.3) -> nn.Module:
    """The part with its parameters away from their start."""
    for parameter in part.parameters():
        parameter += step * torch.randn_like(parameter)
    return part


# Likelihoods.

SOURCES = ("shared", "per_dimension", "predicted")
# For tables of any width.
KINDS = ("real", "count", "binary", "categorical(3)", "count", "real")
DISCRETE_KINDS = ("binary", "categorical(3)", "categorical(2)", "count")
TABLE = (6,)


def decoder(output_shape: Shape, **options) -> nn.Module:
    return networks.MLP(LATENT, output_shape, (8,), **options)


def likelihood(kind, shape_options=None, sized=False, **options) -> Maker:
    """One whose decoder has the output shape that it asks for; ``sized`` ones take ``data_shape`` too."""
    chosen = shape_options or {}

    def make(data_shape: Shape) -> nn.Module:
        shape = kind.decoder_shape(data_shape, **chosen) if hasattr(kind, "decoder_shape") else data_shape
        return kind(decoder(shape), **({"data_shape": data_shape} if sized else {}), **options, **chosen)

    train_differs = "a batch is scored at its own best scale" if "optimal" in chosen.values() else ""
    return Maker(make, DATA, (LATENT,), train_differs=train_differs)


def columns(kinds: Shape, **options) -> Maker:
    def make(data_shape: Shape) -> nn.Module:
        column_kinds = tuple(islice(cycle(kinds), data_shape[0]))
        shape = likelihoods.Columns.decoder_shape(data_shape, column_kinds, **options)
        return likelihoods.Columns(decoder(shape), column_kinds, **options)

    return Maker(make, TABLE, (LATENT,))


def partly(maker: Maker) -> Maker:
    return Maker(lambda shape: likelihoods.PartlyObserved(maker.make(shape)), maker.event_shape, maker.context_shape)


LIKELIHOODS = {
    "Bernoulli": likelihood(likelihoods.Bernoulli),
    "Bernoulli, batch normalisation": Maker(
        lambda shape: likelihoods.Bernoulli(decoder(shape, normalization="batch")),
        DATA,
        (LATENT,),
        train_differs="a batch is normalised by its own moments",
    ),
    "ContinuousBernoulli": likelihood(likelihoods.ContinuousBernoulli),
    "Normal, scale fixed": likelihood(likelihoods.Normal, {"scale": 0.3}),
    "Normal, scale optimal": likelihood(likelihoods.Normal, {"scale": "optimal"}),
    **{
        f"{kind.__name__}, {argument} {source}": likelihood(kind, {argument: source}, sized=True)
        for kind, argument in (
            (likelihoods.Normal, "scale"),
            (likelihoods.Laplace, "scale"),
            (likelihoods.StudentT, "df"),
            (likelihoods.StudentT, "scale"),
            (likelihoods.LogNormal, "scale"),
            (likelihoods.Beta, "concentration"),
            (likelihoods.NegativeBinomial, "total_count"),
            (likelihoods.ZeroInflatedPoisson, "gate"),
            (likelihoods.ZeroInflatedNegativeBinomial, "total_count"),
            (likelihoods.ZeroInflatedNegativeBinomial, "gate"),
            (likelihoods.DiscretizedLogistic, "scale"),
        )
        for source in SOURCES
    },
    **{
        f"{kind.__name__}, {source}": likelihood(kind, {**options, "covariance": source}, sized=True)
        for kind, options in ((likelihoods.FullCovarianceNormal, {}), (likelihoods.LowRankNormal, {"rank": 2}))
        for source in ("shared", "predicted")
    },
    "Poisson": likelihood(likelihoods.Poisson),
    "Binomial": likelihood(likelihoods.Binomial, total_count=7),
    "Categorical": likelihood(likelihoods.Categorical, {"num_levels": 5}),
    "DiscretizedLogisticMixture": likelihood(
        likelihoods.DiscretizedLogisticMixture, {"num_components": 3}, num_levels=9
    ),
    "Columns": columns(KINDS),
    "Columns, scale predicted": columns(KINDS, scale="predicted"),
    "Columns, discrete": columns(DISCRETE_KINDS),
    "Columns, one kind": columns(("categorical(4)",)),
    "Gamma of a user": likelihood(users_parts.Gamma),
}
WHOLE_ROWS = tuple(LIKELIHOODS)
LIKELIHOODS |= {
    f"PartlyObserved, {name}": partly(LIKELIHOODS[name])
    for name in ("Normal, scale shared", "LowRankNormal, predicted", "Columns", "Columns, discrete", "Categorical")
}

# Posteriors.


def encoder(output_size: int, input_shape: Shape = DATA, **options) -> nn.Module:
    return networks.MLP(input_shape, output_size, (8,), **options)


def posterior(kind, input_shape: Shape = DATA, **options):
    """Of a latent size, on an encoder of its own."""

    def make(latent_shape: Shape) -> nn.Module:
        size = kind.encoder_shape(*latent_shape, **options) if hasattr(kind, "encoder_shape") else 2 * latent_shape[0]
        return kind(encoder(size, input_shape), **options)

    return make


def flow(base, kind: str, num_layers: int = 3):
    def make(latent_shape: Shape) -> nn.Module:
        (latent_dim,) = latent_shape
        network = encoder(posteriors.Flow.encoder_shape(latent_dim, base))
        return posteriors.Flow(latent_dim, base, network, kind, num_layers=num_layers, hidden_dims=(16,))

    return make


def partly_seen(append_mask: bool):
    inner = posterior(posteriors.DiagonalNormal, (4, 4) if append_mask else DATA)
    return lambda latent_shape: posteriors.PartlyObserved(inner(latent_shape), DATA, append_mask=append_mask)


def batch_normalised(latent_shape: Shape) -> nn.Module:
    return posteriors.DiagonalNormal(encoder(2 * latent_shape[0], normalization="batch"))


def denoising(latent_shape: Shape) -> nn.Module:
    return posteriors.Denoising(posterior(posteriors.DiagonalNormal)(latent_shape), Masking(0.3))


POSTERIORS = {
    name: Maker(make, (LATENT,), DATA, smallest=2 if name.startswith("Flow") else 1)
    for name, make in {
        "DiagonalNormal": posterior(posteriors.DiagonalNormal),
        "FullCovarianceNormal": posterior(posteriors.FullCovarianceNormal),
        "LowRankNormal": posterior(posteriors.LowRankNormal, rank=1),
        "MixtureOfNormals": posterior(posteriors.MixtureOfNormals, num_components=3),
        "Flow, inverse autoregressive": flow("DiagonalNormal", "inverse_autoregressive"),
        "Flow, coupling of a full covariance": flow("FullCovarianceNormal", "coupling"),
        "Flow, spline of a mixture": flow("MixtureOfNormals", "spline"),
        "Flow, coupling of a low rank": flow("LowRankNormal", "coupling"),
        "PartlyObserved": partly_seen(append_mask=False),
        "PartlyObserved, mask appended": partly_seen(append_mask=True),
        "StudentT of a user": posterior(users_parts.StudentT),
    }.items()
} | {
    "DiagonalNormal, batch normalisation": Maker(
        batch_normalised, (LATENT,), DATA, train_differs="a batch is normalised by its own moments"
    ),
    "Denoising": Maker(denoising, (LATENT,), DATA, train_differs="the encoder sees a damaged row"),
}

# Priors.


def vamp(learned: bool, kind=posteriors.DiagonalNormal):
    return lambda shape: priors.VampPrior(posterior(kind)(shape), DATA, num_pseudo_inputs=4, learned=learned)


PRIORS = {
    name: Maker(make, (LATENT,), None, smallest, step=step)
    for name, (make, smallest, step) in {
        "StandardNormal": (lambda shape: priors.StandardNormal(*shape), 1, 0.3),
        "DiagonalNormal": (lambda shape: priors.DiagonalNormal(*shape), 1, 0.3),
        "Laplace": (lambda shape: priors.Laplace(*shape), 1, 0.3),
        "StudentT": (lambda shape: priors.StudentT(*shape), 1, 0.3),
        "GaussianMixture": (lambda shape: priors.GaussianMixture(*shape, num_components=3), 1, 0.3),
        "VampPrior": (vamp(learned=True), 1, 0.3),
        "VampPrior, fixed": (vamp(learned=False), 1, 0.3),
        "VampPrior of full covariances": (vamp(True, posteriors.FullCovarianceNormal), 1, 0.1),
        "Flow, autoregressive": (lambda shape: priors.Flow(*shape, "autoregressive", 3, (16,)), 2, 0.3),
        "Flow, coupling": (lambda shape: priors.Flow(*shape, "coupling", 3, (16,)), 2, 0.3),
        # Steps of 0.3 would give splines peaks that fall between the points of a grid.
        "Flow, spline": (lambda shape: priors.Flow(*shape, "spline", 3, (16,)), 2, 0.1),
        "Hierarchical": (lambda shape: priors.Hierarchical(*shape, hidden_dims=(16,)), 2, 0.3),
        "CorrelatedNormal of a user": (lambda shape: users_parts.CorrelatedNormal(*shape), 1, 0.3),
    }.items()
}

# Names say their slot where two slots have a part of one name.
PARTS = {
    f"{slot} {name}": maker
    for slot, table in (("likelihood", LIKELIHOODS), ("prior", PRIORS), ("posterior", POSTERIORS))
    for name, maker in table.items()
}
