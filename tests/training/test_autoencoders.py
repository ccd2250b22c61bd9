"""Autoencoders: linear ones against principal components, denoising and stacked ones against plain ones."""

import numpy as np
import pytest
import torch
from problems import small_vae

from pyrovae import LossResult, NonFiniteLossError, compare_bounds, load_data, networks
from pyrovae.data import GaussianNoise, Masking, SaltAndPepper, Translation
from pyrovae.evaluation import reconstruction_errors
from pyrovae.models import Autoencoder
from pyrovae.recording import replay
from pyrovae.training import fit_autoencoder, pretrain_layers
from pyrovae.training import losses as training_losses
from pyrovae.training.loss_epochs import LossEpochs
from pyrovae.training.result import still_improving


def digits():
    return load_data("digits")


def make(latent_dim=10, hidden_dims=(100,), seed=0, **options):
    torch.manual_seed(seed)
    shape = (1, 8, 8)
    encoder = networks.MLP(shape, latent_dim, hidden_dims)
    return Autoencoder(encoder, networks.MLP(latent_dim, shape, hidden_dims[::-1]), **options)


def test_a_linear_autoencoder_reaches_the_principal_components():
    """Baldi and Hornik (1989): its minimum is the residual of the leading components."""
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([3.0, 2.0, 0.5, 0.4, 0.3])
    x = (torch.randn(500, 5, generator=generator) * scales) @ torch.linalg.qr(torch.randn(5, 5, generator=generator))[0]
    torch.manual_seed(0)
    autoencoder = Autoencoder(networks.MLP(5, 2, ()), networks.MLP(2, 5, ()))
    for lr, epochs in ((0.02, 60), (0.002, 40)):
        fit_autoencoder(autoencoder, x, epochs=epochs, batch_size=100, lr=lr, progress=False)
    residual = torch.linalg.eigvalsh(torch.cov(x.T, correction=0))[:3].sum().item()
    reached = autoencoder.losses(x).mean().item()
    assert residual * (1 - 1e-5) <= reached < residual * 1.01


@pytest.mark.parametrize(
    "corruption", [GaussianNoise(0.5), Masking(0.4), SaltAndPepper(0.3)], ids=["noise", "masking", "salt and pepper"]
)
def test_a_denoising_autoencoder_mends_damaged_digits_better_than_a_plain_one(corruption):
    data = digits()
    plain, denoising = make(latent_dim=20), make(latent_dim=20, corruption=corruption)
    for autoencoder in (plain, denoising):
        fit_autoencoder(autoencoder, data.train, validation=data.validation, epochs=40, lr=3e-3, progress=False)
    torch.manual_seed(0)
    damaged = corruption(data.test)
    errors = [(model.reconstruct(damaged) - data.test).square().flatten(1).sum(1) for model in (plain, denoising)]
    saved = errors[0] - errors[1]
    # One paired mean at 4 standard errors: a false alarm in 1 of 30,000 seeds, were both equally good.
    assert saved.mean() > 4 * saved.std() / len(saved) ** 0.5


class Schedule:
    """Adds 1 to the rows from its batch 150 on, of which it keeps count in Python."""

    def __init__(self):
        self.batches = 0

    def __call__(self, rows):
        self.batches += 1
        return rows + (1.0 if self.batches >= 150 else 0.0)


def train_losses(fit, transform):
    """The training losses of all epochs; of layers that are pretrained those of one after the other."""
    torch.manual_seed(0)
    autoencoder = Autoencoder(networks.MLP(6, 2, (4,)), networks.MLP(2, 6, (4,)))
    x = torch.rand(40, 6, generator=torch.Generator().manual_seed(0))
    results = fit(autoencoder, x, train_transform=transform, epochs=40, batch_size=4, progress=False)
    results = results if isinstance(results, list) else [results]
    return [terms["train_loss"] for result in results for terms in result.history]


@pytest.mark.parametrize(("fit", "fits"), [(fit_autoencoder, 1), (pretrain_layers, 2)])
def test_a_transform_that_counts_its_batches_is_called_for_each(fit, fits, monkeypatch):
    transform = Schedule()
    losses = train_losses(fit, transform)
    # Once to look at the values, then at each of 40 epochs of 10 steps.
    assert transform.batches == 1 + fits * 400
    monkeypatch.setattr(replay, "_CALLS_BEFORE_RECORDING", 10**9)
    assert losses == train_losses(fit, Schedule())


