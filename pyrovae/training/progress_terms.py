"""The terms of a fit in words, beside its progress bar."""

from collections.abc import Mapping

_ELBO = {"ELBO": "train_elbo", "validation": "validation_elbo", "KL": "train_kl"}
_LOSS = {"loss": "train_loss", "validation": "validation_loss", "validation accuracy": "validation_accuracy"}


def elbo_in_words(terms: Mapping[str, float], epoch: int, epochs: int) -> str:
    """The bounds of an epoch, in nats per row."""
    return f"epoch {epoch}/{epochs}, {_named(_ELBO, terms)} nats"


def loss_in_words(terms: Mapping[str, float], epoch: int, epochs: int) -> str:
    """The losses of an epoch, as means over rows."""
    return f"epoch {epoch}/{epochs}, {_named(_LOSS, terms)}"


def _named(names: Mapping[str, str], terms: Mapping[str, float]) -> str:
    return ", ".join(f"{said} {terms[name]:#.4g}" for said, name in names.items() if name in terms)
