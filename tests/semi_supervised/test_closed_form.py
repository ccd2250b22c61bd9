"""The KL of M2's z in closed form, and the draw where there is none."""

import pytest
import torch
from pyro.infer import Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO

from pyrovae import likelihoods, networks, posteriors, priors
from pyrovae.semi_supervised import M2Programs
from pyrovae.semi_supervised.closed_form import with_closed_form_kl

CLASSES, LATENT, DATA = 3, 4, 6
X = torch.bernoulli(torch.full((5, DATA), 0.4), generator=torch.Generator().manual_seed(0)).double()
Y = torch.tensor([0, 1, 2, 1, 0])
PRIORS = {
    "standard normal": lambda: priors.StandardNormal(LATENT),
    "mixture": lambda: priors.GaussianMixture(LATENT, num_components=3),
}


def programs(prior="standard normal"):
    torch.manual_seed(0)
    return M2Programs(
        PRIORS[prior](),
        likelihoods.Bernoulli(networks.MLP(LATENT + CLASSES, DATA, (5,), activation="tanh")),
        posteriors.DiagonalNormal(networks.MLP(DATA + CLASSES, 2 * LATENT, (5,), activation="tanh")),
        networks.MLP(DATA, CLASSES, (5,), activation="tanh"),
        torch.full((CLASSES,), 1 / CLASSES, dtype=torch.float64),
    ).double()


def loss_and_gradient(estimator, pair, parameters, *arguments):
    torch.manual_seed(1)
    loss = estimator.differentiable_loss(*pair, *arguments)
    return loss, torch.autograd.grad(loss, parameters, allow_unused=True)


def test_with_the_class_it_is_what_the_mean_field_estimator_gives():
    p = programs()
    parameters = [*p.likelihood.parameters(), *p.posterior.parameters()]
    ours = loss_and_gradient(Trace_ELBO(), with_closed_form_kl(p.model, p.guide, "z"), parameters, X, Y)
    theirs = loss_and_gradient(TraceMeanField_ELBO(), (p.model, p.guide), parameters, X, Y)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("arguments", [(X,), (X, Y)], ids=["without the class", "with it"])
def test_without_a_closed_form_nothing_changes(arguments):
    p = programs("mixture")
    estimator = TraceEnum_ELBO(max_plate_nesting=1) if len(arguments) == 1 else Trace_ELBO()
    parameters = list(p.parameters())
    ours = loss_and_gradient(estimator, with_closed_form_kl(p.model, p.guide, "z"), parameters, *arguments)
    plain = loss_and_gradient(estimator, (p.model, p.guide), parameters, *arguments)
    assert ours[0].item() == plain[0].item()
    assert all(a is b is None or torch.equal(a, b) for a, b in zip(ours[1], plain[1], strict=True))


def test_the_mean_is_the_same_and_the_gradient_of_the_encoder_less_noisy():
    """Means of 400 draws within five of their standard errors: a false alarm in 10^6 runs."""
    p, draws = programs(), 400
    # Weights as they are after some training, where q(z|x, y) is narrow.
    last = p.posterior.encoder.layers[-1]
    torch.nn.init.constant_(last.bias[LATENT:].detach(), -2.0)
    estimator, parameters = TraceEnum_ELBO(max_plate_nesting=1), list(p.posterior.parameters())
    pairs = {"closed": with_closed_form_kl(p.model, p.guide, "z"), "drawn": (p.model, p.guide)}
    losses, variances = {}, {}
    torch.manual_seed(2)
    for name, pair in pairs.items():
        values, gradients = [], []
        for _ in range(draws):
            loss = estimator.differentiable_loss(*pair, X)
            values.append(loss.detach())
            gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)]))
        losses[name] = torch.stack(values)
        variances[name] = torch.stack(gradients).var(0).sum()
    difference = losses["closed"].mean() - losses["drawn"].mean()
    error = ((losses["closed"].var() + losses["drawn"].var()) / draws).sqrt()
    assert abs(difference) < 5 * error
    assert variances["closed"] < 0.8 * variances["drawn"]
