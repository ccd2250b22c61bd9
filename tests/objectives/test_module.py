"""An objective as a module: the numbers and the optimum of a hand-written loop, and nothing left behind."""

import copy

import pyro
import pyro.distributions as dist
import pytest
import torch
from kinds_of_pairs import PAIRS
from problems import LinearGaussian, small_vae
from torch import nn
from torch.distributed import destroy_process_group, init_process_group
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from pyrovae import VAE, ObjectiveModule, compare_bounds, fit_svi, likelihoods, networks, posteriors, priors
from pyrovae.objectives import Linear

X = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))


def linear_vae(seed=0):
    torch.manual_seed(seed)
    return VAE(
        priors.StandardNormal(2),
        likelihoods.Normal(networks.MLP(2, 4, ()), scale=0.5),
        posteriors.DiagonalNormal(networks.MLP(4, 4, ())),
    )


def written_by_hand(vae, x, beta=1.0):
    """The ELBO of a batch with its KL in closed form, from the next noise of the generator."""
    loc, scale = vae.encode(x).base_dist.loc, vae.encode(x).base_dist.scale
    z = loc + scale * torch.normal(torch.zeros_like(loc), torch.ones_like(loc))
    decoded = vae.likelihood.decoder(z)
    log_likelihood = torch.distributions.Normal(decoded, 0.5).log_prob(x).sum(-1)
    kl = (scale.square() + loc.square() - 1 - 2 * scale.log()).sum(-1) / 2
    return (log_likelihood - beta * kl).mean(), log_likelihood.mean(), kl.mean()


def programs_of_statements():
    """Functions with a value of ``pyro.param`` and a network that is in no module of theirs."""
    encoder = nn.Linear(4, 2)

    def model(x):
        loc = pyro.param("loc", torch.zeros(4))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(loc + z.sum(-1, keepdim=True), 1.0).to_event(1), obs=x)

    def guide(x):
        pyro.module("encoder", encoder)
        scale = pyro.param("scale", torch.ones(2), constraint=dist.constraints.positive)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(encoder(x), scale).to_event(1))

    return model, guide, encoder


def test_terms_and_gradients_are_those_written_by_hand():
    vae = linear_vae()
    objective = ObjectiveModule(vae.model, vae.guide, X, beta=Linear(0.0, 2.0, 1.0))
    for progress, beta in ((0.25, 0.5), (1.0, 2.0)):
        torch.manual_seed(1)
        terms = objective(X, progress)
        terms.loss.backward()
        found = [parameter.grad.clone() for parameter in vae.parameters()]
        vae.zero_grad()
        torch.manual_seed(1)
        value, reconstruction, kl = written_by_hand(vae, X, beta)
        (-value).backward()
        torch.testing.assert_close(terms.loss, -value)
        torch.testing.assert_close(terms.elbo, (reconstruction - kl).detach())
        torch.testing.assert_close(terms.kl, kl.detach())
        torch.testing.assert_close(found, [parameter.grad for parameter in vae.parameters()])
        vae.zero_grad()


def test_a_loop_comes_to_the_optimum_of_probabilistic_pca():
    """Its maximum likelihood in closed form, with the scale of the noise held; within 0.01 nats per row."""
    exact = LinearGaussian.random(4, 2, seed=3)
    exact.scale = 0.5
    x = exact.rows(300)
    centred = x - x.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(x))
    loadings = vectors[:, -2:] * (values[-2:] - 0.25).clamp(min=0).sqrt()
    best = LinearGaussian(loadings, x.mean(0), 0.5).log_px(x).mean().item()
    vae = linear_vae().double()
    objective = ObjectiveModule(vae.model, vae.guide, x, num_particles=4)
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.03)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1500)
    for _ in range(1500):
        optimizer.zero_grad()
        objective(x).loss.backward()
        optimizer.step()
        rates.step()
    weight, bias = (parameter.detach() for parameter in vae.likelihood.decoder.parameters())
    fitted = LinearGaussian(weight, bias, 0.5).log_px(x).mean().item()
    assert best - 0.01 < fitted <= best + 1e-9
    assert not pyro.get_param_store().keys()


def test_values_of_statements_move_and_evaluations_have_them_as_they_are():
    model, guide, encoder = programs_of_statements()
    objective = ObjectiveModule(model, guide, X + 3)
    assert {parameter.shape for parameter in objective.parameters()} == {(4,), (2,), (2, 4)}
    assert all(any(own is parameter for parameter in objective.parameters()) for own in encoder.parameters())
    before = compare_bounds(model, guide, X + 3, num_samples=20, progress=False).elbo.mean()
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        terms = objective(X + 3)
        terms.loss.backward()
        optimizer.step()
    bounds = compare_bounds(model, guide, X + 3, num_samples=500, progress=False)
    assert bounds.elbo.mean() > before + 10
    # The loop had one draw of each row, of 500 here: five standard errors, a false alarm in 1 of 1.7 million seeds.
    error = (501 * bounds.elbo_standard_error.square().sum()).sqrt() / len(X)
    with torch.no_grad():
        assert abs(bounds.elbo.mean() - objective(X + 3).elbo) < 5 * error
    assert not pyro.get_param_store().keys()
    # A fit goes on from them.
    fitted = fit_svi(model, guide, X + 3, epochs=1, batch_size=40, lr=1e-6, progress=False)
    assert fitted.history[0]["train_elbo"] > before + 10


def test_a_statement_that_begins_with_a_parameter_moves_that_one():
    _, guide, _ = programs_of_statements()
    slope = nn.Parameter(torch.ones(4))

    def scaled(x):
        own = pyro.param("slope", slope)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(own * z.sum(-1, keepdim=True), 1.0).to_event(1), obs=x)

    objective = ObjectiveModule(scaled, guide, X)
    assert len(list(objective.parameters())) == 4
    objective(X).loss.backward()
    assert all(parameter.grad is not None for parameter in objective.parameters())
    assert slope.grad.any()


