"""A posterior of any shape."""

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import pyro.distributions as dist
from torch import Tensor, nn

from pyrovae.distributions.flows import FlowLayers
from pyrovae.posteriors.diagonal_normal import DiagonalNormal
from pyrovae.posteriors.full_covariance_normal import FullCovarianceNormal
from pyrovae.posteriors.low_rank_normal import LowRankNormal
from pyrovae.posteriors.mixture_of_normals import MixtureOfNormals

BaseName = Literal["DiagonalNormal", "FullCovarianceNormal", "LowRankNormal", "MixtureOfNormals"]

if TYPE_CHECKING:
    Base = BaseName | nn.Module
else:
    # What the command offers: it would list every module of PyTorch beside the names.
    Base = BaseName

_BASES: dict[str, Any] = {
    part.__name__: part for part in (DiagonalNormal, FullCovarianceNormal, LowRankNormal, MixtureOfNormals)
}


class Flow(nn.Module):
    r"""A normalising flow on top of another posterior: its draws, sent through invertible layers that are learned.

    .. math:: q(z \mid x) = q_0(f^{-1}(z) \mid x)\ \left|\det \frac{\partial f^{-1}(z)}{\partial z}\right|

    The layers are the same for all rows; what depends on x is the base (Rezende and Mohamed, 2015).
    ``"inverse_autoregressive"`` (Kingma et al., 2016) draws by one call of each layer; the density of a value that was
    not drawn just before takes one call for each dimension. ``"coupling"`` (Dinh, Sohl-Dickstein and Bengio, 2017) and
    ``"spline"`` (Durkan et al., 2019, with the linear rational splines of Dolatabadi, Erfani and Leckie, 2020, on
    [-5, 5]) take one call both ways. All start near the base. There is no closed form of the KL.

    Args:
        latent_dim: number of latent dimensions, two at least.
        base: a posterior, or the name of one of this package, which is then built on ``encoder``.
        encoder: the network of a base that is given by name; one that is a module has its own.
        kind: the transformation that each layer is.
        num_layers: number of layers.
        hidden_dims: widths of the hidden layers of each one's network; for ``"inverse_autoregressive"`` latent_dim at
            least.
        base_arguments: further arguments of a base that is given by name, such as ``{"rank": 3}``.

    Raises:
        ValueError: numbers out of range, an unknown kind or base, a base without its encoder or of another size.

    Example:
        >>> import torch
        >>> from pyrovae import networks, posteriors
        >>> base = posteriors.FullCovarianceNormal(networks.MLP(4, posteriors.FullCovarianceNormal.encoder_shape(3)))
        >>> posterior = Flow(3, base, kind="coupling")
        >>> posterior(torch.zeros(5, 4)).rsample().shape
        torch.Size([5, 3])
        >>> by_name = Flow(3, "FullCovarianceNormal", networks.MLP(4, Flow.encoder_shape(3, "FullCovarianceNormal")))
    """

    def __init__(
        self,
        latent_dim: int,
        base: Base = "DiagonalNormal",
        encoder: nn.Module | None = None,
        kind: Literal["inverse_autoregressive", "coupling", "spline"] = "inverse_autoregressive",
        num_layers: int = 2,
        hidden_dims: Sequence[int] = (128, 128),
        base_arguments: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        if kind not in ("inverse_autoregressive", "coupling", "spline"):
            raise ValueError(
                f"posteriors.Flow: kind is {kind!r}; expected one of inverse_autoregressive, coupling, spline"
            )
        self.latent_dim, self.kind = latent_dim, kind
        self.base = _built(base, encoder, base_arguments or {})
        layers: Literal["autoregressive", "coupling", "spline"]
        layers = "autoregressive" if kind == "inverse_autoregressive" else kind
        self.flow = FlowLayers(latent_dim, layers, num_layers, hidden_dims, "posteriors.Flow")

    @classmethod
    def encoder_shape(
        cls, latent_dim: int, base: BaseName = "DiagonalNormal", base_arguments: Mapping[str, int] | None = None
    ) -> int:
        """How many numbers the encoder of a base that is given by name has to give for each row."""
        _check_name(base)
        _check_base_arguments(base, base_arguments or {})
        return _BASES[base].encoder_shape(latent_dim, **(base_arguments or {}))

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        """q(z|x): batch ``(*batch,)``, event ``(latent_dim,)``."""
        base = self.base(x)
        if base.event_shape != (self.latent_dim,):
            raise ValueError(
                f"posteriors.Flow has latent_dim={self.latent_dim}, its base is over {tuple(base.event_shape)}: give "
                "both the same latent_dim, and an encoder made for it (see encoder_shape)"
            )
        return dist.TransformedDistribution(base, self.flow.transforms())

    def extra_repr(self) -> str:
        """What the printed module says of itself."""
        return f"latent_dim={self.latent_dim}, kind={self.kind}, num_layers={len(self.flow.layers)}"


def _check_name(base: str) -> None:
    if base not in _BASES:
        raise ValueError(f"posteriors.Flow: base is {base!r}; expected a posterior, or one of {', '.join(_BASES)}")


def _check_base_arguments(base: str, given: Mapping[str, int]) -> None:
    known = [name for name in inspect.signature(_BASES[base]).parameters if name != "encoder"]
    for name in given:
        if name not in known:
            raise ValueError(
                f"posteriors.Flow: base_arguments has {name!r}, and {base} takes {', '.join(known) or 'no arguments'}"
            )


def _built(base: Base, encoder: nn.Module | None, arguments: Mapping[str, int]) -> nn.Module:
    if isinstance(base, nn.Module):
        if arguments:
            raise ValueError("posteriors.Flow: base is a posterior, built already; leave out base_arguments")
        if encoder is not None:
            raise ValueError("posteriors.Flow: base is a posterior with an encoder of its own; leave out encoder")
        return base
    _check_name(base)
    if encoder is None:
        raise ValueError(
            f"posteriors.Flow: base is {base!r} without an encoder; give encoder=..., with output shape "
            f"Flow.encoder_shape(latent_dim, {base!r})"
        )
    _check_base_arguments(base, arguments)
    return _BASES[base](encoder, **arguments)
