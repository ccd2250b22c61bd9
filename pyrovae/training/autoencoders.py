"""Fitting autoencoders: at once, or layer by layer first."""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pyrovae.checkpoints import Checkpoints
from pyrovae.models import Autoencoder
from pyrovae.programs import check_rows, isolated_rng, training_mode
from pyrovae.training.losses import minimize_losses
from pyrovae.training.result import LossResult
from pyrovae.training.transform import transformed

# That a transform is tried on.
_FIRST_ROWS = 1000


def fit_autoencoder(
    autoencoder: Autoencoder,
    train: Tensor,
    *,
    validation: Tensor | None = None,
    train_transform: Callable[[Tensor], Tensor] | None = None,
    epochs: int = 100,
    batch_size: int = 128,
    lr: float = 1e-3,
    patience: int | None = 20,
    checkpoints: Checkpoints | str | Path | None = None,
    resume: bool = False,
    seed: int = 0,
    progress: bool = True,
) -> LossResult:
    r"""Fit an autoencoder by the reconstruction of its training rows.

    .. math:: \min \sum_i \ell\left(x_i,\ g(f(\tilde x_i))\right)

    The validation loss is that of whole rows, also where training damages them.

    Args:
        autoencoder: encoder, decoder, loss and corruption.
        train: rows ``(rows, *data_shape)``, on the device of the parameters.
        validation: rows to judge each epoch by. With them the weights of the best epoch are kept, else the last.
        train_transform: applied to each training batch, ``load_data(...).train_transform`` for example.
        epochs: passes over the rows, at most.
        batch_size: rows of each step; fewer rows make one step.
        lr: learning rate of Adam.
        patience: epochs without a better validation loss before stopping; None never stops early.
        checkpoints: where the state of the fit is kept, as in ``fit_svi``.
        resume: go on from the newest checkpoint, if there is one, to the same result as without a break.
        seed: of shuffling and of all draws; the caller's generators stay as they are.
        progress: show a progress bar.

    Raises:
        ValueError: no ``Autoencoder``, rows with NaN or of another type than the weights, values outside [0, 1] under
            cross-entropy, also after ``train_transform``, numbers out of range, a checkpoint of another fit.
        NonFiniteLossError: the loss became NaN or infinite; the best weights so far were put back.

    Example:
        >>> import torch
        >>> from pyrovae import Autoencoder, networks
        >>> autoencoder = Autoencoder(networks.MLP(4, 1), networks.MLP(1, 4))
        >>> x = torch.randn(200, 1) * torch.ones(4)
        >>> result = fit_autoencoder(autoencoder, x, epochs=20, lr=0.01, progress=False)
        >>> result.history[-1]["train_loss"] < 0.1 * result.history[0]["train_loss"]
        True
    """
    _check_kind(autoencoder)
    _check_train(autoencoder, train, train_transform)
    if validation is not None:
        _check(autoencoder, "validation", validation)

    def losses(x: Tensor) -> Tensor:
        return autoencoder.losses(transformed(x, train_transform if autoencoder.training else None))

    settings = {**_settings(autoencoder), "train_transform": train_transform}
    held_out = None if validation is None else (validation,)
    return minimize_losses(
        autoencoder,
        losses,
        (train,),
        validation=held_out,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        patience=patience,
        checkpoints=checkpoints,
        resume=resume,
        settings=settings,
        seed=seed,
        progress=progress,
    )


