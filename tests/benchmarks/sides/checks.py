"""What is timed computes the same: every side against the hand-written one, before a clock runs.

With the same batches, noise and first weights the losses of the package's steps and of the hand-written ones have to
agree to 1e-4; other sides draw their own noise, and what they give has to be within 5 standard errors.
"""

import statistics
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from sides import package, plain, plain_annealing
from torch import Tensor, nn
from turns import function

from pyrovae import fit_svi, log_weights

STEPS, ROWS, REPEATS, TOLERANCE, ERRORS = 10, 32, 6, 1e-4, 5.0
PEERS = {"Pyro": "sides.pyro_idiom", "NumPyro": "sides.numpyro_idiom", "pythae": "sides.pythae_idiom"}


class Witness:
    """A transform of batches that changes nothing, and notes them with the state of the generator."""

    def __init__(self) -> None:
        self.seen: list[tuple[Tensor, Tensor]] = []

    def __call__(self, batch: Tensor) -> Tensor:
        self.seen.append((batch.clone(), torch.get_rng_state()))
        return batch


def training(data: str, kind: str, steps: list[str], peers: list[str]) -> list[str]:
    """Each way to take a step against the hand-written loop, then the peers."""
    torch.manual_seed(0)
    x = plain.rows(data, plain.NETWORKS[kind].data_shape)[: STEPS * ROWS]
    said = []
    for step in steps:
        vae, witness = package.build(kind), Witness()
        networks = started(plain.NETWORKS[kind](), vae)
        options = {**package.OBJECTIVES[kind], "step": step, "lr": plain.LEARNING_RATE, "epochs": 1}
        result = fit_svi(vae.model, vae.guide, x, train_transform=witness, batch_size=ROWS, progress=False, **options)
        batches = [(batch, state) for batch, state in witness.seen if len(batch) == ROWS]
        losses = replayed(networks, [((batch,), state) for batch, state in batches])
        said.append(equal(f"fit_svi, step {step}", -result.history[0]["train_objective"], losses))
    networks = plain.NETWORKS[kind]()
    start, batches = [value.detach().clone() for value in networks.parameters()], list(x.split(ROWS))
    for peer in peers:
        mean_loss = function(f"{PEERS[peer]}:mean_loss")
        what = f"{peer}, {STEPS} steps"
        if peer == "NumPyro":
            arrays = [value.numpy() for value in start], x.reshape(STEPS, ROWS, -1).numpy()
            by_hand = [statistics.fmean(trained(networks, start, batches, seed)) for seed in range(REPEATS)]
            said.append(close(what, [mean_loss(*arrays, seed) for seed in range(REPEATS)], by_hand))
        else:
            drawn = peer == "Pyro"
            said.append(equal(what, mean_loss(start, batches, 0), trained(networks, start, batches, 0, drawn=drawn)))
    return said


def m2(data: str, steps: list[str]) -> list[str]:
    """Each way to take a step of M2 against the hand-written one."""
    torch.manual_seed(0)
    number = plain.LABELLED_ROWS + STEPS * ROWS
    x, y = plain.rows(data)[:number].clone(), plain.labels(number)
    # The label of a row can be read off it, as a witness sees rows alone.
    x[: plain.LABELLED_ROWS, : plain.CLASSES] = F.one_hot(y[: plain.LABELLED_ROWS], plain.CLASSES).float()
    said = []
    for step in steps:
        witness = Witness()
        model = package.m2(epochs=1, batch_size=ROWS, train_transform=witness, step=step)
        networks = started(plain.SemiSupervisedNetworks(plain.LABELLED_ROWS / number), model)
        model.fit(x, y)
        # Before the steps the model has looked at some rows.
        seen = witness.seen[-2 * STEPS :]
        batches = []
        for (labelled, _), (unlabelled, state) in zip(seen[::2], seen[1::2], strict=True):
            batches.append(((labelled, labelled[:, : plain.CLASSES].argmax(1), unlabelled), state))
        said.append(equal(f"M2, step {step}", model.history_[0]["train_loss"], replayed(networks, batches)))
    return said


