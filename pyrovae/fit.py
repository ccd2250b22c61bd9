"""``python -m pyrovae.fit``: fit a VAE, or a Pyro model of your own, and say how good it is."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pyro
from jsonargparse.typing import NonNegativeInt, OpenUnitInterval, PositiveFloat, PositiveInt
from torch import Tensor

from pyrovae.command_line import (
    DEFAULT_OBJECTIVE,
    EXIT_NON_FINITE,
    CommandParser,
    add_objective_options,
    choose_device,
    claim_folder,
    print_error,
    run_command,
)
from pyrovae.data import NAMES, DataSplits, load_data
from pyrovae.evaluation import compare_bounds
from pyrovae.models import check_vae
from pyrovae.objectives import Objective
from pyrovae.programs import observes_bits, owned_modules
from pyrovae.report import write_run
from pyrovae.runs import (
    PARTS,
    Run,
    build_objective,
    build_pair,
    describe_objective,
    describe_parts,
    described_error,
    in_options,
    users_errors,
)
from pyrovae.training import FitResult, NonFiniteLossError, fit_svi

_CHECKED_ROWS = 8


def make_parser() -> CommandParser:
    """The options of the command, each with its reason."""
    parser = CommandParser(
        prog="python -m pyrovae.fit",
        description="Fit a variational autoencoder, or a Pyro model of your own, to a data set; score the test rows by "
        "ELBO and importance-weighted log p(x); write a run folder.",
    )
    add = parser.add_argument
    add("--config", action="config", help="YAML file of these options; options on the command line prevail over it")

    add(
        "--data",
        default="digits",
        help="digits (8x8, comes with scikit-learn), mnist, fashion-mnist, or the path of "
        "a .npy, .npz or .csv file or of a folder of images",
    )
    add(
        "--data-root",
        type=str | None,
        default=None,
        help="folder with MNIST/raw and FashionMNIST/raw; without it $PYROVAE_DATA_ROOT, else ~/.cache/pyrovae",
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
        type=dict[str, str] | list[str] | None,
        default=None,
        help="kinds of the columns of a table, real, count, binary or categorical, by name ({age: count}) or in their "
        "order, for a likelihood such as Columns; those not named are real. Columns of words have to be named here",
    )
    add("--validation-fraction", type=OpenUnitInterval, default=0.1, help="part of the rows that picks the epoch")
    add(
        "--test-fraction",
        type=OpenUnitInterval,
        default=0.1,
        help="part of the rows to score, where the data bring no test rows",
    )

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
        help="dimensions of z; those not needed cost little, as their KL goes to zero",
    )
    add(
        "--model",
        type=str | None,
        default=None,
        metavar="PLACE:FACTORY",
        help="in place of all parts: file.py:factory "
        "or module:factory, a function that returns (model, guide), two Pyro programs",
    )

    add_objective_options(parser)
    add("--epochs", type=PositiveInt, default=200, help="passes over the training rows, at most")
    add(
        "--batch-size",
        type=PositiveInt,
        default=64,
        help="rows of a step; more are faster on large data, fewer take more steps",
    )
    add("--lr", type=PositiveFloat, default=1e-3, help="learning rate of Adam")
    add("--patience", type=PositiveInt, default=20, help="epochs without a better validation objective before stopping")
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
    add("--overwrite", action="store_true", help="write into a folder that holds a run already")
    add("--quiet", action="store_true", help="no progress bars")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is its exit status.

    0 if all went well, 2 for bad input, 3 for a loss that is not finite, 130 for an interrupt.
    """
    return run_command(make_parser(), arguments, _fit, "nothing was written")


