"""What reproductions share: options, MNIST's rows, a fit that goes on where it was cut off, the result as JSON."""

import argparse
import json
import math
import os
import platform
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import Tensor

import pyrovae
from pyrovae import VAE, BoundComparison, FitResult, fit_svi, likelihoods, load_data, networks, posteriors, priors
from pyrovae.checkpoints import Checkpoints
from pyrovae.networks.activations import Activation
from pyrovae.objectives import Stages
from pyrovae.training import EpochTerms

RESULTS = Path(__file__).parent / "results"

BURDA_EPOCHS = sum(3**i for i in range(8))
"""Of Burda, Grosse and Salakhutdinov (2016): 3,280."""

BURDA_RATES = Stages([1e-3 * 10 ** (-i / 7) for i in range(8)], [3**i for i in range(8)])
"""Their learning rates, each for three times as long as the one before; of a shorter run the same parts."""


def options(description: str | None) -> argparse.ArgumentParser:
    """The options that every reproduction has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data-root", default=os.environ.get("PYROVAE_DATA_ROOT"), help="folder with MNIST's files")
    parser.add_argument("--seed", type=int, default=0, help="of weights, batches, bits and draws")
    parser.add_argument("--work-dir", type=Path, default=Path("runs/reproductions"), help="where fits keep checkpoints")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the JSON file goes")
    parser.add_argument("--test-rows", type=int, default=10_000, help="rows that are scored, from the first")
    return parser


@dataclass(frozen=True)
class Rows:
    """All training rows, what makes bits of a batch of them, and test rows in bits."""

    train: Tensor
    transform: Any
    test: Tensor

    @staticmethod
    def load(name: str, root: str | None, how: str, seed: int) -> "Rows":
        """The 60,000 training rows of a set of images, none left out for validation, and its 10,000 test rows."""
        grey = load_data(name, root=root, binarize="none", seed=seed)
        bits = load_data(name, root=root, binarize=how, seed=seed)
        source = grey if how == "dynamic" else bits
        return Rows(torch.cat([source.train, source.validation]), bits.train_transform, bits.test)


def one_layer_vae(
    data_shape: tuple[int, ...],
    train: Tensor,
    latent_dim: int,
    activation: Activation,
    hidden_dims: tuple[int, ...] = (200, 200),
    **parts: Any,
) -> VAE:
    """A VAE of bits, with a standard normal prior and a diagonal normal q if not told otherwise.

    The decoder's output bias starts at the mean of each pixel.
    """
    encoder = networks.MLP(data_shape, 2 * latent_dim, hidden_dims=hidden_dims, activation=activation)
    decoder = networks.MLP(latent_dim, data_shape, hidden_dims=hidden_dims, activation=activation)
    slots = {
        "prior": priors.StandardNormal(latent_dim),
        "likelihood": likelihoods.Bernoulli(decoder, start_at_mean=True),
        "posterior": posteriors.DiagonalNormal(encoder),
    }
    vae = VAE(**slots | parts)
    vae.initialize(train)
    return vae


def fit(vae: VAE, rows: Rows, folder: Path, *, epochs: int, seed: int, **given: Any) -> FitResult:
    """Fit with Adam's epsilon of 1e-4 and the learning rates of Burda et al., and keep the last weights."""
    return fit_svi(
        vae.model,
        vae.guide,
        rows.train,
        train_transform=rows.transform,
        epochs=epochs,
        patience=None,
        seed=seed,
        checkpoints=folder,
        resume=True,
        **{"batch_size": 20, "lr": BURDA_RATES, "optimizer": _adam} | given,
    )


def _adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=1e-3, eps=1e-4, fused=True)


def fit_so_far(vae: VAE, folder: Path) -> list[EpochTerms]:
    """Give a VAE the weights of the newest checkpoint of its fit; the epochs that were done.

    Raises:
        ValueError: there is none.
    """
    state = Checkpoints(folder).newest()
    if state is None:
        raise ValueError(f"{folder} has no checkpoint: begin the fit, the same command without --so-far")
    # Beside weights it has buffers that are not stored, such as those of a fixed prior.
    vae.load_state_dict({name: state["weights"][name] for name in vae.state_dict()})
    return state["history"]


def epochs_of(fraction: float, whole: int = BURDA_EPOCHS) -> int:
    """A fraction of the epochs, at least one."""
    return max(1, round(fraction * whole))


def scores(bounds: BoundComparison) -> dict[str, Any]:
    """What importance draws say of the test rows, in nats per row."""
    return {
        "negative log p(x)": [-bounds.log_px.mean().item(), error_of_rows(bounds.log_px)],
        "standard error of the draws": bounds.means()["log_px"][2],
        "negative ELBO": [-bounds.elbo.mean().item(), error_of_rows(bounds.elbo)],
        "rows": len(bounds.log_px),
        "draws of a row": bounds.num_samples,
        "rows whose k-hat is above its limit": int((~bounds.reliable).sum()),
    }


def error_of_rows(values: Tensor) -> float:
    """The standard error of the mean over rows."""
    return (values.std() / math.sqrt(len(values))).item()


def write(path: Path, **result: Any) -> None:
    """A result beside its command, versions, machine and day."""
    made = {
        "command": shlex.join(["python", str(Path(sys.argv[0])), *sys.argv[1:]]),
        "versions": {"pyrovae": pyrovae.__version__, "torch": torch.__version__, "pyro": pyro.__version__},
        "machine": _machine(),
        "day": datetime.now(UTC).date().isoformat(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result | made, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


def _machine() -> str:
    information, threads = Path("/proc/cpuinfo"), torch.get_num_threads()
    text = information.read_text(encoding="utf-8") if information.exists() else ""
    named = re.search(r"model name\s*: (.+)", text)
    processor = named[1] if named else platform.processor() or platform.machine()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{processor}, {threads} thread{'' if threads == 1 else 's'}, {gpu}"


def hours(history: list[EpochTerms], scoring_seconds: float) -> float:
    """Of the epochs, in all parts of their fit, and of the scoring."""
    return round((sum(terms["seconds"] for terms in history) + scoring_seconds) / 3600, 3)


def published(*figures: tuple[str, float | str]) -> list[Mapping[str, Any]]:
    """Figures and where they are from."""
    return [{"source": source, "figure": figure} for source, figure in figures]
