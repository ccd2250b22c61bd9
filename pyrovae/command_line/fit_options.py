"""The options of ``python -m pyrovae.fit``, each with its reason."""

from collections.abc import Sequence
from typing import Literal, get_args

from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, OpenUnitInterval, PositiveFloat, PositiveInt

from pyrovae.command_line.objective import add_objective_options
from pyrovae.command_line.parser import CommandParser
from pyrovae.command_line.resuming import add_resuming
from pyrovae.command_line.slots import options_of, read_config
from pyrovae.command_line.system import add_system_options
from pyrovae.programs import Precision
from pyrovae.recording import Stepping
from pyrovae.runs import SYSTEMS


def fit_parser(system: str) -> CommandParser:
    """The parser of the command.

    Args:
        system: one of ``SYSTEMS``, whose objective is the default.
    """
    parser = CommandParser(
        prog="python -m pyrovae.fit",
        description="Fit a variational autoencoder, one of its kin, or a Pyro model of your own, to a data set; score "
        "the test rows by ELBO and importance-weighted log p(x), or an autoencoder by its reconstructions; write a run "
        "folder.",
    )
    parser.add_argument(
        "--config", action="config", help="YAML file of these options; options on the command line prevail over it"
    )
    _add_data_options(parser)
    add_system_options(parser)
    _add_part_options(parser)
    add_objective_options(parser, SYSTEMS[system].default_objective)
    _add_training_options(parser)
    return parser


def system_asked(tokens: Sequence[str]) -> str:
    """The system that a command line names, itself or in its configuration file; the plain VAE if it names none.

    Example:
        >>> system_asked(["--epochs", "3", "--system", "autoencoder"])
        'autoencoder'
    """
    said = list(options_of(tokens))
    in_files = [read_config(value) for option, value in said if option == "config"]
    # What is said last counts, and the command line before its files.
    asked = next((value for option, value in reversed(said) if option == "system"), None)
    asked = asked or next((config["system"] for config in reversed(in_files) if "system" in config), None)
    return asked if asked in SYSTEMS else next(iter(SYSTEMS))


def _add_data_options(parser: CommandParser) -> None:
    add = parser.add_argument
    add(
        "--data",
        default="digits",
        help="digits (8x8, comes with scikit-learn), mnist, fashion-mnist, cifar10, or the path of "
        "a .npy, .npz or .csv file or of a folder of images",
    )
    add(
        "--data-root",
        type=str | None,
        default=None,
        help="folder with MNIST/raw, FashionMNIST/raw or cifar-10-batches-py; without it $PYROVAE_DATA_ROOT, else "
        "~/.cache/pyrovae; files that are missing there are downloaded",
    )
    add(
        "--binarize",
        type=Literal["auto", "none", "threshold", "static", "dynamic"],
        default="auto",
        help="how grey values become bits: auto draws them anew at every step (dynamic) for digits, mnist and "
        "fashion-mnist under a likelihood of bits, as is usual for these sets, and else leaves the data alone",
    )
    add(
        "--missing",
        type=Literal["refuse", "keep"],
        default="refuse",
        help="empty cells and NaN: refuse them, or keep them as missing entries, which count neither in the fit nor in "
        "log p(x)",
    )
    add(
        "--missing-indicators",
        action="store_true",
        help="with --missing keep: tell the encoder which entries are missing, by a 0 or 1 for each beside the row",
    )
    add(
        "--columns",
        type=dict[str, str] | list[str] | None | str,
        default=None,
        help="kinds of the columns of a table, real, count, binary or categorical, by name ({age: count}), in their "
        "order or one word for all, for a likelihood such as Columns; those not named are real. Columns of words have "
        "to be named here",
    )
    add(
        "--stream",
        action="store_true",
        help="read the rows of a .npy file when they are needed, for data larger than memory; the splits are those "
        "of rows in memory, and so are the numbers, but that parts start from 10,000 rows where there are more",
    )
    add("--validation-fraction", type=OpenUnitInterval, default=0.1, help="part of the rows that picks the epoch")
    add(
        "--test-fraction",
        type=OpenUnitInterval,
        default=0.1,
        help="part of the rows to score, where the data bring no test rows",
    )