def _fit(config: dict[str, Any]) -> int:
    start = time.perf_counter()
    config.pop("config")
    if config["model"] is not None:
        _refuse_parts(config)
    if config["seed"] >= 2**32:
        raise ValueError(f"--seed {config['seed']}: expected a whole number below 2**32")
    objective = build_objective(config)
    device = choose_device(config["device"])
    data = _load(config, "none" if config["binarize"] == "auto" else config["binarize"])
    pyro.set_rng_seed(config["seed"])
    # Leave to overwrite holds for this run, not for the next one that reads its configuration.
    stored = {**config, "overwrite": False}
    pair = build_pair(config, data.data_shape, data.column_kinds)
    run = Run(*pair, stored, data.data_shape, data.test[:1].to(device), data.column_kinds)
    for module in owned_modules(run.model, run.guide):
        module.to(device)
    example = data.train[:_CHECKED_ROWS].to(device)
    if run.vae is not None:
        with users_errors("starting from the data"):
            run.vae.initialize(data.train.to(device))
    with _errors_of_parts(run, example):
        if config["binarize"] == "auto":
            stored["binarize"] = _usual_binarization(config, run, data, device)
            data = _load(config, stored["binarize"])
    folder = Path(
        config["output_dir"] or Path("runs") / f"{Path(data.name).stem}-{datetime.now().strftime('%Y%m%d-%H%M%S')}"
    )
    undo = claim_folder(folder, overwrite=config["overwrite"])
    seconds = {"prepare": time.perf_counter() - start}
    described = describe_parts(config)
    if describe_objective(config) != describe_objective({"objective": DEFAULT_OBJECTIVE}):
        described["objective"] = describe_objective(config)
    parts = (f"{slot:<12}{part}" for slot, part in described.items())
    print(data.summary(), *parts, f"{'device':<12}{device}", sep="\n", flush=True)
    try:
        start = time.perf_counter()
        with _errors_of_parts(run, example if data.train_transform is None else data.train_transform(example)):
            result = fit_svi(
                run.model,
                run.guide,
                data.train.to(device),
                validation=data.validation.to(device),
                train_transform=data.train_transform,
                epochs=config["epochs"],
                batch_size=config["batch_size"],
                lr=config["lr"],
                objective=objective,
                patience=config["patience"],
                seed=config["seed"],
                progress=not config["quiet"],
            )
    except ValueError as error:
        undo()
        raise ValueError(in_options(str(error))) from error
    except KeyboardInterrupt:
        undo()
        raise
    except NonFiniteLossError as error:
        seconds["fit"] = time.perf_counter() - start
        write_run(folder, run, data, error.result, None, status=str(error), seconds=seconds, device=device)
        print_error(f"{error}\nrun folder: {folder}")
        return EXIT_NON_FINITE
    seconds["fit"] = time.perf_counter() - start
    start = time.perf_counter()
    bounds = compare_bounds(
        run.model,
        run.guide,
        data.test.to(device),
        num_samples=config["num_samples"],
        chunk_size=config["chunk_size"],
        seed=config["seed"],
        progress=not config["quiet"],
    )
    seconds["evaluate"] = time.perf_counter() - start
    write_run(folder, run, data, result, bounds, status="complete", seconds=seconds, device=device)
    more = " (still improving: more --epochs would help)"
    print(
        f"\nfitted in {seconds['fit']:.0f} s, {len(result.history)} epochs, weights of epoch {result.best_epoch} kept"
        f"{more if _still_improving(result, config['epochs'], objective) else ''}; KL {_kl(result)}; test rows:\n"
        f"{bounds.summary()}"
    )
    for sign in result.signs_of_trouble:
        print(f"sign of trouble: {in_options(sign)}")
    print(f"run folder: {folder}")
    return 0


def _still_improving(result: FitResult, epochs: int, objective: Objective) -> bool:
    """Whether the last epoch was the best; while a weight moves each newest one is kept, which says nothing."""
    return result.best_epoch == epochs and objective.settled * epochs <= epochs - 1


def _kl(result: FitResult) -> str:
    """How the KL terms were found, in words."""
    forms = set(result.kl_forms.values())
    if len(forms) == 1:
        return "in closed form" if forms == {"analytic"} else "by draws"
    return ", ".join(
        f"of {name} {'in closed form' if form == 'analytic' else 'by draws'}" for name, form in result.kl_forms.items()
    )


@contextmanager
def _errors_of_parts(run: Run, rows: Tensor) -> Iterator[None]:
    """What goes wrong in parts of the user's own, as one line: what ``check_vae`` finds, or else where it was."""
    try:
        yield
    except (ValueError, NonFiniteLossError):
        raise
    except Exception as error:
        problem = None if run.vae is None else check_vae(run.vae, rows).problem
        raise ValueError(problem or described_error(error)) from error


def _load(config: dict[str, Any], binarize: Any) -> DataSplits:
    return load_data(
        config["data"],
        root=config["data_root"],
        binarize=binarize,
        missing=config["missing"],
        columns=config["columns"],
        seed=config["seed"],
        validation_fraction=config["validation_fraction"],
        test_fraction=config["test_fraction"],
    )


def _usual_binarization(config: dict[str, Any], run: Run, data: DataSplits, device: Any) -> str:
    """Sets of grey images known by name are binarised for likelihoods of bits; a user's own data never unasked."""
    is_named = config["data"] in NAMES
    return "dynamic" if is_named and observes_bits(run.model, run.guide, data.train.to(device)) else "none"


def _refuse_parts(config: dict[str, Any]) -> None:
    defaults = make_parser().get_defaults().as_dict()
    given = [f"--{part}" for part in PARTS if config[part] != defaults[part]]
    if given:
        raise ValueError(
            f"--model brings a complete pair of programs, and {', '.join(given)} would be ignored: drop one"
        )


if __name__ == "__main__":
    sys.exit(main())
