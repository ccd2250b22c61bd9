"""The options of ``python -m pyrovae.label_efficiency``."""

from typing import Literal

from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, OpenUnitInterval, PositiveFloat, PositiveInt

from pyrovae.command_line.parser import CommandParser
from pyrovae.command_line.resuming import add_resuming
from pyrovae.semi_supervised.scores import METHODS


def label_parser() -> CommandParser:
    """The options of ``python -m pyrovae.label_efficiency``, each with its reason."""
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
    add_resuming(
        parser,
        resume="go on with the comparison in this folder, which was cut off, to the result that it would have had; its "
        "options are its own",
    )
    add("--overwrite", action="store_true", help="write into a folder that holds files already")
    add("--quiet", action="store_true", help="no progress bars, and the table at the end alone")
    return parser
