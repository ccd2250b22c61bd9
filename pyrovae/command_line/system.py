"""The options that say which kind of model is fitted, each with its reason."""

from typing import Literal, get_args

from jsonargparse.typing import NonNegativeInt, PositiveInt

from pyrovae.command_line.parser import CommandParser
from pyrovae.models.autoencoder import ReconstructionLoss
from pyrovae.runs import CONDITIONS, CORRUPTIONS, SYSTEMS


def add_system_options(parser: CommandParser) -> None:
    """Add ``--system``, and the options of one system alone; those that another does not take are refused there."""
    add = parser.add_argument
    add(
        "--system",
        type=Literal[tuple(SYSTEMS)],
        default="vae",
        help="what is fitted: vae; autoencoder, which reconstructs rows and has no p(x), so that no log p(x) of it is "
        "reported; conditional-vae, of x given c, a class or covariates, whose numbers are of log p(x|c); "
        "two-layer-vae, with latents z2 above those next to the data, z1",
    )
    add(
        "--corruption",
        type=Literal[tuple(CORRUPTIONS)] | None,
        default=None,
        help="damage to the rows that the encoder sees in training, the clean row being the target: gaussian adds "
        "noise, masking sets entries to 0, salt-and-pepper to 0 or 1. An autoencoder becomes a denoising one. A VAE "
        "then maximises the bound of q(z|corrupted x), a bound of log p(x) too, and is scored by q(z|x) on clean rows",
    )
    add(
        "--corruption-level",
        type=float | None,
        default=None,
        help="standard deviation of gaussian, or fraction of the entries for the others; not given it is 0.3",
    )
    add(
        "--reconstruction-loss",
        type=Literal[get_args(ReconstructionLoss)],
        default="squared_error",
        help="of an autoencoder: squared_error for any numbers, cross_entropy for values in [0, 1]",
    )
    add(
        "--pretrain-epochs",
        type=NonNegativeInt,
        default=0,
        help="epochs of greedy pretraining for each layer of an autoencoder of MLPs, from the data up, before all are "
        "trained together by --epochs: a stacked autoencoder, whose deep layers start from something sensible",
    )
    add(
        "--condition",
        type=Literal[CONDITIONS] | None,
        default=None,
        help="what a conditional VAE is told of each row: labels, its class, or columns, those of --condition-columns; "
        "not given it is columns where some are named, else labels",
    )
    add(
        "--condition-columns",
        type=str,
        nargs="+",
        default=None,
        metavar="NAME",
        help="columns of a .csv file that are c and no longer part of x, as in age income, best of similar scale; "
        "those that --columns says are categorical become one-hot",
    )
    add(
        "--upper-dim",
        type=PositiveInt | None,
        default=None,
        help="dimensions of z2 of a two-layer VAE, above the --latent-dim of z1; not given half as many",
    )
