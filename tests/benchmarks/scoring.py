"""How fast rows are scored: against the machine's limit, and against Pyro's own importance sampler, row by row.

    python tests/benchmarks/scoring.py [--rows 10000] [--draws 5000] [--output scoring.json]

The model is that of the README's MNIST run, 784-200-200-50, with fresh weights, as the time does not depend on them.
The rows are MNIST's test rows where $PYROVAE_DATA_ROOT is set, else bits drawn at random. The limit is the time of the
decoder's matrix multiplications alone. All are timed in turns, so that other work on the machine favours no side; the
ratios are medians over turns.
"""

import argparse
import json
import os
import platform
import resource

import pyro
import torch
from pyro.infer import Importance
from sides.plain import matrix_multiplications
from turns import circumstances, seconds_of, spread, write

from pyrovae import VAE, compare_bounds, likelihoods, load_data, log_weights, networks, posteriors, priors

LATENT_DIM, HIDDEN_DIM, PIXELS = 50, 200, 784
WIDTHS = (LATENT_DIM, HIDDEN_DIM, HIDDEN_DIM, PIXELS)
ROWS_PER_TURN = 256


def memory_mib() -> float:
    """The most memory that the process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if platform.system() == "Darwin" else 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--draws", type=int, default=5_000)
    parser.add_argument("--output", default=None)
    options = parser.parse_args()

    torch.manual_seed(0)
    pyro.set_rng_seed(0)
    vae = VAE(
        priors.StandardNormal(LATENT_DIM),
        likelihoods.Bernoulli(networks.MLP(LATENT_DIM, (1, 28, 28))),
        posteriors.DiagonalNormal(networks.MLP((1, 28, 28), 2 * LATENT_DIM)),
    )
    if "PYROVAE_DATA_ROOT" in os.environ:
        x = load_data("mnist", binarize="threshold").test[: options.rows]
    else:
        x = torch.bernoulli(torch.full((options.rows, 1, 28, 28), 0.13))

    compare_bounds(vae.model, vae.guide, x[:64], num_samples=100)
    before = memory_mib()
    turns = []
    importance = Importance(vae.model, vae.guide, num_samples=20)
    for rows in x.split(ROWS_PER_TURN):
        evaluations = len(rows) * options.draws
        scored = seconds_of(lambda rows=rows: compare_bounds(vae.model, vae.guide, rows, num_samples=options.draws))
        at_limit = seconds_of(lambda evaluations=evaluations: matrix_multiplications(WIDTHS, evaluations // 4)) * 4
        pyro_row = seconds_of(lambda rows=rows: importance.run(rows[:1])) / importance.num_samples
        own_row = (
            seconds_of(lambda rows=rows: log_weights(vae.model, vae.guide, rows[:1], options.draws)) / options.draws
        )
        turns.append(
            {
                "draws_per_second": evaluations / scored,
                "of_limit": at_limit / scored,
                "times_faster_than_pyro_row_by_row": pyro_row / (scored / evaluations),
                "times_faster_than_a_call_for_each_row": own_row / (scored / evaluations),
            }
        )
        print(
            f"{len(turns):4d} turns, {evaluations / scored / 1e6:.3f} million draws/s, {turns[-1]['of_limit']:.2f} of "
            "the limit",
            end="\r",
            flush=True,
        )
    result = circumstances(torch.get_num_threads()) | {
        "rows": len(x),
        "draws": options.draws,
        "memory_before_mib": round(before),
        "memory_after_mib": round(memory_mib()),
        **{name: spread([turn[name] for turn in turns]) for name in turns[0]},
    }
    print(f"\n{json.dumps(result, indent=2)}")
    write(result, options.output)


if __name__ == "__main__":
    main()