@pytest.mark.parametrize("fit", [fit_autoencoder, pretrain_layers])
def test_a_transform_that_draws_bits_is_recorded_as_before(fit, monkeypatch):
    ways = []

    class Looked(LossEpochs):
        def end_epoch(self, *arguments):
            super().end_epoch(*arguments)
            ways.append(self.step.replay.way)

    monkeypatch.setattr(training_losses, "LossEpochs", Looked)
    train_losses(fit, load_data("digits", binarize="dynamic").train_transform)
    assert (ways[0], ways[-1]) == ("plain", "recorded")


def test_cross_entropy_reconstructs_bits_and_codes_are_kept():
    data = load_data("digits", binarize="threshold")
    autoencoder = make(loss="cross_entropy")
    result = fit_autoencoder(autoencoder, data.train, validation=data.validation, epochs=30, lr=3e-3, progress=False)
    assert result.history[-1]["validation_loss"] < 0.6 * result.history[0]["validation_loss"]
    rows = autoencoder.reconstruct(data.test)
    assert rows.min() >= 0
    assert rows.max() <= 1
    assert ((rows > 0.5) == (data.test > 0.5)).float().mean() > 0.9
    assert autoencoder.encode(data.test).shape == (len(data.test), 10)


def test_pretraining_a_stack_starts_it_well_and_leaves_lower_layers_alone():
    """Of a deep stack of saturating units, greedy layers are a far better start than random ones."""
    data = digits()
    deep = {"latent_dim": 8, "hidden_dims": (60, 40, 20)}
    random, stacked = make(**deep), make(**deep)
    results = pretrain_layers(stacked, data.train, epochs=15, lr=3e-3, corruption=Masking(0.1), progress=False)
    assert len(results) == 4
    for result in results:
        assert result.history[-1]["train_loss"] < result.history[0]["train_loss"]
    before = {name: model.losses(data.test).mean().item() for name, model in (("random", random), ("stacked", stacked))}
    assert before["stacked"] < 0.6 * before["random"]
    tuned = fit_autoencoder(stacked, data.train, validation=data.validation, epochs=10, progress=False)
    assert stacked.losses(data.test).mean().item() < before["stacked"]
    assert tuned.history[0]["validation_loss"] < before["random"]


def test_pretraining_sees_the_rows_as_a_transform_gives_them():
    """In other units and back: the layers are those of the rows in their own units, batch normalisation too."""
    # In steps of 1/1024, so that nothing is rounded.
    x = torch.randint(-3000, 3000, (200, 6), generator=torch.Generator().manual_seed(0)) / 1024

    def pretrained(rows, **options):
        torch.manual_seed(0)
        encoder = networks.MLP(6, 2, (5, 4), normalization="batch")
        autoencoder = Autoencoder(encoder, networks.MLP(2, 6, (4, 5), normalization="batch"))
        results = pretrain_layers(autoencoder, rows, epochs=3, batch_size=50, progress=False, **options)
        weights = {name: weight.clone() for name, weight in autoencoder.state_dict().items()}
        return [result.history[-1]["train_loss"] for result in results], weights, autoencoder.train().losses(x)

    losses, weights, of_rows = pretrained(x)
    transformed_losses, transformed_weights, transformed_of_rows = pretrained(
        64 * x + 1024, train_transform=lambda rows: (rows - 1024) / 64
    )
    assert transformed_losses == pytest.approx(losses, rel=1e-5)
    # The code's bias is taken off by the batch normalisation after the decoder's first layer: its gradient is rounding,
    # which Adam makes steps of, and the running mean follows it. By the statistics of a batch both
    # are without effect.
    torch.testing.assert_close(transformed_of_rows, of_rows, rtol=1e-5, atol=1e-5)
    for name in weights.keys() - {"encoder.layers.6.bias", "decoder.layers.1.running_mean"}:
        weight = weights[name]
        torch.testing.assert_close(transformed_weights[name], weight, rtol=1e-5, atol=1e-6)


