"""An objective of a pair as an ``nn.Module``, for a training loop of one's own."""

import copy
from typing import Any

import torch
from pyro.infer import ELBO
from torch import Tensor, nn

from pyrovae.data import AnyRows, all_in_memory
from pyrovae.objectives.named import as_objective
from pyrovae.objectives.objective import Objective
from pyrovae.objectives.schedules import Schedule
from pyrovae.objectives.terms import ObjectiveTerms
from pyrovae.programs import (
    PROBE_ROWS,
    Program,
    Weights,
    buffers_put_back,
    check_any_rows,
    check_are_rows,
    check_known,
    check_missing,
    check_support,
    evaluation_mode,
    inspect_pair,
    isolated_rng,
    make_sampler,
    modules_of_pair,
    owned_modules,
    private_param_store,
    probe_rows,
    share_params,
    tried_in_training,
)


class ObjectiveModule(nn.Module):
    r"""What ``fit_svi`` maximises, in nats per row, for a training loop of your own.

    .. math:: \frac{1}{n} \sum_i E_{q(z_i|x_i)}[\log p(x_i, z_i) - \log q(z_i|x_i)]

    for the ELBO, and as ``objective`` says for others. Its ``parameters()`` are all that the pair trains: those of its
    modules, and values of ``pyro.param`` statements, which evaluations of the pair have as they are at the time. What
    ``fit_svi`` refuses is refused here too. The rest is the loop's: batches, the optimiser, ``train()`` and ``eval()``,
    precision, which epoch to keep, losses that are not finite. Draws come from torch's global generator.

    Args:
        model: Pyro program of a batch of rows, observing them inside a plate ``len(x)`` at dim -1.
        guide: Pyro program of a batch of rows, drawing the model's latents inside the same plate.
        train: the training rows ``(rows, *data_shape)``, as the loop will give them, on the device of the parameters:
            the pair is looked at on some of them, and all have to be inside the likelihood's support.
        objective: by name or as an object, as ``fit_svi`` takes it.
        num_particles: draws of the latents for each row, for an objective by name; None takes its default.
        beta: weight of the KL term, a number or a schedule, for an objective by name; None is 1.

    Raises:
        ValueError: a pair that breaks the contract of ``check_pair`` or has nothing to train, rows outside the
            likelihood's support, NaN in the rows unless the programs take missing entries, an objective that is not
            defined for the pair.

    Example:
        >>> import torch
        >>> from pyrovae import VAE, ObjectiveModule, likelihoods, networks, posteriors, priors
        >>> vae = VAE(
        ...     priors.StandardNormal(1),
        ...     likelihoods.Normal(networks.MLP(1, 3, ())),
        ...     posteriors.DiagonalNormal(networks.MLP(3, 2, ())),
        ... )
        >>> x = torch.randn(200, 3) * torch.tensor([3.0, 0.1, 0.1])
        >>> objective = ObjectiveModule(vae.model, vae.guide, x)
        >>> optimizer = torch.optim.SGD(objective.parameters(), lr=0.01)
        >>> for batch in x.split(50):
        ...     terms = objective(batch)
        ...     optimizer.zero_grad()
        ...     terms.loss.backward()
        ...     optimizer.step()
        >>> bool(terms.elbo.isfinite())
        True
    """

    def __init__(
        self,
        model: Program,
        guide: Program,
        train: AnyRows,
        objective: str | Objective | ELBO = "TraceMeanField_ELBO",
        num_particles: int | None = None,
        beta: float | Schedule | None = None,
    ) -> None:
        super().__init__()
        check_any_rows(train, "train")
        self.objective = as_objective(objective, num_particles, beta)
        check_missing(model, guide, train, "train")
        with torch.enable_grad(), private_param_store(model, guide) as outside, isolated_rng(0, train.device):
            few_rows = probe_rows(train, max(PROBE_ROWS))
            with evaluation_mode(model, guide), buffers_put_back(model, guide):
                structure = inspect_pair(model, guide, few_rows, len(train))
                self.sampler = make_sampler(model, guide, few_rows, structure)
                check_support(model, guide, train)
                weights = Weights.of(model, guide, structure)
                weights.check_trainable()
                check_known(self.sampler, few_rows, weights)
            with buffers_put_back(model, guide), tried_in_training(model, guide, structure, few_rows):
                self.objective.check(self.sampler, few_rows)
            shared = share_params(model, guide, structure, outside)
        modules = modules_of_pair(model, guide, structure)
        below = {id(part) for module in modules for part in module.modules() if part is not module}
        self.parts = nn.ModuleList({id(module): module for module in modules if id(module) not in below}.values())
        known = {id(parameter) for parameter in (*self.parts.parameters(), *shared.values())}
        # Those of a module in ``pyro.module`` that the programs use without calling it.
        used = [p for p in weights.parameters if isinstance(p, nn.Parameter) and id(p) not in known]
        self.other_parameters = nn.ParameterList([*shared.values(), *used])
        self._names = tuple(shared)

    def forward(self, x: Tensor, progress: float = 1.0) -> ObjectiveTerms:
        """The terms of a batch of rows, means over them in nats per row.

        Args:
            x: rows ``(rows, *data_shape)``.
            progress: the fraction of the run's steps that is done, for schedules of beta and other weights; 1 gives
                these their final values.

        Returns:
            ``loss``, to be differentiated, whose value means nothing under some objectives; and without a gradient
            ``objective``, ``elbo``, ``reconstruction`` and ``kl``.

        Raises:
            ValueError: no tensor of rows; a progress that is not from 0 to 1.
        """
        if not 0 <= progress <= 1:
            raise ValueError(f"progress is {progress!r}; expected a number from 0 to 1, the fraction of steps done")
        check_are_rows(all_in_memory(x, "x"), "x")
        with private_param_store(self.sampler.model, self.sampler.guide, self._shared()):
            terms = self.objective.terms(self.sampler, x, progress)
        means = {name: term / len(x) for name, term in vars(terms).items()}
        return ObjectiveTerms(**{name: mean if name == "loss" else mean.detach() for name, mean in means.items()})

    def __deepcopy__(self, memo: dict[int, Any]) -> "ObjectiveModule":
        """A copy with modules of its own, for averages of weights.

        Raises:
            ValueError: the programs have weights that no copy of them would have.
        """
        owned = owned_modules(self.sampler.model, self.sampler.guide)
        if {id(part) for part in self.parts} != {id(module) for module in owned} or len(self.other_parameters):
            raise ValueError(
                "a copy would run these programs with the weights of the first: a function cannot be copied with the "
                "networks and pyro.param values that it uses; give methods of an nn.Module that has them all"
            )
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return copied

    def _shared(self) -> dict[str, Tensor]:
        """Values of ``pyro.param`` statements by name, as they are now."""
        return dict(zip(self._names, self.other_parameters, strict=False))
