"""Scores of test rows of one data set and of another, under a run that was fitted to the first: a table of AUROCs.

Fit a run to each of two data sets, then score the rows of both under the first::

    python -m pyrovae.fit --data fashion-mnist --data-root DIR --likelihood Bernoulli --latent-dim 20 --epochs 10 \
        --batch-size 128 --lr 1e-3 --num-samples 200 --output-dir runs/fashion
    python tests/benchmarks/out_of_distribution.py runs/fashion mnist --data-root DIR

The background of the likelihood ratio is the same model fitted here, for as many epochs, to rows of which a part of
the pixels is replaced by coin tosses (Ren et al., 2019). Rows are binarised as in the run.
"""

import argparse

import torch

from pyrovae import ais, fit_svi, load, load_data, ood_scores
from pyrovae.evaluation.out_of_distribution import auroc
from pyrovae.runs.parts import build_pair


def perturbed(train_transform, share):
    """The rows of a step with so large a share of their pixels drawn anew."""

    def transform(rows):
        bits = train_transform(rows)
        return torch.where(torch.rand_like(bits) < share, torch.bernoulli(torch.full_like(bits, 0.5)), bits)

    return transform


def tables(run_folder, other, root, *, num_rows, num_samples, share, epochs, annealed_rows):
    """AUROCs by name with their errors, mean scores, and shares of rows to be believed."""
    run = load(run_folder)
    config = run.config
    same = {"root": root, "binarize": "dynamic", "seed": config["seed"]}
    own, strange = load_data(config["data"], **same), load_data(other, **same)
    torch.manual_seed(1)
    background = build_pair(config, run.data_shape)
    fit_svi(
        *background,
        own.train,
        train_transform=perturbed(own.train_transform, share),
        epochs=epochs or config["epochs"],
        batch_size=config["batch_size"],
        lr=config["lr"],
        progress=False,
    )
    ins, outs = own.test[:num_rows], strange.test[:num_rows]
    # The seed of both scores is one, and with it the mean over the training rows.
    train = own.train_transform(own.train[:num_rows])
    options = {"background": background, "train": train, "num_samples": num_samples}
    scored = [ood_scores(run.model, run.guide, rows, **options) for rows in (ins, outs)]
    found = scored[0].aurocs(scored[1])
    # The guide never saw such rows: is it log p(x) that tells them apart, or the guide's failure?
    if annealed_rows:
        log_px = [
            ais(run.model, run.guide, rows[:annealed_rows], num_temperatures=200, num_chains=4, start="guide").log_px
            for rows in (ins, outs)
        ]
        found["negative_log_px_annealed"] = auroc(-log_px[0], -log_px[1])
    return found, scored


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", help="folder of a run of python -m pyrovae.fit")
    parser.add_argument("other", help="name or path of the other data")
    parser.add_argument("--data-root")
    parser.add_argument("--num-rows", type=int, default=1000, help="test rows of each, and training rows for the mean")
    parser.add_argument("--num-samples", type=int, default=1000, help="importance draws for each row")
    parser.add_argument("--share", type=float, default=0.2, help="of pixels drawn anew for the background")
    parser.add_argument("--epochs", type=int, default=0, help="of the background; 0 takes those of the run")
    parser.add_argument("--annealed-rows", type=int, default=100, help="rows of each whose log p(x) is annealed, too")
    options = vars(parser.parse_args())
    run, other, root = options.pop("run"), options.pop("other"), options.pop("data_root")
    found, scored = tables(run, other, root, **options)
    print(f"{'score':<26}{'AUROC':>8}{'se':>8}{'mean, own':>12}{'mean, other':>13}")
    for name, value in found.items():
        means = "".join(f"{part.scores()[name].mean().item():>12.2f} " for part in scored if name in part.scores())
        print(f"{name:<26}{value.value:>8.4f}{value.standard_error:>8.4f}{means}")
    for name, part in zip(("own", "other"), scored, strict=True):
        print(f"{name}: {int(part.reliable.sum())} of {len(part.reliable)} rows have a log p(x) that can be believed")


if __name__ == "__main__":
    main()
