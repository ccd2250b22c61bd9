"""The steps of ``check_vae``: each runs a part of a VAE, writes its line, and stops at the first thing wrong."""

import copy

import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from pyrovae.models.check_problems import (
    NetworkCalls,
    Problem,
    check_finite,
    check_shape,
    check_tensors,
    columns_not_started,
    first_line,
    networks_called,
    plain,
    problem_of_call,
    reported,
)
from pyrovae.models.check_table import PartShape, of_distribution, of_tensor
from pyrovae.models.raw_columns import raw_columns
from pyrovae.models.vae import VAE
from pyrovae.programs import Weights, check_leaves, check_missing, check_rows, check_support, inspect_pair, trace_pair


class Walk:
    """One batch on its way through a VAE."""

    def __init__(self, vae: VAE, batch: Tensor) -> None:
        self.vae, self.x = vae, batch
        self.parts: list[PartShape] = []
        self.notes: list[str] = []

    def run(self) -> None:
        """All steps in order.

        Raises:
            Problem: the first thing wrong.
        """
        with reported("a step of the check"):
            self._steps()

    def _steps(self) -> None:
        self._data()
        batch = self.x
        # Shapes come first, so the parts see whole rows until it is known that they take missing entries.
        self.x = batch.nan_to_num(nan=0.0)
        q_z, z = self._posterior()
        p_z = self._prior()
        p_x = self._likelihood(z)
        if bool(batch.isnan().any()):
            self.x = batch
            q_z, z = self._missing()
            p_x = self.vae.likelihood(z)
        self._support()
        log_q = self._log_density("log q(z|x)", "posterior(x).log_prob(z)", q_z, z)
        self._log_density("log p(z)", "prior().log_prob(z)", p_z, z)
        log_px = self._log_density("log p(x|z)", "likelihood(z).log_prob(x)", p_x, self.x)
        self._gradients(self._programs())
        for slot, argument, given, value, log_prob in (
            ("posterior", "x", self.x, z.detach(), log_q.detach()),
            ("likelihood", "z", z.detach(), self.x, log_px.detach()),
        ):
            self._first_row_alone(slot, argument, given, value, log_prob)
            self._several_draws(slot, argument, given, value, log_prob)
        self._dtypes()
        self._columns()

    def _data(self) -> None:
        if isinstance(self.x, Tensor) and self.x.dim():
            self.parts.append(of_tensor("data", "batch", None, self.x, batch_dim=1))
        with reported("reading the batch"):
            check_rows(self.x, "batch")

    def _missing(self) -> tuple[TorchDistributionMixin, Tensor]:
        """q(z|x) of rows with missing entries, and a draw from it."""
        with reported("vae.model(batch) with vae.guide(batch)"):
            check_missing(self.vae.model, self.vae.guide, self.x, "batch")
        q_z = self.vae.posterior(self.x)
        return q_z, q_z.rsample() if q_z.has_rsample else q_z.sample()

    def _posterior(self) -> tuple[TorchDistributionMixin, Tensor]:
        q_z, z = self._part("posterior", "x", self.x)
        wanted = (self.vae.latent_dim,)
        numbers = [f"{part.call} gives shape {part.event_shape}" for part in self.parts if part.part.startswith(".")]
        check_shape(
            "posterior(x)",
            q_z,
            (len(self.x),),
            wanted,
            f"the prior is over {wanted}: give both the same latent_dim, and the posterior an encoder made for it"
            + (f" ({', '.join(numbers)} for each row)" if numbers else ""),
        )
        if z is None:
            raise Problem(
                "posterior(x) cannot be drawn from, so there is no z to go on with: give it sample or rsample"
            )
        check_finite("the draws of posterior(x)", z, "look at its scales: they may be zero, infinite or NaN")
        return q_z, z

    def _prior(self) -> TorchDistributionMixin:
        p_z, _ = self._part("prior")
        wanted = (self.vae.latent_dim,)
        repair = "the prior is no longer the one that the VAE was made with: make a new VAE with it"
        check_shape("prior()", p_z, (), wanted, repair)
        return p_z

    def _likelihood(self, z: Tensor) -> TorchDistributionMixin:
        p_x, _ = self._part("likelihood", "z", z)
        likelihood, wanted = self.vae.likelihood, tuple(self.x.shape[1:])
        needed = str(wanted)
        if hasattr(likelihood, "decoder_shape"):
            needed = f"{type(likelihood).__name__}.decoder_shape({wanted}, ...)"
        repair = f"build the decoder for the data, with output_shape {needed}"
        if p_x.event_shape.numel() == self.x[0].numel():
            repair += f", or reshape the data, x.reshape(-1, {', '.join(map(str, p_x.event_shape))})"
        check_shape("likelihood(z)", p_x, (len(self.x),), wanted, repair)
        return p_x

    def _part(
        self, slot: str, argument: str = "", given: Tensor | None = None
    ) -> tuple[TorchDistributionMixin, Tensor | None]:
        """What a part returns and a draw from it, each network in it having a line of its own."""
        part, call = getattr(self.vae, slot), f"{slot}({argument})"
        if not isinstance(part, nn.Module):
            raise Problem(
                f"the {slot} is a {type(part).__name__}; expected an nn.Module, whose parameters can be found"
            )
        check_tensors(slot, part, self.x)
        with networks_called(part) as calls:
            try:
                returned = part() if given is None else part(given)
            except Exception as error:
                self._add_networks(slot, argument, calls)
                self.parts.append(PartShape(slot, call, type(part).__name__, f"raised {type(error).__name__}"))
                raise problem_of_call(call, error, slot, part, calls, self.x if given is None else given) from error
        self._add_networks(slot, argument, calls)
        if not isinstance(returned, TorchDistributionMixin):
            self.parts.append(PartShape(slot, call, type(part).__name__, type(returned).__name__))
            repair = "return one, such as dist.Normal(loc, scale).to_event(1) with `import pyro.distributions as dist`"
            if isinstance(returned, torch.distributions.Distribution):
                repair = "take the same class from pyro.distributions, not from torch.distributions"
            raise Problem(f"{call} returned a {type(returned).__name__}; expected a Pyro distribution: {repair}")
        try:
            draw = returned.rsample() if slot == "posterior" and returned.has_rsample else returned.sample()
        except Exception as error:  # whatever a distribution of the user's raises
            draw = None
            self.notes.append(f"{call} cannot be drawn from ({first_line(error)}): what needs draws of it will fail")
        self.parts.append(of_distribution(slot, call, part, returned, draw))
        return returned, draw

    def _add_networks(self, slot: str, argument: str, calls: NetworkCalls) -> None:
        for name, (network, output) in calls.outputs.items():
            call = f"{slot}.{name}({argument})" if argument else f"{slot}.{name}"
            batch_dim = 1 if argument else 0
            self.parts.append(of_tensor(f".{name}", call, network, output, batch_dim))
            check_finite(
                f"the output of {call}",
                output,
                "its weights are finite, so look at the size of its input, and at log, exp, sqrt and divisions in it",
            )

    def _support(self) -> None:
        with reported("vae.model(batch) with vae.guide(batch)"):
            check_support(self.vae.model, self.vae.guide, self.x)

    def _log_density(self, name: str, call: str, distribution: TorchDistributionMixin, value: Tensor) -> Tensor:
        try:
            log_prob = distribution.log_prob(value)
        except Exception as error:
            whose = " (z is a draw of the posterior: prior and posterior need the same support)" * (name == "log p(z)")
            raise Problem(f"{call} raised {first_line(error)}{whose}") from error
        mean = f"mean {log_prob.mean().item():.2f}"
        self.parts.append(PartShape(name, call, "", mean, tuple(log_prob.shape), None, log_prob.dtype, log_prob.device))
        if log_prob.shape != (len(self.x),):
            raise Problem(
                f"{call} has shape {tuple(log_prob.shape)}; expected ({len(self.x)},), one number for each row: sum "
                "over the dimensions of one value in log_prob, or use .to_event"
            )
        repair = "a value outside the support, a scale of zero, or numbers too large for the dtype give such densities"
        check_finite(call, log_prob, repair)
        return log_prob

    def _programs(self) -> Weights:
        with reported("vae.model(batch) with vae.guide(batch)"):
            structure = inspect_pair(self.vae.model, self.vae.guide, self.x)
            return Weights.of(self.vae.model, self.vae.guide, structure)

    def _gradients(self, weights: Weights) -> None:
        with reported("the gradient of the ELBO"):
            model_trace, guide_trace = trace_pair(self.vae.model, self.vae.guide, self.x)
            elbo = torch.as_tensor(model_trace.log_prob_sum() - guide_trace.log_prob_sum())
            check_leaves([elbo], [*weights.tensors.values(), self.x])
        parameters = {name: p for name, p in self.vae.named_parameters() if p.requires_grad}
        if not parameters:
            self.notes.append("no parameter is trained: the VAE has none, or none with requires_grad")
            return
        with reported("the gradient of the ELBO"):
            gradients: tuple[Tensor | None, ...] = (None,) * len(parameters)
            if elbo.requires_grad:
                gradients = torch.autograd.grad(elbo, list(parameters.values()), allow_unused=True)
        found = dict(zip(parameters, gradients, strict=True))
        missing = [name for name, gradient in found.items() if gradient is None]
        if missing:
            others = f" nor {len(missing) - 1} more" if len(missing) > 1 else ""
            raise Problem(
                f"no gradient reaches the parameter {missing[0]!r}{others}, so it would never be trained: use it in "
                "the part's forward; do not go through .detach(), .data, .item() or torch.no_grad(); or call "
                "requires_grad_(False) on it to leave it as it is"
            )
        for name, gradient in found.items():
            if gradient is not None:
                check_finite(
                    f"the gradient of the parameter {name!r}",
                    gradient,
                    "look for sqrt, log or norm at zero, and for torch.where around values that are not finite",
                )

    @torch.no_grad()
    def _first_row_alone(self, slot: str, argument: str, given: Tensor, value: Tensor, log_prob: Tensor) -> None:
        """A row has the density that it has among others: else log p(x) of a row would be no property of it."""
        call = f"{slot}({argument}[:1])"
        repair = "keep the batch dimension when there is one row (no squeeze without a dim)"
        try:
            alone = getattr(self.vae, slot)(given[:1])
            batch_shape = tuple(alone.batch_shape)
            log_alone = alone.log_prob(value[:1])
        except Exception as error:
            raise Problem(f"{call}, one row alone, raised {first_line(error)}: {repair}") from error
        if batch_shape != (1,):
            raise Problem(f"{call}, one row alone, has batch shape {batch_shape}; expected (1,): {repair}")
        if not close(log_alone, log_prob[:1]) and not close(
            self._in_float64(slot, given[:1], value[:1]), self._in_float64(slot, given, value)[..., :1]
        ):
            raise Problem(
                f"{call} gives the first row the log-density {log_alone.item():.4g}, and {log_prob[0].item():.4g} "
                "among the other rows: in evaluation mode no row may depend on another, nor on random numbers; "
                "look for means over the batch, reshapes that mix rows, and noise in forward"
            )

    def _in_float64(self, slot: str, given: Tensor, value: Tensor) -> Tensor:
        """Log-densities with more digits: with large inputs and small scales float32 leaves few of them.

        NaN for a part of the user's that cannot be copied, or knows float32 only.
        """
        try:
            return copy.deepcopy(getattr(self.vae, slot)).double()(given.double()).log_prob(value.double())
        except Exception:
            return torch.full(value.shape[:1], torch.nan)

    @torch.no_grad()
    def _several_draws(self, slot: str, argument: str, given: Tensor, value: Tensor, log_prob: Tensor) -> None:
        """Leading dimensions (draws, rows) are a convenience: without them rows are repeated."""
        call = f"{slot}({argument})"
        try:
            distribution = getattr(self.vae, slot)(torch.stack([given, given.flip(0)]))
            what = f"it gave batch shape {tuple(distribution.batch_shape)}"
            if distribution.batch_shape == (2, len(given)):
                what = "it mixed them up"
                both, values = torch.stack([given, given.flip(0)]), torch.stack([value, value.flip(0)])
                if close(distribution.log_prob(values), torch.stack([log_prob, log_prob.flip(0)])):
                    return
                exact = self._in_float64(slot, given, value)
                if close(self._in_float64(slot, both, values), torch.stack([exact, exact.flip(-1)])):
                    return
        except Exception as error:
            what = f"it raised {first_line(error)}"
        costs = {
            "posterior": "Nothing in the package asks for more; vae.encode(x) of such x will not work",
            "likelihood": "Fitting and evaluation work all the same, evaluation slower, as it repeats the rows; "
            "vae.reconstruct(x, num_samples) and vae.decode(z) of such z will not work",
        }
        self.notes.append(
            f"{call} takes one batch dimension only: for {argument} of leading shape (2, {len(given)}) {what}. "
            f"{costs[slot]}. The repair is to fold leading dimensions into one before the network, and back after it"
        )

    def _dtypes(self) -> None:
        dtypes = {
            part.part: plain(part.dtype)
            for part in self.parts
            if part.dtype is not None and part.dtype.is_floating_point and part.part in ("posterior", "prior")
        }
        if len(set(dtypes.values())) > 1:
            shown = ", ".join(f"{part} {dtype}" for part, dtype in dtypes.items())
            self.notes.append(f"the parts compute in different dtypes ({shown}): vae.float() or vae.double() makes one")

    def _columns(self) -> None:
        names = columns_not_started(self.vae, self.x)
        if names:
            self.notes.append(
                f"{' and '.join(names)} would take the columns as they are, and some are far from mean 0 and standard "
                "deviation 1: call vae.initialize(train) before the fit"
            )
        raw = raw_columns([self.vae.likelihood, self.vae.posterior], self.x)
        if raw is not None:
            self.notes.append(raw.in_python())


def close(log_prob: Tensor, other: Tensor) -> bool:
    """Equal but for rounding: loose enough for sums over many pixels in float32."""
    return torch.allclose(log_prob, other, rtol=1e-4, atol=1e-3)
