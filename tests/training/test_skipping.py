"""Steps that are left out, and gradients that are shortened."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrovae import NonFiniteLossError, fit_svi
from pyrovae.programs import Weights, inspect_pair
from pyrovae.training.skipping import BuffersBefore


class Line(nn.Module):
    """Rows around a mean that is learned, by a latent that is all but nothing.

    The log-density of a row with a first entry above 100 is infinite, or has such a gradient.
    """

    def __init__(self, what="loss"):
        super().__init__()
        self.mean, self.what = nn.Parameter(torch.zeros(2)), what

    def model(self, x):
        with pyro.plate("rows", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            shift = 0 * z
            bad = (x[:, :1] > 100).any()
            if self.what == "loss" and bad:
                shift = shift + math.inf
            if self.what == "gradient" and bad:
                # Zero, with an infinite slope.
                shift = shift + (self.mean - self.mean).abs().sqrt().sum()
            pyro.sample("x", dist.Normal(self.mean + shift, 1.0, validate_args=False).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("rows", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))


def rows(count=40, bad=()):
    x = torch.randn(count, 2, generator=torch.Generator().manual_seed(5))
    x[list(bad), 0] = 101.0
    return x


def order(count, seed=0):
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def by_hand(x, batch_size, clip_norm=math.inf, lr=0.1):
    """One epoch of Adam on the rows' mean, batches with a bad row left out."""
    mean = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.Adam([mean], lr=lr)
    for batch in x[order(len(x))].split(batch_size):
        if bool((batch[:, 0] > 100).any()):
            continue
        optimizer.zero_grad()
        (0.5 * (batch - mean) ** 2).sum(1).mean().backward()
        torch.nn.utils.clip_grad_norm_([mean], clip_norm)
        optimizer.step()
    return mean.detach()


def fit(line, x, **options):
    options = {"epochs": 1, "batch_size": 4, "lr": 0.1, "patience": None} | options
    return fit_svi(line.model, line.guide, x, progress=False, **options)


@pytest.mark.parametrize("options", [{"what": "loss"}, {"what": "gradient", "clip_norm": 1e6}])
def test_bad_batches_are_left_out_and_counted(options):
    x, line = rows(bad=(3,)), Line(options.pop("what"))
    result = fit(line, x, **options)
    assert result.skipped_steps == 1
    assert any("1 of 10 steps were left out, as their loss or gradient" in sign for sign in result.signs_of_trouble)
    torch.testing.assert_close(line.mean.detach(), by_hand(x, 4))
    assert math.isfinite(result.history[0]["train_elbo"])


def test_terms_are_means_over_the_rows_that_counted():
    x = rows(bad=(3,))
    frozen, without = Line(), Line()
    for line in (frozen, without):
        line.mean.data += 0.5
    whole = fit(frozen, x, lr=1e-12).history[0]["train_elbo"]
    batch = next(batch for batch in order(len(x)).split(4) if 3 in batch)
    others = x[[row for row in range(len(x)) if row not in batch]]
    expected = dist.Normal(0.5, 1.0).log_prob(others).sum(1).mean().item()
    assert whole == pytest.approx(expected, rel=1e-5)


def test_too_many_in_a_row_stop_the_fit():
    x = rows(100, bad=range(60))
    with pytest.raises(NonFiniteLossError, match="epoch 1, step 1; the first site that is not finite is 'x'") as error:
        fit(Line(), x, max_skipped_steps=3)
    assert error.value.result.skipped_steps == 4


def test_half_of_an_epoch_stops_the_fit():
    """Five of the ten batches hold a bad row, no two of them one after the other for long."""
    x = rows()
    for number, batch in enumerate(order(len(x)).split(4)):
        if number % 2:
            x[batch[0], 0] = 101.0
    with pytest.raises(NonFiniteLossError, match="epoch 1, step 2") as error:
        fit(Line(), x)
    assert error.value.result.skipped_steps == 5


def test_weights_that_are_not_finite_stop_at_once():
    line = Line("gradient")
    with pytest.raises(NonFiniteLossError) as error:
        fit(line, rows(bad=(3,)))
    assert bool(line.mean.isfinite().all())
    assert error.value.result.skipped_steps <= 1


def test_none_may_be_left_out():
    with pytest.raises(NonFiniteLossError):
        fit(Line(), rows(bad=(3,)), max_skipped_steps=0)


