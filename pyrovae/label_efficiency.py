"""``python -m pyrovae.label_efficiency``: how right classifiers are, by the number of labels."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, OpenUnitInterval, PositiveFloat, PositiveInt

from pyrovae import plots
from pyrovae.command_line import (
    EXIT_NON_FINITE,
    CommandParser,
    choose_device,
    claim_folder,
    new_folder,
    print_error,
    run_command,
)
from pyrovae.data import BINARIZED, UnusableValuesError, load_data
from pyrovae.semi_supervised.comparison import Comparison, Settings
from pyrovae.semi_supervised.label_draws import count_labels, draw_labels
from pyrovae.semi_supervised.labels import UNLABELLED
from pyrovae.semi_supervised.scores import METHODS, Result, mean_scores, score_table, write_results
from pyrovae.training import NonFiniteLossError

TABLE_FILE = "label_efficiency.csv"
PLOT_FILE = "label_efficiency.png"
CONFIG_FILE = "config.yaml"
# Convolutions of stride 2 leave little of smaller images.
_LEAST_PIXELS = 16


def make_parser() -> CommandParser:
    """The options of the command, each with its reason."""
    parser = CommandParser(
        prog="python -m pyrovae.label_efficiency",
        description="Train classifiers with few labels, several times with other labels, and score them on the same "
        "test rows: logistic regression and a network on pixels, classifiers on the latents of a VAE (M1), a "
        "prediction-constrained VAE (PC-VAE), a VAE with the class as a latent (M2), and M2 on M1. The VAE of M1 is "
        "fitted once for each seed and serves all numbers of labels.",
    )
    add = parser.add_argument
    add("--config", action="config", help="YAML file of these options; options on the command line prevail over it")
    add(
        "--data",
        default="digits",
        help="digits (8x8, comes with scikit-learn), mnist, fashion-mnist, cifar10, or the path of a .npz or .csv file "
        "or of a folder of folders of images, with labels. The first three are made bits: drawn anew at every step for "
        "the VAEs, once for the test rows. Other values that are not bits have a Normal likelihood",
    )
    add(
        "--data-root",
        type=str | None,
        default=None,
        help="folder with MNIST/raw, FashionMNIST/raw or cifar-10-batches-py; without it $PYROVAE_DATA_ROOT, else "
        "~/.cache/pyrovae",
    )
    add(
        "--labels",
        type=PositiveFloat,
        nargs="+",
        default=[100.0],
        metavar="NUMBER",
        help="numbers of labelled training rows, as many of each class: --labels 100 1000 3000. A number below 1 is "
        "the fraction of the training rows: --labels 0.8 hides the labels of the other 20 %",
    )
    add(
        "--methods",
        type=Literal[tuple(METHODS)],
        nargs="+",
        default=list(METHODS),
        metavar="METHOD",
        help=f"which to compare: {', '.join(METHODS)}",
    )
    add("--seeds", type=PositiveInt, default=3, help="draws of the labels, each with weights of its own")
    add(
        "--seed", type=NonNegativeInt, default=0, help="of the split; labels and weights have this seed and those after"
    )
    add("--validation-fraction", type=OpenUnitInterval, default=0.1, help="part of the rows that picks the VAE's epoch")
    add(
        "--test-fraction",
        type=OpenUnitInterval,
        default=0.2,
        help="part of the rows to score, where the data bring no test rows",
    )
    add(
        "--latent-dim", type=PositiveInt, default=10, help="dimensions of z in M1 and the PC-VAE; 50 is usual for mnist"
    )
    add(
        "--m2-latent-dim",
        type=PositiveInt,
        default=10,
        help="dimensions of z in M2: with many, z can say what the class should",
    )
    add(
        "--second-latent-dim",
        type=PositiveInt,
        default=10,
        help="dimensions of z in the second layer of M1+M2; its authors have 50 for mnist",
    )
    add(
        "--network",
        type=Literal["auto", "mlp", "conv"],
        default="auto",
        help="what looks at rows, to encode or to classify them: a multilayer perceptron, or convolutions; auto takes "
        "convolutions for images of 16 pixels and more on each side. Decoders are multilayer perceptrons",
    )
    add(
        "--translation",
        type=NonNegativeInt | None,
        default=None,
        help="pixels by which those networks may see a training image moved, in each direction, so that they learn "
        "that it does not matter; without it 2 with convolutions, else 0. Regression on pixels sees them as they are",
    )
    add("--hidden-dims", type=list[PositiveInt], default=[200], help="widths of multilayer perceptrons: '[500, 500]'")
    add(
        "--second-hidden-dims",
        type=list[PositiveInt],
        default=[200],
        help="the same in the second layer of M1+M2, where wide ones learn to do without the class",
    )
    add(
        "--epochs",
        type=PositiveInt,
        default=40,
        help="passes over all training rows; a network that sees fewer rows makes as many steps",
    )
    add(
        "--second-epochs",
        type=PositiveInt | None,
        default=None,
        help="those of the second layer of M1+M2; without it as --epochs",
    )
    add("--batch-size", type=PositiveInt, default=100, help="rows of a step")
    add("--lr", type=PositiveFloat, default=3e-3, help="learning rate of Adam")
    add(
        "--classification-weight",
        type=NonNegativeFloat,
        default=3.0,
        help="of M2: weight of a labelled row's cross-entropy beside the bound, which is a mean over rows",
    )
    add(
        "--second-classification-weight",
        type=NonNegativeFloat,
        default=0.1,
        help="the same in the second layer of M1+M2, whose rows are latents",
    )
    add(
        "--fine-tune-epochs",
        type=NonNegativeInt | None,
        default=None,
        help="of M1+M2: passes over the unlabelled rows that train both layers together, after each of them; without "
        "it as many steps as --epochs, 0 leaves the layers as they are",
    )
    add("--multiplier", type=NonNegativeFloat, default=25.0, help="of the PC-VAE: weight of the prediction loss")
    add("--device", default="auto", help="auto (CUDA where there is one, else the CPU), cpu, cuda, cuda:1, mps")
    add("--output-dir", type=str | None, default=None, help="folder of the results; without it runs/labels-DATA-TIME")
    add("--overwrite", action="store_true", help="write into a folder that holds files already")
    add("--quiet", action="store_true", help="no progress bars, and the table at the end alone")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is its exit status.

    0 if all went well, 2 for bad input, 3 for a loss that is not finite, 4 for files, 130 for an interrupt.
    """
    return run_command(make_parser(), arguments, _compare, "what was finished before is in the output folder")


