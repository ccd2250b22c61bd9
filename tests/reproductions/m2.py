"""M2 with few labels, 50 latents and one hidden layer of 500, after Kingma, Rezende, Mohamed and Welling (2014).

python tests/reproductions/m2.py --labels 600 --epochs 20
"""

import json
import math
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from reproducing import options, published, write

from pyrovae import load_data
from pyrovae.semi_supervised import M2
from pyrovae.semi_supervised.label_draws import draw_labels

LATENT_DIM, HIDDEN_DIMS, BATCH_SIZE, EPOCHS = 50, (500,), 200, 100
# Test error in percent, by the number of labels. The tutorial's are its accuracies, taken from 100.
PUBLISHED = {
    100: (("Kingma et al. (2014)", 11.97), ("Pyro's tutorial", 6.8)),
    600: (("second-hand, Kingma et al. (2014)", 4.94), ("Pyro's tutorial", 5.6)),
    1000: (("Kingma et al. (2014)", 3.60), ("Pyro's tutorial", 5.1)),
    3000: (("second-hand, Kingma et al. (2014)", 3.92), ("Pyro's tutorial", 4.2)),
}


def main() -> None:
    """Fit and score each draw of the labels, and write the result."""
    parser = options(__doc__)
    parser.add_argument("--labels", type=int, choices=tuple(PUBLISHED), default=100, help="labelled training rows")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="passes over the unlabelled rows")
    parser.add_argument("--draws", type=int, default=3, help="of the labels, from the seed on, each with own weights")
    given = parser.parse_args()
    name = f"m2_{given.labels}_labels_{given.epochs}_epochs_seed_{given.seed}"
    given.work_dir.mkdir(parents=True, exist_ok=True)

    draws = []
    for seed in range(given.seed, given.seed + given.draws):
        draw = f"{name}_draw_{seed}"
        kept = given.work_dir / f"{draw}_of_{given.test_rows}_rows.json"
        if not kept.exists():
            kept.write_text(json.dumps(error_of_draw(given, seed, given.work_dir / draw)), encoding="utf-8")
        draws.append(json.loads(kept.read_text(encoding="utf-8")))
    errors = [draw["test error"] for draw in draws]
    # Over draws of the labels; of one draw over the test rows.
    variance = stdev(errors) ** 2 / len(errors) if len(errors) > 1 else errors[0] * (100 - errors[0]) / given.test_rows
    write(
        given.results / f"{name}.json",
        row=f"M2, {given.labels:,} labels, test error in %",
        protocol="784-500-50 with relu, dropout in q(y|x), bits drawn anew at every step, batches of 200, other "
        "arguments as M2 has them; the last weights; standard error over draws of the labels, of one over test rows",
        published=published(*PUBLISHED[given.labels]),
        ours={
            "test error, %": [mean(errors), math.sqrt(variance)],
            "draws of the labels": len(errors),
            "rows": given.test_rows,
        },
        epochs=given.epochs,
        epochs_of_the_protocol=EPOCHS,
        seed=given.seed,
        hours=round(sum(draw["seconds"] for draw in draws) / 3600, 3),
    )


def error_of_draw(given: Any, seed: int, folder: Path) -> dict[str, float]:
    """The test error in percent with one draw of the labels, and the seconds of the fit."""
    data = load_data("mnist", root=given.data_root, binarize="dynamic", seed=seed)
    rows = torch.cat([data.train, data.validation])
    labels = torch.cat([data.train_labels, data.validation_labels])
    model = M2(
        LATENT_DIM,
        hidden_dims=HIDDEN_DIMS,
        train_transform=data.train_transform,
        epochs=given.epochs,
        batch_size=BATCH_SIZE,
        seed=seed,
    )
    model.fit(rows, draw_labels(labels, given.labels, seed), checkpoints=folder, resume=True)
    start = time.monotonic()
    accuracy = model.score(data.test[: given.test_rows], data.test_labels[: given.test_rows])
    seconds = sum(terms["seconds"] for terms in model.history_) + time.monotonic() - start
    return {"test error": 100 * (1 - accuracy), "seconds": seconds}


if __name__ == "__main__":
    main()
