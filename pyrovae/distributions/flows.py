"""Normalising flows: stacks of Pyro's transforms that may be called, copied and stored at any time."""

import copy
from collections.abc import Sequence
from math import expm1, log
from typing import Any, Literal, get_args

import torch
from pyro.distributions import constraints, transforms
from pyro.distributions.torch_transform import TransformModule
from pyro.distributions.transforms.utils import clamp_preserve_gradients
from pyro.nn import AutoRegressiveNN, DenseNN
from torch import Tensor, nn
from torch.distributions.transforms import Transform, _InverseTransform

from pyrovae.distributions.arguments import check_counts, is_whole_number

FlowKind = Literal["autoregressive", "coupling", "spline"]

# The last layer of each network starts so small that the flow starts near the identity, and still passes gradients.
_START = 0.01
# Splines are the identity outside; of a standard normal's numbers 6 in 10 million are there.
_SPLINE_BOUND = 5.0
_SPLINE_BINS = 8


class FlowLayers(nn.Module):
    r"""Invertible layers from a vector to a vector of the same size, their dimensions in another order for each layer.

    ``"autoregressive"`` gives each dimension a shift and a scale that depend on all earlier ones (MADE; Germain et
    al., 2015): one call forward, one for each dimension backward. ``"coupling"`` gives them to the second half of the
    dimensions from the first half (Dinh, Sohl-Dickstein and Bengio, 2017), ``"spline"`` monotone linear rational
    splines (Durkan et al., 2019; Dolatabadi, Erfani and Leckie, 2020): one call each way.

    Args:
        latent_dim: size of the vector, two at least.
        kind: the transformation that each layer is.
        num_layers: how many.
        hidden_dims: widths of the hidden layers of each one's network.
        part: the part that they belong to, for messages.

    Raises:
        ValueError: an unknown kind, a number that is not positive, a single dimension, hidden layers that are narrower
            than an autoregressive network needs.
    """

    order: Tensor

    def __init__(
        self, latent_dim: int, kind: FlowKind, num_layers: int, hidden_dims: Sequence[int], part: str = "Flow"
    ) -> None:
        super().__init__()
        if kind not in get_args(FlowKind):
            raise ValueError(f"{part}: kind is {kind!r}; expected one of {', '.join(get_args(FlowKind))}")
        check_counts(part, latent_dim=latent_dim, num_layers=num_layers)
        check_hidden_dims(hidden_dims, part)
        if latent_dim < 2:
            raise ValueError(f"{part}: latent_dim is 1, and its layers need two dimensions or more: use a mixture")
        if kind == "autoregressive" and min(hidden_dims) < latent_dim:
            raise ValueError(
                f"{part}: hidden_dims are {tuple(hidden_dims)} for latent_dim {latent_dim}; autoregressive layers need "
                "at least latent_dim units in each: widen them, or use kind='coupling'"
            )
        self.layers = nn.ModuleList(_layer(latent_dim, kind, hidden_dims) for _ in range(num_layers))
        # A reversal for chains; halves change places for couplings.
        dims = torch.arange(latent_dim)
        self.register_buffer(
            "order", dims.flip(0) if kind == "autoregressive" else dims.roll(latent_dim // 2), persistent=False
        )

    def transforms(self) -> list[Any]:
        """The layers and permutations in order, for one distribution.

        A transform keeps its last input and output, by which the density of a draw costs nothing. Copies are given, so
        that these last as long as the distribution: nothing old is found after a step of the optimiser, no graph is
        held, and the module can be copied.
        """
        parts: list[Any] = []
        total = torch.arange(len(self.order), device=self.order.device)
        for layer in self.layers:
            if parts:
                parts.append(Permute(self.order))
                total = total[self.order]
            parts.append(copy.copy(layer))
        # Back to the first order, so that a flow of layers that do nothing does nothing.
        return [*parts, Permute(total.argsort())]


def check_hidden_dims(hidden_dims: Sequence[int], part: str) -> None:
    """Refuse widths that are not positive, and no hidden layer at all."""
    if is_whole_number(hidden_dims):
        raise ValueError(f"{part}: hidden_dims is {hidden_dims!r}; expected a list of widths, as [64] for one layer")
    if not len(hidden_dims):
        raise ValueError(f"{part}: hidden_dims is empty; its networks need one hidden layer at least")
    for width in hidden_dims:
        check_counts(part, hidden_dims=width)


def _layer(latent_dim: int, kind: FlowKind, hidden_dims: Sequence[int]) -> Any:
    first, second = latent_dim // 2, latent_dim - latent_dim // 2
    if kind == "coupling":
        return AffineCoupling(first, second, hidden_dims)
    if kind == "spline":
        return _SplineCoupling(first, second, hidden_dims)
    # The order of the dimensions is left to the permutations between layers; Pyro's own would be drawn at random.
    order: Any = torch.arange(latent_dim)
    network = AutoRegressiveNN(latent_dim, list(hidden_dims), permutation=order, nonlinearity=nn.ReLU())
    _start(network.layers[-1], torch.zeros(2 * latent_dim))
    return _AffineAutoregressive(network)


@torch.no_grad()
def _start(layer: Any, bias: Tensor) -> None:
    layer.weight.mul_(_START)
    layer.bias.copy_(bias)


class _InverseOnDemand(Transform):
    """A transform that does not keep its inverse.

    The two would hold each other, and with them the graph of the last draw, until Python looks for such rings.
    """

    @property
    def inv(self) -> Any:
        """The inverse."""
        return _InverseTransform(self)


class Permute(_InverseOnDemand, transforms.Permute):
    """Pyro's permutation."""


class AffineCoupling(_InverseOnDemand, transforms.AffineCoupling):
    """Pyro's layer that gives the last ``second`` numbers a shift and a scale from the ``first`` ones."""

    def __init__(self, first: int, second: int, hidden_dims: Sequence[int]) -> None:
        network = DenseNN(first, list(hidden_dims), [second, second], nonlinearity=nn.ReLU())
        _start(network.layers[-1], torch.zeros(2 * second))
        super().__init__(first, network)


class _AffineAutoregressive(_InverseOnDemand, transforms.AffineAutoregressive):
    """Pyro's layer, whose inverse works in float32 only."""

    def _inverse(self, y: Tensor) -> Tensor:
        columns = [torch.zeros_like(y[..., 0])] * y.shape[-1]
        for dim in range(len(columns)):
            mean, log_scale = self.arn(torch.stack(columns, dim=-1))
            log_scale = clamp_preserve_gradients(log_scale, self.log_scale_min_clip, self.log_scale_max_clip)
            columns[dim] = (y[..., dim] - mean[..., dim]) * torch.exp(-log_scale[..., dim])
        # No number depends on the last one, so these are right for all of them.
        self._cached_log_scale = log_scale
        return torch.stack(columns, dim=-1)


class _SplineCoupling(_InverseOnDemand, TransformModule):
    """Splines of the second half given the first; Pyro's own layer keeps values in its parts, where they stay."""

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, first: int, second: int, hidden_dims: Sequence[int]) -> None:
        super().__init__(cache_size=1)
        self.first = first
        bins = _SPLINE_BINS
        sizes = [second * bins, second * bins, second * (bins - 1), second * bins]
        network = DenseNN(first, list(hidden_dims), sizes, nonlinearity=nn.ReLU())
        # Equal bins and a derivative of one, to which Pyro adds 0.001, make the identity.
        slope = torch.full((sizes[2],), log(expm1(1 - 1e-3)))
        zeros = torch.zeros(sizes[0])
        _start(network.layers[-1], torch.cat([zeros, zeros, slope, zeros]))
        self.spline = transforms.ConditionalSpline(network, second, bins, _SPLINE_BOUND)
        self._cached_log_det: Tensor | None = None

    def _call(self, x: Tensor) -> Tensor:
        spline = self.spline.condition(x[..., : self.first])
        y = spline._call(x[..., self.first :])
        self._cached_log_det = spline._cache_log_detJ.sum(-1)
        return torch.cat([x[..., : self.first], y], dim=-1)

    def _inverse(self, y: Tensor) -> Tensor:
        spline = self.spline.condition(y[..., : self.first])
        x = spline._inverse(y[..., self.first :])
        self._cached_log_det = spline._cache_log_detJ.sum(-1)
        return torch.cat([y[..., : self.first], x], dim=-1)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """The log of the absolute determinant of the Jacobian."""
        if self._cached_x_y[0] is not x or self._cached_x_y[1] is not y:
            self(x)
        assert self._cached_log_det is not None
        return self._cached_log_det