def test_each_layer_is_pretrained_on_bits_that_are_drawn_anew():
    seen = []

    def drawn(rows):
        seen.append(rows.bernoulli())
        return seen[-1]

    autoencoder = Autoencoder(networks.MLP((1, 8, 8), 2, (5,)), networks.MLP(2, (1, 8, 8), (5,)), "cross_entropy")
    pretrain_layers(autoencoder, digits().train[:40], train_transform=drawn, epochs=2, batch_size=40, progress=False)
    # Once to look at the values, then at each step of each of the two layers.
    assert [set(rows.unique().tolist()) for rows in seen] == [{0.0, 1.0}] * 5
    assert all(not torch.equal(rows, seen[0]) for rows in seen[1:])
    with pytest.raises(ValueError, match=r"train after train_transform has values from 0 to 2"):
        pretrain_layers(autoencoder, digits().train[:40], train_transform=lambda rows: 2 * rows.bernoulli())


@pytest.mark.parametrize("training", [True, False])
def test_pretraining_leaves_batch_normalisation_of_lower_layers_as_it_was_fitted(training):
    """Also where a rest of one row is sent through it; and in evaluation mode an autoencoder is fitted like another."""
    x = torch.randn(4097, 6, generator=torch.Generator().manual_seed(0)) + 3
    torch.manual_seed(0)
    encoder = networks.MLP(6, 2, (5, 4), normalization="batch")
    autoencoder = Autoencoder(encoder, networks.MLP(2, 6, (4, 5), normalization="batch")).train(training)
    # One step, which hardly moves weights.
    pretrain_layers(autoencoder, x, epochs=1, batch_size=4097, lr=1e-9, progress=False)
    assert {part.training for part in autoencoder.modules()} == {training}
    first, normalised, _, second, normalised_after = encoder.layers[:5]
    with torch.no_grad():
        below = first(x)
        # A step of PyTorch's batch normalisation goes a tenth of the way from mean 0 and variance 1.
        torch.testing.assert_close(normalised.running_mean, 0.1 * below.mean(0))
        torch.testing.assert_close(normalised.running_var, 0.9 + 0.1 * below.var(0))
        code = ((below - normalised.running_mean) / (normalised.running_var + normalised.eps).sqrt()).relu()
        torch.testing.assert_close(normalised_after.running_mean, 0.1 * second(code).mean(0))


def test_the_same_seed_gives_the_same_weights_and_the_callers_generator_stays():
    data = digits()
    weights = []
    for _ in range(2):
        autoencoder = make(corruption=Masking(0.3))
        state = torch.get_rng_state()
        fit_autoencoder(autoencoder, data.train, epochs=2, seed=3, progress=False)
        assert torch.equal(torch.get_rng_state(), state)
        weights.append(autoencoder.decoder.layers[-1].weight)
    assert torch.equal(*weights)


def test_reconstructions_are_kept_of_as_many_rows_as_are_asked_for():
    autoencoder, x = make(corruption=Masking(0.3)), digits().test
    found = reconstruction_errors(autoencoder, x, seed=0, num_examples=3)
    torch.testing.assert_close(found.reconstructed, autoencoder.reconstruct(x[:3]))
    damaged, restored = found.example
    assert len(damaged) == 3
    torch.testing.assert_close(restored, autoencoder.reconstruct(damaged))
    assert len(found.loss) == len(found.restored) == len(x)


def test_an_autoencoder_has_no_log_px():
    autoencoder = make()
    with pytest.raises(ValueError, match=r"an autoencoder has no p\(x\)"):
        compare_bounds(autoencoder.model, autoencoder.guide, digits().test[:5])


def test_bad_input():
    rows = torch.rand(20, 1, 8, 8)
    with pytest.raises(ValueError, match="loss is 'mse'; expected one of squared_error, cross_entropy"):
        make(loss="mse")
    with pytest.raises(ValueError, match=r"train has values from .*use loss='squared_error'"):
        fit_autoencoder(make(loss="cross_entropy"), 5 * rows)
    with pytest.raises(ValueError, match="train has missing entries, NaN"):
        fit_autoencoder(make(), torch.full_like(rows, float("nan")))
    with pytest.raises(ValueError, match="epochs is 0"):
        fit_autoencoder(make(), rows, epochs=0)
    lopsided = Autoencoder(networks.MLP((1, 8, 8), 5, (30, 20)), networks.MLP(5, (1, 8, 8), (30, 20)))
    with pytest.raises(ValueError, match=r"\[64, 30, 20, 5\], and the decoder \[5, 30, 20, 64\]; expected mirror"):
        pretrain_layers(lopsided, rows)
    convolutional = Autoencoder(torch.nn.Conv2d(1, 1, 3), torch.nn.Conv2d(1, 1, 3))
    with pytest.raises(ValueError, match=r"the encoder is a Conv2d; expected a networks\.MLP"):
        pretrain_layers(convolutional, rows)
    with pytest.raises(ValueError, match=r"decoder gave shape \(20, 3\) for rows of shape \(20, 1, 8, 8\)"):
        fit_autoencoder(Autoencoder(networks.MLP((1, 8, 8), 5), networks.MLP(5, 3)), rows, progress=False)
    with pytest.raises(ValueError, match=r"autoencoder is a VAE; expected an Autoencoder.*fit_svi\(vae\.model"):
        fit_autoencoder(small_vae(), rows)
    with pytest.raises(ValueError, match=r"autoencoder is a VAE; expected an Autoencoder"):
        pretrain_layers(small_vae(), rows)
    with pytest.raises(ValueError, match="lr is 'a'; expected a positive number"):
        fit_autoencoder(make(), rows, lr="a")
    with pytest.raises(TypeError, match=r"fit_autoencoder\(\) got an unexpected keyword argument 'epoch'"):
        fit_autoencoder(make(), rows, epoch=2)


