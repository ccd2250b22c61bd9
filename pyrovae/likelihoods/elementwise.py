"""What likelihoods of independent entries share: one number from the decoder, and parameters of several sources."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyrovae.distributions.arguments import check_called
from pyrovae.likelihoods.choices import Choice, Source
from pyrovae.likelihoods.shapes import data_dims, split_params, start_decoder
from pyrovae.likelihoods.starts import entry_variance
from pyrovae.networks.shapes import as_shape


def params_shape(data_shape: Sequence[int], num_params: int) -> tuple[int, ...]:
    """Output shape of a decoder that gives so many numbers for each entry."""
    shape = as_shape(data_shape, "data_shape")
    return shape if num_params == 1 else (num_params, *shape)


class Elementwise(nn.Module):
    """A likelihood whose decoder gives one number for each entry, and one more for each predicted parameter."""

    def __init__(self, decoder: nn.Module, data_shape: Sequence[int] | None, *choices: Choice) -> None:
        super().__init__()
        check_called(type(self).__name__, decoder=decoder)
        self.decoder = decoder
        self.data_shape = None if data_shape is None else as_shape(data_shape, "data_shape")
        self.choices = {choice.name: choice for choice in choices}
        for choice in choices:
            self.register_parameter(choice.parameter, choice.new_parameter())

    def entries(self, z: Tensor) -> tuple[Tensor, ...]:
        """The decoder's first number for each entry, then the parameters in their order, to broadcast with it."""
        part = type(self).__name__
        output = self.decoder(z)
        num_params = 1 + sum(choice.predicted for choice in self.choices.values())
        data_dims(output, z, self)
        first, *predicted = (output,) if num_params == 1 else split_params(output, z, num_params, self)
        if self.data_shape is not None and first.shape[z.dim() - 1 :] != self.data_shape:
            raise ValueError(
                f"{part}: the decoder gave shape {tuple(output.shape)} for z of shape {tuple(z.shape)}, and data_shape "
                f"is {self.data_shape}; expected "
                f"{(*z.shape[:-1], *params_shape(self.data_shape, num_params))}: build the decoder with output shape "
                f"{part}.decoder_shape(data_shape, ...)"
            )
        values = [
            choice.bounded(predicted.pop(0) + choice.start)
            if choice.predicted
            else self.value_of(choice.name).to(first)
            for choice in self.choices.values()
        ]
        return first, *values

    def value_of(self, name: str) -> Tensor:
        """A parameter as it is now, shape () or ``data_shape``."""
        choice = self.choices[name]
        if choice.number is not None:
            return choice.fixed()
        if choice.predicted:
            raise ValueError(
                f"{name} is predicted from z, so {type(self).__name__} has no single one: read it off likelihood(z)"
            )
        return choice.bounded(getattr(self, choice.parameter))

    def pooled(self, name: str) -> bool:
        """Whether a parameter is one for all entries."""
        return self.choices[name].source not in ("per_dimension", "predicted")

    def spread(self, rows: Tensor, name: str) -> Tensor:
        """Standard deviation of the rows around their mean, for each entry or pooled as the parameter is."""
        variance = entry_variance(rows)
        return (variance.mean() if self.pooled(name) else variance).sqrt()

    @torch.no_grad()
    def start_at(self, first: Tensor, **values: Tensor) -> None:
        """Start the decoder's first number for each entry, and what is learned or predicted, at given values.

        Args:
            first: ``data_shape``.
            values: of parameters by name, shape () or ``data_shape``; one without a value starts where the user said.
        """
        outputs = [first]
        for name, choice in self.choices.items():
            if choice.number is not None:
                continue
            raw = choice.unbounded(choice.inside(values[name])) if name in values else first.new_tensor(choice.start)
            if choice.predicted:
                outputs.append((raw - choice.start).expand_as(first))
            elif (parameter := getattr(self, choice.parameter)) is not None:
                parameter.copy_(raw)
        start_decoder(self, first if len(outputs) == 1 else torch.stack(outputs))

    def extra_repr(self) -> str:
        """What the printed module says of its parameters."""
        return ", ".join(choice.describe() for choice in self.choices.values())


class LocScale(Elementwise):
    """An elementwise likelihood with a location from the decoder and a scale."""

    @classmethod
    def decoder_shape(cls, data_shape: Sequence[int], scale: float | Source = "shared") -> tuple[int, ...]:
        """Output shape that the decoder needs."""
        return params_shape(data_shape, 1 + (scale == "predicted"))

    @property
    def scale(self) -> Tensor:
        """The scale now, in the units of the data: shape () or ``data_shape``."""
        return self.value_of("scale")