def pretrain_layers(
    autoencoder: Autoencoder,
    train: Tensor,
    *,
    corruption: Callable[[Tensor], Tensor] | None = None,
    train_transform: Callable[[Tensor], Tensor] | None = None,
    epochs: int = 100,
    batch_size: int = 128,
    lr: float = 1e-3,
    checkpoints: Callable[[str], Checkpoints] | None = None,
    resume: bool = False,
    seed: int = 0,
    progress: bool = True,
) -> list[LossResult]:
    r"""Pretrain a deep autoencoder greedily, layer by layer (Bengio et al., 2007; Vincent et al., 2010).

    Each layer of the encoder is fitted with its mirror image in the decoder as an autoencoder of one layer, on the
    output of the layers below it in evaluation mode, which stay as they are, their batch normalisation too. The first
    reconstructs the rows by the autoencoder's own loss, the others the activations below them by squared error.
    ``fit_autoencoder`` then fine-tunes all layers together, and is the one to give validation rows to.

    Args:
        autoencoder: with ``MLP`` networks, whose hidden layers mirror one another, such as 200, 50 and 50, 200.
        train: rows ``(rows, *data_shape)``, on the device of the parameters.
        corruption: damage to the input of each layer while it is fitted, for a stack of denoising autoencoders.
        train_transform: applied to each batch of rows before the first layer, as in ``fit_autoencoder``.
        epochs: passes over the rows for each layer.
        batch_size: rows of each step; fewer rows make one step.
        lr: learning rate of Adam.
        checkpoints: gives those of the fit of a layer, by its name, ``"layer-1"`` and so on.
        resume: go on from the newest checkpoint, if there is one, to the same result as without a break.
        seed: of shuffling and of all draws; the caller's generators stay as they are.
        progress: show a progress bar.

    Returns:
        What each fit did, from the first layer to the code.

    Raises:
        ValueError: networks that do not mirror one another, rows with NaN, values outside [0, 1] under cross-entropy,
            also after ``train_transform``.
        NonFiniteLossError: the loss became NaN or infinite.

    Example:
        >>> import torch
        >>> from pyrovae import Autoencoder, networks
        >>> autoencoder = Autoencoder(networks.MLP(6, 2, (4,)), networks.MLP(2, 6, (4,)))
        >>> len(pretrain_layers(autoencoder, torch.randn(50, 6), epochs=1, progress=False))
        2
    """
    _check_kind(autoencoder)
    _check_train(autoencoder, train, train_transform)
    encoder, decoder = _blocks(autoencoder.encoder, first=True), _blocks(autoencoder.decoder, first=False)
    widths = [[linear.in_features for linear, _ in blocks] for blocks in (encoder, decoder)]
    ends = [[linear.out_features for linear, _ in blocks] for blocks in (encoder, decoder)]
    if widths[0] != ends[1][::-1] or ends[0] != widths[1][::-1]:
        raise ValueError(
            f"the encoder has layers {[*widths[0], ends[0][-1]]}, and the decoder {[*widths[1], ends[1][-1]]}; "
            "expected mirror images: give the decoder the encoder's hidden_dims in the opposite order"
        )
    results = []
    below, held = train.flatten(1), list[nn.Module]()
    for depth, ((_, up), (_, down)) in enumerate(zip(encoder, reversed(decoder), strict=True)):
        layer = Autoencoder(up, down, autoencoder.loss if depth == 0 else "squared_error", corruption)
        kept = None if checkpoints is None else checkpoints(f"layer-{depth + 1}")
        again = None if train_transform is None else partial(_losses_above, layer, tuple(held), train_transform)
        # The layer is in training mode, being new, and its parts would stay in evaluation mode.
        with training_mode([autoencoder]):
            result = minimize_losses(
                layer,
                again or layer.losses,
                (train if again else below,),
                epochs=epochs,
                batch_size=batch_size,
                lr=lr,
                checkpoints=kept,
                resume=resume,
                settings={**_settings(layer), "train_transform": train_transform},
                seed=seed,
                progress=progress,
            )
        results.append(result)
        # With the statistics of the fit under batch normalisation, which a pass in training mode would move.
        held.append(copy.deepcopy(up).eval().requires_grad_(False))
        if again is None:
            below = torch.cat([held[-1](rows) for rows in below.split(4096)])
    return results


def _losses_above(
    layer: Autoencoder, held: Sequence[nn.Module], train_transform: Callable[[Tensor], Tensor], x: Tensor
) -> Tensor:
    """The losses of a layer above held ones, for rows that are transformed anew in each batch."""
    x = transformed(x, train_transform).flatten(1)
    for lower in held:
        x = lower(x)
    return layer.losses(x)


def _check_kind(autoencoder: Autoencoder) -> None:
    if not isinstance(autoencoder, Autoencoder):
        raise ValueError(
            f"autoencoder is a {type(autoencoder).__name__}; expected an Autoencoder(encoder, decoder): a VAE is "
            "fitted by fit_svi(vae.model, vae.guide, train)"
        )


def _settings(autoencoder: Autoencoder) -> dict[str, Any]:
    return {"loss": autoencoder.loss, "corruption": autoencoder.corruption}


def _blocks(network: nn.Module, *, first: bool) -> list[tuple[nn.Linear, nn.Sequential]]:
    """The layers of a network, each a linear map and what follows it before the next."""
    layers = getattr(network, "layers", None)
    if not isinstance(layers, nn.Sequential) or not isinstance(layers[0], nn.Linear):
        raise ValueError(
            f"the {'encoder' if first else 'decoder'} is a {type(network).__name__}; expected a networks.MLP, which "
            "has layers to take one by one"
        )
    blocks: list[tuple[nn.Linear, nn.Sequential]] = []
    for layer in layers:
        if isinstance(layer, nn.Linear):
            blocks.append((layer, nn.Sequential(layer)))
        else:
            blocks[-1][1].append(layer)
    return blocks


def _check_train(autoencoder: Autoencoder, train: Tensor, train_transform: Callable[[Tensor], Tensor] | None) -> None:
    check_rows(train, "train")
    if train_transform is None:
        _check(autoencoder, "train", train)
        return
    with isolated_rng(0, train.device):
        _check(autoencoder, "train after train_transform", transformed(train[:_FIRST_ROWS], train_transform))


def _check(autoencoder: Autoencoder, name: str, rows: Tensor) -> None:
    check_rows(rows, name)
    kinds = {parameter.dtype for parameter in autoencoder.parameters()}
    if kinds and rows.dtype not in kinds:
        needed = sorted(map(str, kinds))[0]
        raise ValueError(f"{name} is of type {rows.dtype} and the weights are of {needed}: give {name}.to({needed})")
    if bool(rows.isnan().any()):
        raise ValueError(f"{name} has missing entries, NaN, which an autoencoder does not take: remove or fill them")
    if autoencoder.loss == "cross_entropy" and not bool(((rows >= 0) & (rows <= 1)).all()):
        raise ValueError(
            f"{name} has values from {rows.min().item():g} to {rows.max().item():g}, and cross-entropy is for values "
            "in [0, 1]: scale the data, or use loss='squared_error'"
        )