def test_a_loss_that_is_not_finite_is_the_error_of_fit_svi_with_what_was_fitted_until_then():
    """The largest numbers of float32 have infinite squares, so rows of the third epoch are those that fail."""
    rows, seen = torch.rand(20, 1, 8, 8), []

    def damaged(x):
        seen.append(len(x))
        return x if len(seen) <= 3 else torch.full_like(x, 3e38)  # the first call is the check of the rows

    autoencoder = make()
    with pytest.raises(NonFiniteLossError, match=r"at epoch 3\. The weights of epoch 2 were put back") as caught:
        fit_autoencoder(autoencoder, rows, train_transform=damaged, epochs=5, progress=False)
    error = caught.value
    assert isinstance(error, FloatingPointError)
    assert isinstance(error, RuntimeError)
    assert (error.epoch, error.step, error.site) == (3, None, None)
    assert isinstance(error.result, LossResult)
    assert [terms["epoch"] for terms in error.result.history] == [1, 2]
    assert error.result.best_epoch == 2
    good = make()
    fit_autoencoder(good, rows, epochs=2, progress=False)
    assert all(torch.equal(value, good.state_dict()[name]) for name, value in autoencoder.state_dict().items())


@pytest.mark.parametrize(
    ("make_corruption", "message"),
    [
        (lambda: GaussianNoise(0.0), "GaussianNoise: scale is 0.0; expected a positive number"),
        (lambda: Masking(1.5), "Masking: fraction is 1.5; expected a probability"),
        (lambda: SaltAndPepper(-0.1), "SaltAndPepper: fraction is -0.1"),
        (lambda: Translation(0), "Translation: max_shift is 0; expected a positive whole number"),
        (lambda: Translation(1.5), "Translation: max_shift is 1.5"),
        (lambda: Translation(1)(torch.zeros(5, 8)), r"rows have shape \(8,\); expected images .*use Masking"),
    ],
)
def test_corruptions_check_their_numbers(make_corruption, message):
    with pytest.raises(ValueError, match=message):
        make_corruption()


def test_corruptions_do_what_they_say():
    """Fractions and moments of 100,000 entries at 5 standard errors: a false alarm in 1 of 300,000 seeds."""
    x = torch.full((1000, 100), 0.5)
    torch.manual_seed(0)
    noisy = GaussianNoise(0.2)(x) - x
    assert abs(noisy.mean()) < 5 * 0.2 / 1e5**0.5
    assert abs(noisy.std() - 0.2) < 5 * 0.2 / 2e5**0.5
    error = 5 * (0.3 * 0.7 / 1e5) ** 0.5
    assert abs((Masking(0.3, value=-1.0)(x) == -1).float().mean() - 0.3) < error
    peppered = SaltAndPepper(0.3)(x)
    assert abs((peppered != 0.5).float().mean() - 0.3) < error
    assert abs((peppered == 1).float().mean() - 0.15) < error


