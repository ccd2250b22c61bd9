"""The package, by its public functions."""

import inspect
from collections.abc import Callable
from typing import Any, get_args

from sides.plain import (
    CLASSES,
    CLASSIFICATION_WEIGHT,
    DRAWS,
    HIDDEN_DIM,
    LATENT_DIM,
    LEARNING_RATE,
    NETWORKS,
    PIXELS,
    labels,
    rows,
)
from sides.plain_annealing import CHAINS, LONG, ROWS, Path
from torch import Tensor, nn

from pyrovae import VAE, ais, compare_bounds, fit_svi, likelihoods, log_weights, networks, posteriors, priors
from pyrovae.data import StreamedRows
from pyrovae.semi_supervised import M2

OBJECTIVES: dict[str, dict[str, Any]] = {
    "mlp": {},
    "convolutional": {},
    "iwae": {"objective": "IWAE", "num_particles": DRAWS},
}


def steps_of(fit: Callable[..., Any]) -> list[str]:
    """The ways to take a step that a function knows."""
    return list(get_args(inspect.signature(fit).parameters["step"].annotation))


def known_steps() -> dict[str, list[str]]:
    """Those of the two functions that are timed."""
    return {"fit_svi": steps_of(fit_svi), "M2": steps_of(M2)}


def build(kind: str) -> VAE:
    """The same networks as the hand-written ones."""
    shape = NETWORKS[kind].data_shape
    if kind == "convolutional":
        encoder = networks.ConvEncoder(shape, 2 * LATENT_DIM)
        decoder = networks.ConvDecoder(LATENT_DIM, shape)
    else:
        encoder = networks.MLP(shape, 2 * LATENT_DIM, (HIDDEN_DIM,), "softplus")
        decoder = networks.MLP(LATENT_DIM, shape, (HIDDEN_DIM,), "softplus")
    return VAE(priors.StandardNormal(LATENT_DIM), likelihoods.Bernoulli(decoder), posteriors.DiagonalNormal(encoder))


def train(
    clock, data: str, kind: str, batch_size: int, step: str, precision: str = "32", streamed: bool = False
) -> None:
    """Steps inside one call of ``fit_svi``, from batch to batch, with what it does between epochs."""
    vae = build(kind)
    # A run without end, so that what prepares for a long run does.
    options = {
        "epochs": 10_000,
        "patience": None,
        "progress": False,
        **OBJECTIVES[kind],
        "step": step,
        "precision": precision,
    }
    transform = between(clock, batch_size)
    x = StreamedRows(data) if streamed else rows(data, NETWORKS[kind].data_shape)
    fit_svi(vae.model, vae.guide, x, train_transform=transform, batch_size=batch_size, lr=LEARNING_RATE, **options)


def between(clock, batch_size: int) -> Callable[[Tensor], Tensor]:
    """A transform that changes nothing, and ticks before each step."""

    def transform(batch: Tensor) -> Tensor:
        # The first rows are looked at before the first step, and rows with labels have batches of their own.
        if len(batch) == batch_size:
            clock.tick()
        return batch

    return transform


def m2(**options: Any) -> M2:
    """The same networks as the hand-written M2."""
    return M2(
        latent_dim=LATENT_DIM,
        likelihood=likelihoods.Bernoulli(
            networks.MLP(LATENT_DIM + CLASSES, (PIXELS,), (HIDDEN_DIM,), activation="softplus")
        ),
        posterior=posteriors.DiagonalNormal(
            networks.MLP(PIXELS + CLASSES, 2 * LATENT_DIM, (HIDDEN_DIM,), activation="softplus")
        ),
        classifier=networks.MLP((PIXELS,), CLASSES, (HIDDEN_DIM,), activation="softplus"),
        num_classes=CLASSES,
        classification_weight=CLASSIFICATION_WEIGHT,
        lr=LEARNING_RATE,
        progress=False,
        **options,
    )


def train_m2(clock, data: str, batch_size: int, step: str) -> None:
    """Steps inside one call of ``M2.fit``."""
    x = rows(data)
    options = {"epochs": 10_000, "batch_size": batch_size, "step": step}
    m2(train_transform=between(clock, batch_size), **options).fit(x, labels(len(x)))


def score(clock, data: str, how: str, num_rows: int, draws: int) -> None:
    """Rows after rows, with so many draws each."""
    vae = build("mlp")
    clock.tick(0)
    while True:
        for x in rows(data)[: 100 * num_rows].split(num_rows):
            if how == "log_weights":
                log_weights(vae.model, vae.guide, x, draws)
            else:
                compare_bounds(vae.model, vae.guide, x, num_samples=draws)
            clock.tick(num_rows * draws)


def anneal(clock, data: str) -> None:
    """Estimates of log p(x), one call after another."""
    vae, x = build("mlp"), rows(data)[:ROWS]
    clock.tick(0)
    while True:
        annealed(vae, x, LONG)
        clock.tick()


def annealed(vae: VAE, x: Tensor, path: Path, seed: int = 0) -> Tensor:
    """Log weights ``(chains, rows)`` by as many gradients as the hand-written chains take."""
    return ais(vae.model, vae.guide, x, num_chains=CHAINS, seed=seed, **path._asdict()).log_weights


def parameters_of(module: Any) -> list[nn.Parameter]:
    """Decoder, encoder and classifier, in the order of the hand-written networks."""
    parts = [module.likelihood.decoder, module.posterior.encoder]
    if isinstance(module, M2):
        parts.append(module.classifier)
    return [parameter for part in parts for parameter in part.parameters()]
