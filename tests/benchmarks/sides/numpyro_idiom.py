"""NumPyro: ``lax.scan`` over jitted ``svi.update``."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import lax, random
from numpyro.infer import SVI, TraceMeanField_ELBO
from numpyro.infer.svi import SVIState
from numpyro.optim import Adam

WIDTHS = {"decoder": (50, 400, 784), "encoder": (784, 400, 100)}
LEARNING_RATE, SCALE_FLOOR = 1e-3, 1e-6
# Scans for each epoch; between them the side can be told to wait.
SCANS = 9


def mlp(name: str, values: jax.Array) -> jax.Array:
    """Two layers with softplus between them."""
    for number, (inner, outer) in enumerate(zip(WIDTHS[name], WIDTHS[name][1:], strict=False)):
        weight = numpyro.param(
            f"{name}.{number}.weight",
            lambda key, shape=(inner, outer): random.uniform(key, shape, minval=-1, maxval=1) / shape[0] ** 0.5,
        )
        bias = numpyro.param(f"{name}.{number}.bias", jnp.zeros(outer))
        values = (values if number == 0 else jax.nn.softplus(values)) @ weight + bias
    return values


def model(x: jax.Array) -> None:
    with numpyro.plate("data", x.shape[0]):
        z = numpyro.sample("z", dist.Normal(jnp.zeros(50), 1).to_event(1))
        numpyro.sample("x", dist.Bernoulli(logits=mlp("decoder", z)).to_event(1), obs=x)


def guide(x: jax.Array) -> None:
    with numpyro.plate("data", x.shape[0]):
        loc, raw = jnp.split(mlp("encoder", x), 2, axis=-1)
        numpyro.sample("z", dist.Normal(loc, jax.nn.softplus(raw) + SCALE_FLOOR).to_event(1))


@functools.cache
def inference() -> tuple[SVI, Any]:
    """SVI, and many steps of it as one compiled program."""
    svi = SVI(model, guide, Adam(LEARNING_RATE), TraceMeanField_ELBO())

    @jax.jit
    def steps(state: SVIState, x: jax.Array, indices: jax.Array) -> tuple[SVIState, jax.Array]:
        return lax.scan(lambda state, index: svi.update(state, x[index]), state, indices)

    return svi, steps


def train(clock, data: str, batch_size: int) -> None:
    """Steps, many in each scan."""
    x = jnp.asarray(np.load(data, mmap_mode="r"))
    svi, steps = inference()
    state = svi.init(random.PRNGKey(0), x[:batch_size])
    generator = np.random.default_rng(0)
    clock.tick(0)
    while True:
        for indices in np.split(generator.permutation(len(x)).reshape(-1, batch_size), SCANS):
            state, losses = steps(state, x, indices)
            losses.block_until_ready()
            clock.tick(len(indices))


def mean_loss(start: list[np.ndarray], batches: np.ndarray, seed: int) -> float:
    """The loss of a row, over some steps from given parameters in torch's order."""
    svi, steps = inference()
    state = svi.init(random.PRNGKey(seed), batches[0])
    names = [f"{part}.{number}.{what}" for part in WIDTHS for number in (0, 1) for what in ("weight", "bias")]
    params = {name: jnp.asarray(value.T) for name, value in zip(names, start, strict=True)}
    state = SVIState(svi.optim.init(params), None, state.rng_key)
    count, size = batches.shape[:2]
    indices = np.arange(count * size).reshape(count, size)
    return float(steps(state, batches.reshape(count * size, -1), indices)[1].mean()) / size