def scoring(data: str, peers: list[str]) -> list[str]:
    """The mean of log p(x) over some rows, from 1,000 draws each."""
    networks, vae, x = fitted(data)
    x = x[:8]

    def mean(weights: Callable[[int], Tensor]) -> list[float]:
        return [(weights(seed).logsumexp(0) - torch.tensor(1000.0).log()).mean().item() for seed in range(REPEATS)]

    by_hand = mean(seeded(lambda: networks.log_weights(x, 1000)))
    said = [close("log_weights", mean(lambda seed: log_weights(vae.model, vae.guide, x, 1000, seed=seed)), by_hand)]
    if "pythae" in peers:
        model = function("sides.pythae_idiom:build")(networks).eval()
        get_nll = seeded(lambda: model.get_nll(x, n_samples=1000))
        said.append(close("pythae's get_nll", [float(get_nll(seed)) for seed in range(REPEATS)], by_hand))
    return said


def annealing(data: str) -> list[str]:
    """The mean of log p(x) over some rows, and the number of gradients that it takes."""
    networks, vae, x = fitted(data)
    x = x[:8]
    means, counts = [], []
    for decoder, weights in (
        (vae.likelihood.decoder, lambda seed: package.annealed(vae, x, plain_annealing.SHORT, seed)),
        (networks.decoder, seeded(lambda: plain_annealing.log_weights(networks.decoder, x, plain_annealing.SHORT))),
    ):
        count = [0]
        hook = decoder.register_forward_hook(
            lambda *_, count=count: count.__setitem__(0, count[0] + torch.is_grad_enabled())
        )
        chains = torch.tensor(float(plain_annealing.CHAINS))
        means.append([(weights(seed).logsumexp(0) - chains.log()).mean().item() for seed in range(REPEATS)])
        hook.remove()
        counts.append(count[0] / REPEATS)
    require(counts[0] == counts[1], f"ais: {counts[0]} gradients of the decoder, by hand {counts[1]}")
    return [f"ais: {counts[0]:.0f} gradients of the decoder, as by hand", close("ais", *means)]


def started(networks: nn.Module, module: Any) -> nn.Module:
    """The hand-written networks, with the parameters of the package's module."""
    plain.copy_parameters(package.parameters_of(module), networks)
    return networks


def fitted(data: str) -> tuple[plain.Networks, Any, Tensor]:
    """Both kinds of networks after some steps, so that the posterior is not the prior, and rows."""
    torch.manual_seed(0)
    x = plain.rows(data)
    networks, vae = plain.Networks(), package.build("mlp")
    optimizer = plain.adam(networks)
    for batch in x[:12_800].split(128):
        plain.step(optimizer, networks.loss(batch))
    with torch.no_grad():
        for parameter, value in zip(package.parameters_of(vae), networks.parameters(), strict=True):
            parameter.copy_(value)
    return networks, vae, x


def replayed(networks: nn.Module, batches: list[tuple[tuple[Tensor, ...], Tensor]]) -> list[float]:
    """The losses of hand-written steps with the noise of others."""
    optimizer, losses = plain.adam(networks), []
    for batch, state in batches:
        torch.set_rng_state(state)
        losses.append(plain.step(optimizer, networks.loss(*batch)).item())
    return losses


def trained(networks: Any, start: list[Tensor], batches: list[Tensor], seed: int, drawn: bool = False) -> list[float]:
    """The losses of hand-written steps, the KL in closed form or drawn."""
    torch.manual_seed(seed)
    plain.copy_parameters(start, networks)
    optimizer, loss = plain.adam(networks), networks.drawn_loss if drawn else networks.loss
    return [plain.step(optimizer, loss(batch)).item() for batch in batches]


def seeded(action: Callable[[], Any]) -> Callable[[int], Any]:
    """The action as a function of a seed."""

    def run(seed: int) -> Any:
        torch.manual_seed(seed)
        return action()

    return run


def equal(what: str, value: float, losses: list[float]) -> str:
    """One number against the mean of hand-written losses."""
    by_hand = statistics.fmean(losses)
    error = abs(value / by_hand - 1)
    text = f"{what}: loss {value:.4f}, by hand {by_hand:.4f}, relative difference {error:.1e}"
    require(len(losses) == STEPS and error < TOLERANCE, text)
    return text


def close(what: str, values: list[float], by_hand: list[float]) -> str:
    """Means of independent repeats, in standard errors of their difference."""
    error = sum(statistics.variance(numbers) / len(numbers) for numbers in (values, by_hand)) ** 0.5
    first, second = statistics.fmean(values), statistics.fmean(by_hand)
    text = f"{what}: {first:.3f}, by hand {second:.3f}, standard error of the difference {error:.3f}"
    require(abs(first - second) < ERRORS * error, text)
    return text


def require(condition: bool, text: str) -> None:
    """Stop a benchmark whose sides do not compute the same."""
    if not condition:
        raise AssertionError(f"the sides do not compute the same: {text}")
