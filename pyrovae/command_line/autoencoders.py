"""Fitting, scoring and writing of an autoencoder, for ``python -m pyrovae.fit``."""

import time
from typing import Any

from pyrovae.command_line.execution import EXIT_NON_FINITE, by_first, print_error
from pyrovae.command_line.part_errors import errors_of_parts
from pyrovae.command_line.preparing import Prepared
from pyrovae.command_line.resuming import RunKeeper
from pyrovae.data import all_in_memory
from pyrovae.evaluation import reconstruction_errors
from pyrovae.evaluation.summaries import counted
from pyrovae.models import Autoencoder
from pyrovae.report import write_autoencoder
from pyrovae.training import LossResult, NonFiniteLossError, fit_autoencoder, pretrain_layers
from pyrovae.training.result import still_improving


def fit_reconstructions(
    prepared: Prepared, autoencoder: Autoencoder, keeper: RunKeeper, seconds: dict[str, float]
) -> int:
    """Fit an autoencoder, layer by layer first if that is asked for, write the run folder and print its errors.

    Args:
        prepared: the autoencoder's run and its rows.
        autoencoder: that of the run.
        keeper: of the run folder, to go on from what is kept there.
        seconds: time spent until now, by what it was spent on.

    Returns:
        The exit status.

    Raises:
        ValueError: what is wrong with the networks or the rows, before anything is written.
    """
    run, rows, folder = prepared.run, prepared.rows, keeper.run_folder
    config = run.config
    options: dict[str, Any] = {name: config[name] for name in ("batch_size", "lr", "seed")}
    options["resume"] = True
    options["progress"] = not config["quiet"]
    splits = (rows.train, rows.validation, rows.test)
    train, validation, test = (all_in_memory(split, "the rows").to(prepared.device) for split in splits)
    pretraining = list[LossResult]()
    start = time.perf_counter()
    try:
        with errors_of_parts(run, prepared.example):
            if config["pretrain_epochs"]:
                pretraining = pretrain_layers(
                    autoencoder,
                    train,
                    corruption=autoencoder.corruption,
                    train_transform=rows.train_transform,
                    checkpoints=keeper.of,
                    epochs=config["pretrain_epochs"],
                    **options,
                )
            result = fit_autoencoder(
                autoencoder,
                train,
                validation=validation,
                train_transform=rows.train_transform,
                epochs=config["epochs"],
                patience=config["patience"],
                checkpoints=keeper.of("fit"),
                **options,
            )
    except NonFiniteLossError as error:
        seconds["fit"] = time.perf_counter() - start
        why = str(error)
        by_first(lambda: write_autoencoder(folder, run, rows, pretraining, None, None, status=why, seconds=seconds))
        keeper.forget()
        print_error(f"{error}\nrun folder: {folder}")
        return EXIT_NON_FINITE
    seconds["fit"] = time.perf_counter() - start
    start = time.perf_counter()
    errors = reconstruction_errors(autoencoder, test, seed=config["seed"])
    seconds["evaluate"] = time.perf_counter() - start
    by_first(
        lambda: write_autoencoder(folder, run, rows, pretraining, result, errors, status="complete", seconds=seconds)
    )
    keeper.forget()
    layers = ", ".join(f"{layer.history[-1]['train_loss']:.3g}" for layer in pretraining)
    more = " (still improving: more --epochs would help)" if still_improving(result, config["epochs"]) else ""
    if layers:
        print(f"\npretrained layer by layer, loss of each at its end: {layers}", end="")
    print(
        f"\nfitted in {seconds['fit']:.0f} s, {counted(len(result.history), 'epoch')}, weights of epoch "
        f"{result.best_epoch} kept{more}; {counted(len(errors.loss), 'test row')}:\n{errors.summary()}\n"
        f"no ELBO and no log p(x): {run.system.no_density}\nrun folder: {folder}"
    )
    return 0
