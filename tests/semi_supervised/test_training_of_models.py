"""How the semi-supervised models are trained."""

import numpy as np
import pytest
import torch
from few_labels import SMALL, TRUTH, X, Y
from problems import bits

from pyrovae import NonFiniteLossError, likelihoods, networks
from pyrovae.data import Translation
from pyrovae.semi_supervised import M1, M2, PCVAE, CorruptedInput, DropoutConv


@pytest.mark.parametrize("kind", [M2, PCVAE])
def test_with_validation_the_best_epoch_is_kept(kind):
    held_out = (bits(60, seed=1), np.where(np.arange(60) < 50, np.arange(60) % 3, -1))
    model = kind(**{**SMALL, "epochs": 6}).fit(X, Y, held_out)
    judged = [(terms["validation_accuracy"], -terms["validation_cross_entropy"]) for terms in model.history_]
    assert model.best_epoch_ == 1 + judged.index(max(judged))
    assert model.score(*held_out) == pytest.approx(max(judged)[0])


@pytest.mark.parametrize("kind", [M2, PCVAE])
def test_all_rows_may_have_labels(kind):
    model = kind(**SMALL).fit(X, TRUTH)
    assert len(model.history_) == 2
    assert "train_unlabelled_elbo" not in model.history_[0]


@pytest.mark.parametrize("kind", [M2, PCVAE])
def test_training_that_diverges_says_so_and_keeps_the_last_good_weights(kind):
    model = kind(**{**SMALL, "lr": 1e30})
    with pytest.raises(NonFiniteLossError, match="the loss is not finite at epoch 1"):
        model.fit(X, Y)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in model.programs_.parameters())


@pytest.mark.parametrize("kind", [M1, M2, PCVAE])
def test_train_transform_is_applied_to_each_batch(kind):
    sizes = []

    def invert(rows):
        sizes.append(len(rows))
        return 1 - rows

    plain = kind(**SMALL).fit(1 - X, Y)
    turned = kind(**SMALL, train_transform=invert).fit(X, Y)
    assert turned.history_[-1]["train_elbo"] == plain.history_[-1]["train_elbo"]
    assert sizes.count(20) >= 8


def test_bounds_of_many_rows_count_the_rows_as_they_were_given():
    model = M2(**SMALL).fit(X, Y)
    many = X.repeat(12, 1, 1, 1)
    many[1150] = 0.5
    with pytest.raises(ValueError, match=r"row 1150 has the value 0\.5"):
        model.unlabelled_bounds(many)


@pytest.mark.parametrize(
    "draw",
    [
        lambda model, seed: model.sample(2, 5, seed=seed),
        lambda model, seed: model.labelled_bounds(X, TRUTH, seed=seed),
        lambda model, seed: model.unlabelled_bounds(X, seed=seed),
    ],
    ids=["sample", "labelled_bounds", "unlabelled_bounds"],
)
def test_samples_and_bounds_are_those_of_their_seed(draw):
    model = M2(**SMALL).fit(X, Y)
    assert torch.equal(draw(model, 1), draw(model, 1))
    assert not torch.equal(draw(model, 1), draw(model, 0))


def test_the_prediction_loss_of_many_draws_is_their_mean():
    programs, y = PCVAE(**SMALL).fit(X, Y).programs_, torch.as_tensor(TRUTH)
    torch.manual_seed(0)
    found = programs.cross_entropy(X, y, num_samples=4)
    torch.manual_seed(0)
    draws = programs.encode(X).rsample((4,))
    by_hand = torch.stack([-programs.classifier(z).log_softmax(-1)[torch.arange(100), y] for z in draws])
    torch.testing.assert_close(found, by_hand.mean(0))
    assert (by_hand.std(0) > 0).all()


def test_networks_that_see_corrupted_inputs_see_them_in_training_only():
    x = bits(50, (1, 8, 8))
    corrupted = CorruptedInput(torch.nn.Identity(), Translation(2))
    torch.manual_seed(0)
    moved = corrupted(x)
    torch.manual_seed(0)
    torch.testing.assert_close(moved, Translation(2)(x), rtol=0, atol=0)
    assert torch.equal(corrupted.eval()(x), x)


def test_dropout_before_the_last_layer_of_convolutions():
    """In evaluation the plain network; in training its last layer's inputs are twice themselves or zero."""
    network, x = DropoutConv((1, 8, 8), 3, channels=(4, 6), dropout=0.5), bits(50, (1, 8, 8))
    *features, dropout, last = network.layers
    with torch.no_grad():
        inputs = torch.nn.Sequential(*features)(x)
        torch.testing.assert_close(network.eval()(x), last(inputs))
        network.train()
        torch.manual_seed(0)
        outputs = network(x)
        torch.manual_seed(0)
        kept = dropout(inputs)
        torch.testing.assert_close(outputs, last(kept))
    assert bool(((kept == 0) | (kept == 2 * inputs)).all())
    assert 0.4 < float((kept[inputs > 0] == 0).double().mean()) < 0.6


def test_the_history_has_means_over_rows():
    """The last batch has one row, and that is unlike all others."""
    torch.manual_seed(0)
    x, y = torch.zeros(22, 3), np.full(22, -1)
    x[:2], x[21], y[:2] = torch.randn(2, 3), 100.0, [0, 1]
    model = M2(
        latent_dim=2,
        hidden_dims=(4,),
        epochs=1,
        batch_size=19,
        lr=1e-12,
        progress=False,
        likelihood=lambda inputs, shape: likelihoods.Normal(networks.MLP(inputs, shape, (8,)), scale=1.0),
    ).fit(x, y)
    whole = model.unlabelled_bounds(x[2:], 2000).mean().item()
    # Means of batches would be half of it; of one draw for each row it is within a tenth with ten seeds.
    assert model.history_[0]["train_unlabelled_elbo"] == pytest.approx(whole, rel=0.3)
