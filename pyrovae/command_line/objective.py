"""The options of what is maximised, each with its reason."""

from typing import Literal

from jsonargparse.typing import PositiveInt

from pyrovae.command_line.parser import CommandParser
from pyrovae.runs import DEFAULT_OBJECTIVE, SCHEDULES


def add_objective_options(parser: CommandParser, default: str | None = None) -> None:
    """Add ``--objective``, and the options that serve several objectives; those not given are None.

    Args:
        parser: of the command.
        default: import path of the objective of which nothing is said; None for that of a plain VAE.
    """
    add = parser.add_argument
    parser.add_part(
        "objective",
        default or DEFAULT_OBJECTIVE,
        "what is maximised, in training alone, and how its gradient is estimated: TraceMeanField_ELBO takes the KL in "
        "closed form where there is one, so its gradients vary less; Trace_ELBO fits guides of any structure; IWAE, "
        "Renyi and DReG are bounds of several draws, closer to log p(x); StickingTheLanding is quiet near the exact "
        "posterior; ReweightedWakeSleep and ScoreFunction take discrete latents. Not given it is Trace_ELBO for "
        "--system two-layer-vae, whose guide and model draw the latents in opposite orders",
    )
    add(
        "--num-particles",
        type=int | None,
        default=None,
        help="draws of z for each row and step, K of a bound; not given it is the objective's own, 1 for an ELBO, 5 "
        "for a bound",
    )
    add(
        "--beta",
        type=float | None,
        default=None,
        help="weight of the KL term: above 1 for latents that are disentangled, below 1 for better reconstructions; "
        "not given it is 1, the ELBO",
    )
    add(
        "--beta-schedule",
        type=Literal[("constant", *SCHEDULES)],
        default="constant",
        help="how beta moves to its final value --beta; a start near 0 lets the latents be used before the KL presses "
        "on them. Epochs are judged when it is there",
    )
    add("--beta-start", type=float | None, default=None, help="first value of a schedule of beta; not given it is 0")
    add(
        "--beta-length",
        type=float | None,
        default=None,
        help="fraction of the run, by --epochs, after which beta has its final value; not given it is 0.25, and 1 for "
        "cyclical, whose cycles fill it",
    )
    add("--beta-cycles", type=int | None, default=None, help="number of cycles of cyclical; not given it is 4")
    add(
        "--free-bits",
        type=float | None,
        default=None,
        help="nats of KL that are free for each dimension, so that it is used rather than switched off",
    )
    add(
        "--free-bits-per",
        type=Literal["dimension", "site"] | PositiveInt | None,
        default=None,
        help="what has its own --free-bits: each dimension, all of a latent (site), or so many dimensions in a row; "
        "not given it is dimension",
    )
    add(
        "--capacity",
        type=float | None,
        default=None,
        help="nats of KL of a row to aim at: the term becomes |KL - capacity|, and --beta says how strictly",
    )
    add(
        "--capacity-length",
        type=float | None,
        default=None,
        help="fraction of the run over which the capacity rises from 0, so that latents open one by one; 0 has it "
        "constant; not given it is 0.5",
    )