@pytest.mark.parametrize("kind", PAIRS)
def test_a_step_of_a_loop_moves_what_a_fit_moves(kind):
    make, rows = PAIRS[kind]
    pair, fitted, x = make(), make(), rows(40)
    before = {name: parameter.detach().clone() for name, parameter in fitted.named_parameters()}
    fit_svi(fitted.model, fitted.guide, x, objective="Trace_ELBO", epochs=1, batch_size=40, progress=False)
    moved = {name for name, parameter in fitted.named_parameters() if not torch.equal(parameter, before[name])}
    objective = ObjectiveModule(pair.model, pair.guide, x, "Trace_ELBO")
    assert {id(p) for p in objective.parameters()} == {id(p) for p in pair.parameters() if p.requires_grad}
    objective(x).loss.backward()
    assert {name for name, parameter in pair.named_parameters() if parameter.grad is not None} == moved


def test_pairs_of_equal_names_do_not_meet():
    pairs = [programs_of_statements(), programs_of_statements()]
    objectives = [ObjectiveModule(model, guide, X) for model, guide, _ in pairs]
    for objective, shift in zip(objectives, (5.0, -5.0), strict=True):
        optimizer = torch.optim.Adam(objective.parameters(), lr=0.1)
        for _ in range(100):
            optimizer.zero_grad()
            objective(X + shift).loss.backward()
            optimizer.step()
    locs = [next(p for p in objective.other_parameters if p.shape == (4,)) for objective in objectives]
    assert (locs[0] > 1).all()
    assert (locs[1] < -1).all()


def test_modes_are_the_loops_and_validation_moves_nothing():
    torch.manual_seed(0)
    vae = small_vae((4,))
    vae.posterior.encoder = nn.Sequential(nn.BatchNorm1d(4), vae.posterior.encoder)
    x = (X > 0).float()
    objective = ObjectiveModule(vae.model, vae.guide, x)
    norm = vae.posterior.encoder[0]
    assert (vae.training, norm.num_batches_tracked) == (True, 0)
    objective(x)
    assert norm.num_batches_tracked == 1
    objective.eval()
    assert not vae.training
    for without_gradients in (torch.no_grad, torch.inference_mode):
        with without_gradients():
            assert not objective(x).loss.requires_grad
    assert norm.num_batches_tracked == 1


def test_weights_are_stored_once_and_come_back():
    vae, other = linear_vae(0), linear_vae(1)
    stored = ObjectiveModule(vae.model, vae.guide, X).state_dict()
    assert sum(value.numel() for value in stored.values()) == sum(value.numel() for value in vae.state_dict().values())
    ObjectiveModule(other.model, other.guide, X).load_state_dict(stored)
    torch.testing.assert_close(dict(vae.named_parameters()), dict(other.named_parameters()))


def test_averages_of_weights_are_of_copies_with_their_own_programs():
    vae = linear_vae()
    objective = ObjectiveModule(vae.model, vae.guide, X)
    averaged = AveragedModel(objective)
    assert averaged.module.sampler.model.__self__ is not vae
    torch.manual_seed(1)
    before = averaged(X).elbo
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.add_(1.0)
    torch.manual_seed(1)
    assert torch.equal(averaged(X).elbo, before)
    model, guide, _ = programs_of_statements()
    with pytest.raises(ValueError, match="a function cannot be copied with the networks"):
        copy.deepcopy(ObjectiveModule(model, guide, X))


def test_it_runs_under_distributed_data_parallel(tmp_path):
    vae = linear_vae()
    objective = ObjectiveModule(vae.model, vae.guide, X)
    init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        torch.manual_seed(1)
        DistributedDataParallel(objective)(X).loss.backward()
    finally:
        destroy_process_group()
    found = [parameter.grad.clone() for parameter in vae.parameters()]
    vae.zero_grad()
    torch.manual_seed(1)
    objective(X).loss.backward()
    torch.testing.assert_close(found, [parameter.grad for parameter in vae.parameters()])


def discrete(statement):
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(0.5))
            pyro.sample("x", dist.Normal(z[..., None].expand(*z.shape, 4), 1.0).to_event(1), obs=x)

    def guide(x):
        slope = statement("slope", torch.tensor(1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(logits=x.mean(-1) * slope))

    return model, guide


def test_what_a_fit_refuses_is_refused_here():
    vae = small_vae((4,))
    bits = (X > 0).float()
    with pytest.raises(ValueError, match="binarise the grey values"):
        ObjectiveModule(vae.model, vae.guide, bits / 2)
    with pytest.raises(ValueError, match="objective is 'ELBO'; expected one of"):
        ObjectiveModule(vae.model, vae.guide, bits, "ELBO")
    with pytest.raises(ValueError, match="train has NaN or infinite values"):
        ObjectiveModule(vae.model, vae.guide, bits / 0)
    with pytest.raises(ValueError, match="different latent sites"):
        ObjectiveModule(vae.model, lambda x: None, bits)
    with pytest.raises(ValueError, match="needs latents drawn by reparameterisation"):
        ObjectiveModule(*discrete(pyro.param), X)
    with pytest.raises(ValueError, match="have no trainable parameters"):
        ObjectiveModule(*discrete(lambda _, value: value), X, "Trace_ELBO")
    objective = ObjectiveModule(vae.model, vae.guide, bits)
    with pytest.raises(ValueError, match="progress is 2; expected a number from 0 to 1"):
        objective(bits, 2)
    with pytest.raises(ValueError, match="x is a list; expected a tensor"):
        objective([bits])