@pytest.mark.parametrize("step", ["plain", "recorded"])
def test_the_gradient_is_shortened(step):
    x, line = 10 + rows(), Line("nothing")
    fit(line, x, clip_norm=0.5, step=step)
    torch.testing.assert_close(line.mean.detach(), by_hand(x, 4, clip_norm=0.5), rtol=1e-5, atol=1e-6)


def test_a_short_gradient_stays_as_it_is():
    x, clipped, free = rows(), Line("nothing"), Line("nothing")
    fit(clipped, x, clip_norm=1e3)
    fit(free, x)
    assert torch.equal(clipped.mean, free.mean)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip_norm": 0.0}, r"clip_norm is 0\.0; expected a positive norm of the gradient, or None"),
        ({"clip_norm": math.inf}, "clip_norm is inf"),
        ({"max_skipped_steps": -1}, "max_skipped_steps is -1; expected a number of steps, zero or more"),
        ({"max_skipped_steps": 1.5}, r"max_skipped_steps is 1\.5"),
    ],
)
def test_numbers_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        fit(Line(), rows(), **options)


class Normalised(Line):
    """The same without a decision in Python, and with means that run over the rows."""

    def __init__(self, what):
        super().__init__(what)
        self.normalisation = nn.BatchNorm1d(2, affine=False)

    def model(self, x):
        bad = (x[:, :1] > 100).any()
        shift = torch.where(bad, math.inf, 0.0)
        if self.what == "gradient":
            # Zero; the square root of zero has an infinite slope.
            shift = 0 * torch.where(bad, self.mean - self.mean, 1.0).sqrt()
        with pyro.plate("rows", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.mean + shift, 1.0, validate_args=False).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("rows", len(x), dim=-1):
            pyro.sample("z", dist.Normal(0 * self.normalisation(x)[:, :1], 1.0).to_event(1))


@pytest.mark.parametrize("step", ["plain", "recorded"])
@pytest.mark.parametrize(("what", "value", "clip_norm"), [("loss", 1e25, None), ("gradient", 101.0, 1e6)])
def test_what_is_left_out_moves_no_running_means(what, value, clip_norm, step):
    x, line, without = rows(80), Normalised(what), nn.BatchNorm1d(2, affine=False)
    bad = order(len(x))[61]
    x[bad, 0] = value
    result = fit(line, x, clip_norm=clip_norm, step=step)
    for batch in x[order(len(x))].split(4):
        if batch.max() < 100:
            without(batch)
    assert (result.skipped_steps, result.stepping) == (1, step)
    torch.testing.assert_close(dict(line.normalisation.named_buffers()), dict(without.named_buffers()))
    torch.testing.assert_close(line.mean.detach(), by_hand(x, 4))


class Counting(Normalised):
    """It counts its training steps in a buffer, which PyTorch does not see."""

    def __init__(self, size):
        super().__init__("loss")
        self.register_buffer("count", torch.zeros(size))

    def guide(self, x):
        if self.training:
            self.count.data.add_(1)
        super().guide(x)


@pytest.mark.parametrize("size", [10, 70_000])
def test_buffers_that_are_written_uncounted_keep_the_steps_that_are_taken(size):
    x = rows(80)
    x[order(len(x))[61], 0] = 1e25
    counting = Counting(size)
    assert fit(counting, x, step="plain").skipped_steps == 1
    assert (counting.count == 19).all()


def test_large_buffers_of_inference_mode():
    line = Normalised("loss")
    with torch.inference_mode():
        line.register_buffer("table", torch.ones(300, 300))
    assert fit(line, rows(80)).skipped_steps == 0


def test_large_buffers_are_copied_again_only_once_they_were_written_or_replaced():
    line = Normalised("loss")
    line.register_buffer("table", torch.zeros(300, 300))
    before = BuffersBefore(Weights.of(line.model, line.guide, inspect_pair(line.model, line.guide, rows(8))))

    def table_and_mean():
        before.note()
        by_name = {name.rsplit(".", 1)[-1]: copy for name, copy in before.copies.items()}
        return by_name["table"], by_name["running_mean"]

    table, mean = table_and_mean()
    assert table.data_ptr() != line.table.data_ptr()
    assert (table == 0).all()
    again, mean_again = table_and_mean()
    assert again is table
    assert mean_again is not mean
    line.normalisation(rows(8))
    before.put_back()
    torch.testing.assert_close(line.normalisation.running_mean, mean)
    line.table += 1
    assert (table_and_mean()[0] == 1).all()
    line.table = torch.full((300, 300), 2.0)
    assert (table_and_mean()[0] == 2).all()
    line.table += 1
    before.put_back()
    assert (line.table == 2).all()
