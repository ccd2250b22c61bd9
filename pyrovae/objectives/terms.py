"""What an objective gives for a batch of rows."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ObjectiveTerms:
    """The terms of a batch, summed over its rows, in nats; no scale of a plate is in them.

    Attributes:
        loss: what is differentiated; its gradient is minus an estimate of the objective's. Its value means nothing.
        objective: the estimate of what is maximised, with beta, free bits and capacity where there are any.
        elbo: the estimate of the ELBO itself.
        reconstruction: the expected log-likelihood E_q[log p(x|z)].
        kl: ``reconstruction - elbo``, the KL term.
    """

    loss: Tensor
    objective: Tensor
    elbo: Tensor
    reconstruction: Tensor
    kl: Tensor