def _add_part_options(parser: CommandParser) -> None:
    add = parser.add_argument
    parser.add_part("prior", "pyrovae.priors.StandardNormal", "p(z)")
    parser.add_part(
        "likelihood",
        "pyrovae.likelihoods.Bernoulli",
        "p(x|z); it has to fit the data: Bernoulli for bits, Normal for real values, Columns for mixed tables",
    )
    parser.add_part("posterior", "pyrovae.posteriors.DiagonalNormal", "q(z|x)")
    parser.add_part(
        "encoder",
        "pyrovae.networks.MLP",
        "network from x to the parameters of q(z|x); lists as in --encoder.hidden_dims '[500, 500]'",
    )
    parser.add_part(
        "decoder",
        "pyrovae.networks.MLP",
        "network from z to the parameters of p(x|z); lists as in --decoder.hidden_dims '[500, 500]'",
    )
    add(
        "--latent-dim",
        type=PositiveInt,
        default=10,
        help="dimensions of z; those not needed carry nothing, as their KL goes to zero, and may cost a little",
    )
    add(
        "--model",
        type=str | None,
        default=None,
        metavar="PLACE:FACTORY",
        help="in place of all parts: file.py:factory "
        "or module:factory, a function that returns (model, guide), two Pyro programs",
    )


def _add_training_options(parser: CommandParser) -> None:
    add = parser.add_argument
    add("--epochs", type=PositiveInt, default=200, help="passes over the training rows, at most")
    add(
        "--batch-size",
        type=PositiveInt | None,
        default=None,
        help="rows of a step; more are faster on large data, fewer take more steps; without it 64, or all training "
        "rows where they are fewer",
    )
    add("--lr", type=PositiveFloat, default=1e-3, help="learning rate of Adam")
    add(
        "--lr-end",
        type=NonNegativeFloat | None,
        default=None,
        help="learning rate at the last of --epochs, to which it goes from --lr by half a wave of the cosine; small "
        "steps at the end settle weights that large ones keep in motion; without it it stays",
    )
    add("--patience", type=PositiveInt, default=20, help="epochs without a better validation objective before stopping")
    add(
        "--precision",
        type=Literal[get_args(Precision)],
        default="32",
        help="of training: with bf16-mixed the layers of networks multiply in bfloat16, for hardware that multiplies "
        "matrices in it, as others take longer so: time a short run; log-densities, sums and the evaluation are in "
        "single precision either way",
    )
    add(
        "--step",
        type=Literal[get_args(Stepping)],
        default="auto",
        help="how the programs run in a training step: plain runs them, recorded repeats the tensor operations of one "
        "run, compiled joins these by a C++ compiler; auto takes what is fastest for the length of the run",
    )
    add(
        "--clip-norm",
        type=PositiveFloat | None,
        default=None,
        help="shorten the gradient to this norm where it is longer; without it gradients are as they are",
    )
    add(
        "--max-skipped-steps",
        type=NonNegativeInt,
        default=10,
        help="steps whose loss is not finite are left out; more than so many in a row, or half of an epoch, end the "
        "run",
    )
    add(
        "--init-from",
        type=str | None,
        default=None,
        metavar="RUN",
        help="start from the weights of this run folder, in a run of the same parts; all else is new",
    )
    add(
        "--num-samples",
        type=PositiveInt,
        default=1000,
        help="importance draws for each test row; more come closer to log p(x)",
    )
    add(
        "--chunk-size",
        type=PositiveInt | None,
        default=None,
        help="draws scored at once; a small number saves memory and changes nothing else",
    )
    add("--seed", type=NonNegativeInt, default=0, help="of the split, the initial weights, shuffling and all draws")
    add("--device", default="auto", help="auto (CUDA where there is one, else the CPU), cpu, cuda, cuda:1, mps")
    add("--output-dir", type=str | None, default=None, help="the run folder; without it runs/DATA-TIME")
    add_resuming(
        parser,
        resume="go on with the run of this folder, which was cut off, to the result that it would have had; its "
        "options are its own",
    )
    add("--overwrite", action="store_true", help="write into a folder that holds a run already")
    add("--no-report", action="store_true", help="leave report.html out, which takes two or three seconds")
    add("--quiet", action="store_true", help="no progress bars")
