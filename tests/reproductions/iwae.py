"""One stochastic layer, 784-200-200-50 with tanh, after Burda, Grosse and Salakhutdinov (2016), by K draws in training.

python tests/reproductions/iwae.py --num-particles 5 --fraction 0.1
"""

import time

import torch
from reproducing import (
    BURDA_EPOCHS,
    Rows,
    epochs_of,
    fit,
    fit_so_far,
    hours,
    one_layer_vae,
    options,
    published,
    scores,
    write,
)

from pyrovae import compare_bounds
from pyrovae.objectives import Linear

# Negative log p(x) by 5,000 draws, in nats; the static ones are of Larochelle's bits.
PUBLISHED = {
    ("dynamic", "IWAE"): {
        1: (("Burda et al. (2016)", 86.76), ("second-hand, a public reproduction", 86.35)),
        5: (("Burda et al. (2016)", 85.54), ("second-hand, a public reproduction", 85.18)),
        50: (("Burda et al. (2016)", 84.78), ("second-hand, a public reproduction", 84.59)),
    },
    ("dynamic", "DReG"): {
        1: (("second-hand, a public reproduction", 86.08),),
        5: (("second-hand, a public reproduction", 84.90),),
        50: (("second-hand, a public reproduction", 84.32),),
    },
    ("static", "IWAE"): {
        1: (("Burda et al. (2016), appendix", 88.71),),
        5: (("Burda et al. (2016), appendix", 87.63),),
        50: (("Burda et al. (2016), appendix", 87.10),),
    },
}


def main() -> None:
    """Fit, score, and write the result."""
    parser = options(__doc__)
    parser.add_argument("--num-particles", type=int, default=1, help="draws K of the bound in training")
    parser.add_argument("--objective", choices=("IWAE", "DReG"), default="IWAE")
    parser.add_argument("--binarize", choices=("dynamic", "static"), default="dynamic")
    parser.add_argument("--fraction", type=float, default=1.0, help="of the 3,280 epochs")
    parser.add_argument("--warm-up", type=float, default=0.0, help="part of the run in which beta goes from 0 to 1")
    parser.add_argument("--so-far", action="store_true", help="score what a fit under way has kept, without a step")
    parser.add_argument("--num-samples", type=int, default=5000, help="importance draws of each test row")
    given = parser.parse_args()
    name = f"{given.objective.lower()}_{given.binarize}_{given.num_particles}_of_{given.fraction:g}"
    name += f"_warm_up_{given.warm_up:g}" if given.warm_up else ""
    name += f"_seed_{given.seed}"

    rows = Rows.load("mnist", given.data_root, given.binarize, given.seed)
    torch.manual_seed(given.seed)
    vae = one_layer_vae(tuple(rows.train.shape[1:]), rows.train, latent_dim=50, activation="tanh")
    if given.so_far:
        history = fit_so_far(vae, given.work_dir / name)
    else:
        history = fit(
            vae,
            rows,
            given.work_dir / name,
            epochs=epochs_of(given.fraction),
            seed=given.seed,
            objective=given.objective,
            num_particles=given.num_particles,
            beta=Linear(0, 1, given.warm_up) if given.warm_up else None,
        ).history
    start = time.monotonic()
    test = rows.test[: given.test_rows]
    bounds = compare_bounds(vae.model, vae.guide, test, num_samples=given.num_samples, seed=given.seed, progress=True)
    write(
        given.results / f"{name}{'_so_far' if given.so_far else ''}.json",
        row=f"{given.objective}, K = {given.num_particles}, {given.binarize} binarisation"
        + (", KL warm-up" if given.warm_up else "")
        + (", cut off" if given.so_far else ""),
        protocol="784-200-200-50 tanh, batches of 20, Adam with epsilon 1e-4, 0.001 * 10^(-i/7) for 3^i parts of 3,280",
        published=published(*PUBLISHED.get((given.binarize, given.objective), {}).get(given.num_particles, ())),
        ours=scores(bounds),
        epochs=len(history),
        epochs_of_the_protocol=BURDA_EPOCHS,
        seed=given.seed,
        hours=hours(history, time.monotonic() - start),
    )


if __name__ == "__main__":
    main()