def test_images_move_whole_each_by_its_own_shift():
    """Each of the 25 shifts of 25,000 images, at 5 standard errors: a false alarm in 1 of 70,000 seeds."""
    torch.manual_seed(0)
    image = torch.rand(3, 6, 5)
    moved = Translation(2, value=-1.0)(image.expand(50, 500, 3, 6, 5))
    assert moved.shape == (50, 500, 3, 6, 5)
    framed = np.full((3, 10, 9), -1.0, dtype=np.float32)
    framed[:, 2:8, 2:7] = image.numpy()
    windows = [framed[:, down : down + 6, right : right + 5] for down in range(5) for right in range(5)]
    counts = [int((moved == torch.from_numpy(window)).flatten(2).all(-1).sum()) for window in windows]
    assert sum(counts) == 25_000
    error = 5 * (25_000 * 0.04 * 0.96) ** 0.5
    assert all(abs(count - 1000) < error for count in counts)


def test_a_checkpoint_of_another_loss_or_corruption_is_refused(tmp_path):
    x, options = torch.rand(40, 6), {"epochs": 2, "batch_size": 20, "progress": False, "checkpoints": tmp_path}

    def made(loss="squared_error", corruption=None):
        return Autoencoder(networks.MLP(6, 2), networks.MLP(2, 6), loss=loss, corruption=corruption)

    fit_autoencoder(made(corruption=Masking(0.1)), x, **options)
    for other, transform in (
        (made("cross_entropy", Masking(0.1)), None),
        (made(corruption=Masking(0.9)), None),
        (made(), None),
        (made(corruption=Masking(0.1)), torch.zeros_like),
    ):
        with pytest.raises(ValueError, match="and was"):
            fit_autoencoder(other, x, train_transform=transform, resume=True, **options)
    assert len(fit_autoencoder(made(corruption=Masking(0.1)), x, resume=True, **options).history) == 2


def test_looking_at_an_autoencoder_runs_it_in_evaluation_mode():
    """Rows depend on no others, and a fit leaves it in training mode."""
    x = torch.rand(40, 6)
    autoencoder = Autoencoder(
        networks.MLP(6, 2, (8,), normalization="batch"), networks.MLP(2, 6, (8,), normalization="batch")
    )
    fit_autoencoder(autoencoder, x, epochs=2, batch_size=20, progress=False)
    before = {name: value.clone() for name, value in autoencoder.state_dict().items()}
    torch.testing.assert_close(autoencoder.reconstruct(x[:1]), autoencoder.reconstruct(x)[:1])
    torch.testing.assert_close(autoencoder.interpolate(x[:1], x[1:2], 2)[0], autoencoder.reconstruct(x[:1]))
    assert all(torch.equal(value, before[name]) for name, value in autoencoder.state_dict().items())
    assert autoencoder.training


def test_epochs_are_judged_in_evaluation_mode_and_modes_are_put_back():
    modes = []

    class Noted(torch.nn.Identity):
        def forward(self, rows):
            modes.append(self.training)
            return rows

    autoencoder = Autoencoder(torch.nn.Sequential(networks.MLP(6, 2), Noted()), networks.MLP(2, 6))
    autoencoder.decoder.eval()
    x = torch.rand(40, 6)
    fit_autoencoder(autoencoder, x, validation=x, epochs=2, batch_size=20, progress=False)
    assert modes == 2 * [True, True, False, False]
    assert autoencoder.training
    assert not any(part.training for part in autoencoder.decoder.modules())


def test_rows_that_the_networks_cannot_take_are_named():
    x, options = torch.rand(40, 6), {"epochs": 1, "batch_size": 20, "progress": False}
    with pytest.raises(ValueError, match=r"train is of type torch.float64 and the weights are of torch.float32: give"):
        fit_autoencoder(Autoencoder(networks.MLP(6, 2), networks.MLP(2, 6)), x.double(), **options)
    bits = Autoencoder(networks.MLP(6, 2), networks.MLP(2, 6), loss="cross_entropy")
    with pytest.raises(ValueError, match="train after train_transform has values from"):
        fit_autoencoder(bits, x, train_transform=lambda rows: 5 * rows, **options)
    with pytest.raises(TypeError, match=r"pretrain_layers\(\) got an unexpected keyword argument 'validation'"):
        pretrain_layers(Autoencoder(networks.MLP(6, 2), networks.MLP(2, 6)), x, validation=x, **options)


@pytest.mark.parametrize(("best_epoch", "expected"), [(18, False), (19, True), (20, True)])
def test_an_autoencoder_still_improves_where_its_best_epoch_is_among_the_last_tenth(best_epoch, expected):
    assert still_improving(LossResult([], best_epoch, stopped_early=False), epochs=20) is expected
