"""The pair of programs that a fit moves."""

from dataclasses import dataclass

from pyro.params.param_store import StateDict
from torch import Tensor, nn

from pyrovae.programs import Program, Sampler, Weights, has_numbers, keep_params, modules_of_pair
from pyrovae.training.diagnosis import first_non_finite_site


@dataclass(frozen=True)
class FittedPair:
    """A pair of programs inside ``private_param_store``, with all that a fit moves of it.

    Attributes:
        sampler: runs the programs.
        weights: what is stored of them.
        modules: that they own or call.
        outside: the caller's param store.
    """

    sampler: Sampler
    weights: Weights
    modules: list[nn.Module]
    outside: StateDict

    @classmethod
    def of(cls, sampler: Sampler, outside: StateDict) -> "FittedPair":
        """The pair of a sampler.

        Raises:
            ValueError: it has nothing to train, or weights that would not be trained.
        """
        model, guide, structure = sampler.model, sampler.guide, sampler.structure
        weights = Weights.of(model, guide, structure)
        weights.check_trainable()
        return cls(sampler, weights, modules_of_pair(model, guide, structure), outside)

    @property
    def programs(self) -> tuple[Program, Program]:
        """The model and the guide."""
        return self.sampler.model, self.sampler.guide

    def moved(self) -> list[Tensor]:
        """The parameters that are not held: one that is needs no gradient."""
        return [parameter for parameter in self.weights.parameters if parameter.requires_grad]

    def buffers(self) -> list[Tensor]:
        """What training changes beside parameters."""
        parameters = set(map(id, self.weights.parameters))
        return [tensor for tensor in self.tensors() if id(tensor) not in parameters]

    def tensors(self) -> list[Tensor]:
        """All tensors that training changes, as they are now: a program may have put others in their places."""
        of_modules = (tensor for module in self.modules for tensor in (*module.parameters(), *module.buffers()))
        dense = filter(has_numbers, of_modules)
        found = {id(tensor): tensor for tensor in (*self.weights.tensors.values(), *dense)}
        return list(found.values())

    def keep(self, weights: dict[str, Tensor]) -> None:
        """Put weights back, and keep the values of ``pyro.param`` statements with the programs."""
        self.weights.restore(weights)
        keep_params(*self.programs, self.sampler.structure, self.outside)

    def non_finite_site(self, x: Tensor) -> str:
        """Name of the first site that is not finite for some rows, or else of the rows themselves."""
        return first_non_finite_site(*self.programs, x) or self.sampler.structure.observed[0]