def _compare(config: dict[str, Any]) -> int:
    config.pop("config")
    if config["seed"] + config["seeds"] > 2**32:
        raise ValueError(f"--seed {config['seed']}: expected a whole number below 2**32, with --seeds")
    device = choose_device(config["device"])
    try:
        data = load_data(
            config["data"],
            root=config["data_root"],
            binarize="dynamic" if config["data"] in BINARIZED else "none",
            seed=config["seed"],
            validation_fraction=config["validation_fraction"],
            test_fraction=config["test_fraction"],
        )
    except UnusableValuesError as error:
        raise ValueError(
            f"{error.wrong}; this command takes tables of complete numbers only, with classes numbered from 0"
        ) from error
    settings = _settings(config, data.data_shape, device)
    comparison = Comparison(data, settings)
    if config["batch_size"] > len(data.train):
        raise ValueError(f"--batch-size {config['batch_size']}: give at most {len(data.train)}, the training rows")
    try:
        counts = list(dict.fromkeys(count_labels(asked, comparison.labels) for asked in config["labels"]))
    except ValueError as error:
        raise ValueError(f"--{error}") from error
    folder = Path(config["output_dir"] or new_folder(f"labels-{Path(data.name).stem}"))
    undo = claim_folder(folder, overwrite=config["overwrite"])
    if not config["quiet"]:
        moved = f", images moved by up to {settings.translation} pixels" if settings.translation else ""
        print(
            data.summary(),
            f"{'networks':<12}{settings.network}{moved}",
            f"{'device':<12}{device}",
            sep="\n",
            flush=True,
        )
    results: list[Result] = []
    try:
        for result in _results(comparison, counts, config):
            results.append(result)
            _write(results, config, folder)
            if not config["quiet"]:
                print(
                    f"seed {result.seed}, {result.labels:,} labels, {METHODS[result.method]}: {result.accuracy:.1f} % "
                    f"({result.seconds:.0f} s)",
                    flush=True,
                )
    except NonFiniteLossError as error:
        print_error(f"{error}\nfinished before: {len(results)} runs, in {folder}")
        return EXIT_NON_FINITE
    finally:
        if results:
            plots.accuracy_by_labels(mean_scores(results)).savefig(folder / PLOT_FILE, dpi=plots.FILE_DPI)
        else:
            undo()
    num_scored = int((comparison.test_labels != UNLABELLED).sum())
    print(f"\n{score_table(mean_scores(results))}")
    print(f"mean over {config['seeds']} draws of the labels (standard error), {num_scored:,} test rows")
    print(f"folder: {folder}")
    return 0


def _settings(config: dict[str, Any], data_shape: tuple[int, ...], device: torch.device) -> Settings:
    """What the options say, with what they leave to the data."""
    is_image = len(data_shape) == 3
    network, translation = config["network"], config["translation"]
    if network == "auto":
        network = "conv" if is_image and min(data_shape[1:]) >= _LEAST_PIXELS else "mlp"
    if network == "conv" and (not is_image or min(data_shape[1:]) < 4):
        raise ValueError(f"--network conv: rows have shape {data_shape}, and two convolutions need images: use mlp")
    if translation is None:
        translation = 2 if network == "conv" else 0
    if translation and not is_image:
        raise ValueError(
            f"--translation {translation}: rows have shape {data_shape}, and only images move: leave it out"
        )
    names = (
        "latent_dim",
        "m2_latent_dim",
        "second_latent_dim",
        "hidden_dims",
        "second_hidden_dims",
        "epochs",
        "second_epochs",
        "batch_size",
        "lr",
        "classification_weight",
        "second_classification_weight",
        "fine_tune_epochs",
        "multiplier",
    )
    given = {name: config[name] for name in names}
    return Settings(**given, network=network, translation=translation, device=device, progress=not config["quiet"])


def _results(comparison: Comparison, counts: Sequence[int], config: dict[str, Any]) -> Iterator[Result]:
    """All results, those of one seed before those of the next."""
    for seed in range(config["seed"], config["seed"] + config["seeds"]):
        for count in counts:
            known = draw_labels(comparison.labels, count, seed)
            for method in dict.fromkeys(config["methods"]):
                accuracy, seconds = comparison.score(method, known, seed)
                yield Result(method, count, seed, 100 * accuracy, seconds)


def _write(results: Sequence[Result], config: dict[str, Any], folder: Path) -> None:
    # After each result: an interrupt then loses one at most.
    write_results(results, folder / TABLE_FILE)
    # Leave to overwrite holds for this run, not for the next one that reads its configuration.
    text = yaml.safe_dump({**config, "overwrite": False}, sort_keys=False)
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
