"""The generative semi-supervised model, as a pair of Pyro programs."""

import math
from collections.abc import Callable

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor, nn

from pyrovae.likelihoods import Normal
from pyrovae.models.shapes import check_over_rows
from pyrovae.networks import MLP
from pyrovae.posteriors import DiagonalNormal
from pyrovae.programs import SiteScales
from pyrovae.semi_supervised.rows import check_density


class M2Programs(nn.Module):
    r"""A VAE whose class y is a latent of its own, known for some rows.

    The model draws :math:`y \sim p(y)`, :math:`z \sim p(z)` and :math:`x \sim p(x \mid z, y)`; the guide draws
    :math:`y \sim q(y \mid x)`, the classifier, and :math:`z \sim q(z \mid x, y)` (Kingma, Mohamed, Rezende and Welling,
    2014). Networks are given y as a one-hot vector behind z, or behind the flattened row.

    Args:
        prior: module; ``prior()`` has batch shape () and event shape ``(latent_dim,)``.
        likelihood: module of ``[z, one-hot y]``, ``(*batch, latent_dim + num_classes)``.
        posterior: module of ``[x flattened, one-hot y]``, ``(*batch, data_size + num_classes)``.
        classifier: network from rows to the unnormalised log-probabilities of q(y|x), ``(rows, num_classes)``.
        class_probs: p(y), ``(num_classes,)``.

    Raises:
        ValueError: a likelihood with ``scale="optimal"``, which would be that of all classes at once.

    Example:
        >>> import torch
        >>> from pyrovae import likelihoods, networks, posteriors, priors
        >>> programs = M2Programs(
        ...     priors.StandardNormal(2),
        ...     likelihoods.Bernoulli(networks.MLP(2 + 3, 5)),
        ...     posteriors.DiagonalNormal(networks.MLP(5 + 3, 2 * 2)),
        ...     networks.MLP(5, 3),
        ...     torch.full((3,), 1 / 3),
        ... )
        >>> programs.unlabelled_bounds(torch.zeros(4, 5)).shape
        torch.Size([4])
    """

    class_probs: Tensor

    def __init__(
        self, prior: nn.Module, likelihood: nn.Module, posterior: nn.Module, classifier: nn.Module, class_probs: Tensor
    ) -> None:
        super().__init__()
        if any(isinstance(part, Normal) and part.optimal for part in likelihood.modules()):
            raise ValueError(
                'likelihood is a Normal with scale="optimal", the root mean squared error over all classes of a row '
                "alike, however improbable most of them are; expected a scale that does not depend on what is scored "
                'together: give scale="shared", or "per_dimension" with data_shape'
            )
        self.prior, self.likelihood, self.posterior, self.classifier = prior, likelihood, posterior, classifier
        self.register_buffer("class_probs", class_probs)
        # Exactly these: a class derived from one may do something of its own with the vector.
        self._encoder_is_mlp = type(posterior) is DiagonalNormal and type(posterior.encoder) is MLP

    def model(self, x: Tensor, y: Tensor | None = None) -> None:
        """The generative program: y from p(y) or observed, z from the prior, x from the likelihood."""
        with pyro.plate("data", len(x), dim=-1):
            y = pyro.sample("y", dist.Categorical(self.class_probs), obs=y)
            z = pyro.sample("z", self.prior())
            p_x = self.likelihood(self.with_class(z, y))
            check_over_rows(self.likelihood, p_x, x)
            pyro.sample("x", p_x, obs=x)

    def guide(self, x: Tensor, y: Tensor | None = None) -> None:
        """The inference program: y from the classifier where it is not given, marked for enumeration; z given y."""
        with pyro.plate("data", len(x), dim=-1):
            if y is None:
                y = pyro.sample("y", self.classify(x), infer={"enumerate": "parallel"})
            pyro.sample("z", self.encode(x, y))

    def classify(self, x: Tensor) -> dist.TorchDistribution:
        """q(y|x), one distribution for each row."""
        return dist.Categorical(logits=self.classifier(x))

    def encode(self, x: Tensor, y: Tensor) -> dist.TorchDistribution:
        """q(z|x, y), one distribution for each row and class ``(*classes, rows)``."""
        if self._encoder_is_mlp:
            # It takes the row and the class apart, and looks at the row once for all classes.
            return self.posterior((x.flatten(1), self.one_hot(y).to(x)))
        return self.posterior(self.with_class(x.flatten(1), y))

    def with_class(self, vectors: Tensor, y: Tensor) -> Tensor:
        """Vectors with the one-hot class behind them; one or both have a dimension of classes on the left."""
        one_hot = self.one_hot(y).to(vectors)
        batch = torch.broadcast_shapes(vectors.shape[:-1], one_hot.shape[:-1])
        return torch.cat([vectors.expand(*batch, -1), one_hot.expand(*batch, -1)], dim=-1)

    def one_hot(self, y: Tensor) -> Tensor:
        """Whether each class is that of y ``(*batch, num_classes)``."""
        # Not F.one_hot: it reads the values of y, which no recording can.
        return y[..., None] == torch.arange(len(self.class_probs), device=y.device)

    def labelled_bounds(self, x: Tensor, y: Tensor, num_samples: int = 1) -> Tensor:
        r"""Estimates of the bound of each row with its class, in nats.

        .. math:: L(x, y) = E_{q(z|x,y)}[\log p(x|z, y) + \log p(y) + \log p(z) - \log q(z|x, y)] \le \log p(x, y)

        Args:
            x: rows ``(rows, *data_shape)``.
            y: classes ``(rows,)``, or ``(classes, 1)`` for several classes of each row.
            num_samples: draws of z.

        Returns:
            ``(rows,)`` or ``(classes, rows)``.

        Raises:
            ValueError: rows that the likelihood is no density for.
        """
        check_density(self, x)
        return self.joint_bounds(x, y, num_samples)

    def joint_bounds(self, x: Tensor, y: Tensor, num_samples: int = 1) -> Tensor:
        """``labelled_bounds`` of rows that the likelihood is known to be a density for."""
        # Two plates more, left of that of the rows, for classes and for draws.
        classes = y.shape[0] if y.dim() == 2 else 1
        y = y.reshape(1, classes, -1)

        def with_plates(program: Callable[[Tensor, Tensor], None]) -> None:
            with pyro.plate("_draws", num_samples, dim=-3), pyro.plate("_classes", classes, dim=-2):
                program(x, y)

        with SiteScales():
            guide_trace = poutine.trace(with_plates).get_trace(self.guide)
            model_trace = poutine.trace(poutine.replay(with_plates, trace=guide_trace)).get_trace(self.model)
        for trace in (guide_trace, model_trace):
            trace.compute_log_prob()
        log_p = sum(model_trace.nodes[site]["log_prob"] for site in ("y", "z", "x"))
        bounds = (log_p - guide_trace.nodes["z"]["log_prob"]).mean(0)
        return bounds if classes > 1 else bounds[0]

    def unlabelled_bounds(self, x: Tensor, num_samples: int = 1) -> Tensor:
        r"""Estimates of the bound of each row without its class, in nats: the sum over classes is exact.

        .. math:: U(x) = \sum_y q(y|x) \left(L(x, y) - \log q(y|x)\right) \le \log p(x)

        Args:
            x: rows ``(rows, *data_shape)``.
            num_samples: draws of z for each class.

        Returns:
            ``(rows,)``.

        Raises:
            ValueError: rows that the likelihood is no density for.
        """
        check_density(self, x)
        return self.marginal_bounds(x, num_samples)

    def marginal_bounds(self, x: Tensor, num_samples: int = 1) -> Tensor:
        """``unlabelled_bounds`` of rows that the likelihood is known to be a density for."""
        classes = torch.arange(len(self.class_probs), device=x.device)[:, None]
        log_q = self.classify(x).logits.T
        terms = log_q.exp() * (self.joint_bounds(x, classes, num_samples) - log_q)
        # A class of probability zero adds nothing, whatever its bound.
        return torch.where(log_q == -math.inf, 0.0, terms).sum(0)
