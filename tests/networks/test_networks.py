"""One contract for all networks."""

import inspect
import io
from math import prod
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pyrovae import likelihoods, networks
from pyrovae.networks.activations import Activation
from pyrovae.networks.normalization import Normalization

IMAGES = [(1, 28, 28), (3, 32, 32), (1, 28, 20), (1, 8, 8), (1, 5, 7), (2, 4, 9)]
ENCODERS = ["MLP", "ConvEncoder", "ResidualMLP", "ResidualEncoder"]
DECODERS = ["MLP", "ConvDecoder", "ResidualMLP", "ResidualDecoder"]
SMALL = {
    "MLP": {"hidden_dims": (8, 4)},
    "ConvEncoder": {"channels": (4, 6)},
    "ConvDecoder": {"channels": (6, 4)},
    "ResidualMLP": {"hidden_dim": 8},
    "ResidualEncoder": {"channels": (4, 6)},
    "ResidualDecoder": {"channels": (6, 4)},
}
# Each network both ways that it can be used, on images of odd size.
BOTH = [(name, (1, 5, 7), (4,)) for name in ENCODERS] + [(name, (3,), (2, 1, 5, 7)) for name in DECODERS]


def make(name, inputs, outputs, **arguments):
    return getattr(networks, name)(inputs, outputs, **SMALL[name], **arguments)


def test_all_networks_are_tested():
    # Those of tables have tests of their own.
    assert {*ENCODERS, *DECODERS, "ColumnEncoder"} == set(networks.__all__)


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("batch_shape", [(), (5,), (2, 5), (0,)])
def test_shapes(image, batch_shape):
    for name in ENCODERS:
        assert getattr(networks, name)(image, 14)(torch.zeros(*batch_shape, *image)).shape == (*batch_shape, 14)
    for name in DECODERS:
        for output_shape in (image, (3, *image)):
            decoder = getattr(networks, name)(7, output_shape)
            assert decoder(torch.zeros(*batch_shape, 7)).shape == (*batch_shape, *output_shape)


@pytest.mark.parametrize(("name", "inputs", "outputs"), BOTH)
@pytest.mark.parametrize("normalization", get_args(Normalization))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_leading_dimensions_are_rows_and_evaluation_is_deterministic(name, inputs, outputs, normalization, dtype):
    network = make(name, inputs, outputs, normalization=normalization).to(dtype)
    x = torch.randn(2, 5, *inputs, dtype=dtype)
    network(x)
    network.eval()
    whole = network(x)
    assert whole.dtype == dtype
    assert torch.equal(whole, network(x))
    torch.testing.assert_close(whole[1, 2], network(x[1, 2]))
    if normalization != "batch":
        torch.testing.assert_close(network.train()(x), whole)


@pytest.mark.parametrize(("name", "inputs", "outputs"), BOTH)
@pytest.mark.parametrize("normalization", get_args(Normalization))
def test_a_gradient_reaches_every_parameter(name, inputs, outputs, normalization):
    network = make(name, inputs, outputs, normalization=normalization, activation="elu").double()
    (network(torch.randn(6, *inputs).double()) ** 2).sum().backward()
    for parameter_name, parameter in network.named_parameters():
        # A parameter whose effect is normalised away would have rounding errors only.
        assert parameter.grad.abs().max() > 1e-9, parameter_name


@pytest.mark.parametrize(("name", "inputs", "outputs"), BOTH)
def test_the_output_bias_moves_the_output_to_the_value(name, inputs, outputs):
    network = make(name, inputs, outputs).double()
    x = torch.randn(5, *inputs).double()
    last = network.layers[-1]
    with torch.no_grad():
        last.weight.zero_()
    value = torch.randn(outputs).double()
    assert network.set_output_bias(value) is None
    if isinstance(last, nn.ConvTranspose2d):
        expected = value.mean((-2, -1), keepdim=True).expand(outputs)
        assert len(last.bias) == prod(outputs[:-2])
    else:
        expected = value
    torch.testing.assert_close(network(x), expected.expand(5, *outputs), rtol=0, atol=1e-15)
    assert last.bias.requires_grad


def test_the_output_bias_adds_and_leaves_the_weights_alone():
    network = make("MLP", 3, (2, 4))
    x, value = torch.randn(5, 3), torch.randn(2, 4)
    before, old = network(x), network.layers[-1].bias.detach().clone()
    network.set_output_bias(value)
    torch.testing.assert_close(network(x) - before, (value - old.reshape(2, 4)).expand(5, 2, 4))


@pytest.mark.parametrize("name", DECODERS)
def test_a_likelihood_starts_at_the_mean_as_far_as_the_bias_can_say(name):
    likelihood = likelihoods.Bernoulli(make(name, 3, (2, 6, 5)), start_at_mean=True).double()
    rows = torch.bernoulli(torch.linspace(0.05, 0.95, 60).double().reshape(2, 6, 5).expand(50, 2, 6, 5))
    with torch.no_grad():
        likelihood.decoder.layers[-1].weight.zero_()
    likelihood.initialize(rows)
    pixels = name in ("ConvDecoder", "ResidualDecoder")
    assert likelihood.decoder.bias_dims == (2 if pixels else 0)
    # Log-odds of the mean of a channel, not the mean of its pixels' log-odds.
    expected = rows.mean((0, 2, 3))[:, None, None].expand(2, 6, 5) if pixels else rows.mean(0).clamp(0.001, 0.999)
    torch.testing.assert_close(likelihood(torch.zeros(3).double()).mean, expected)


def test_mlp_without_hidden_layers_is_linear():
    network = networks.MLP(3, (2, 2), ())
    a, b = torch.randn(2, 3)
    torch.testing.assert_close(network(a) + network(b), network(a + b) + network(torch.zeros(3)))
    assert [type(layer).__name__ for layer in network.layers] == ["Linear"]


@pytest.mark.parametrize("activation", get_args(Activation))
def test_activations_by_name(activation):
    layer = networks.MLP(2, 2, (4,), activation).layers[1]
    x = torch.randn(5)
    torch.testing.assert_close(layer(x), getattr(F, activation)(x))


def test_batch_normalisation_is_over_all_leading_dimensions():
    network = networks.MLP(3, 2, (8,), normalization="batch").double()
    x = torch.randn(4, 5, 3).double()
    linear, norm, _, last = network.layers
    h = x @ linear.weight.T
    mean, variance = h.mean((0, 1)), h.var((0, 1), unbiased=False)
    scaled = (h - mean) / (variance + norm.eps).sqrt() * norm.weight + norm.bias
    expected = torch.relu(scaled) @ last.weight.T + last.bias
    torch.testing.assert_close(network(x), expected)
    torch.testing.assert_close(norm.running_mean, 0.1 * mean.detach())
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * h.detach().var((0, 1)))
    network.eval()
    scaled = (h - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
    torch.testing.assert_close(network(x), torch.relu(scaled) @ last.weight.T + last.bias)


def test_convolutional_normalisations_are_those_of_torch():
    x = torch.randn(2, 3, 2, 6, 7).double()
    rows = x.reshape(6, 2, 6, 7)
    for normalization, normalise in {
        "batch": lambda h: F.batch_norm(h, None, None, training=True),
        "layer": lambda h: F.layer_norm(h, h.shape[1:]),
        "group": lambda h: F.instance_norm(h.reshape(6, 2, -1)).reshape(h.shape),
    }.items():
        network = networks.ConvEncoder((2, 6, 7), 4, channels=(32,), normalization=normalization).double()
        convolution, _, _, _, last = network.layers
        h = normalise(F.conv2d(rows, convolution.weight, convolution.bias, stride=2, padding=1))
        torch.testing.assert_close(network(x), last(torch.relu(h).flatten(1)).reshape(2, 3, 4))


def test_residual_networks_are_what_the_paper_says():
    network = networks.ResidualEncoder((1, 8, 8), 4, channels=(6,), normalization="group", activation="silu").double()
    stem, block, norm, _, _, last = network.layers
    x = torch.randn(5, 1, 8, 8).double()
    norm_1, _, conv_1, norm_2, _, conv_2 = block.layers
    h = stem(x)
    inner = F.conv2d(F.silu(norm_1(h)), conv_1.weight, conv_1.bias, padding=1)
    h = h + F.conv2d(F.silu(norm_2(inner)), conv_2.weight, conv_2.bias, padding=1)
    torch.testing.assert_close(network(x), last(F.silu(norm(h)).flatten(1)))


def test_a_residual_network_without_what_its_blocks_add_is_its_skip_path():
    network = networks.ResidualMLP(3, 2, hidden_dim=8, num_blocks=3)
    first, *blocks, _, last = network.layers
    assert len(blocks) == 3
    with torch.no_grad():
        for block in blocks:
            block.layers[-1].weight.zero_()
            block.layers[-1].bias.zero_()
    x = torch.randn(5, 3)
    torch.testing.assert_close(network(x), last(torch.relu(first(x))))


@pytest.mark.parametrize(("name", "inputs", "outputs"), BOTH)
def test_the_command_line_can_fill_in_and_offer_every_argument(name, inputs, outputs):
    network = getattr(networks, name)
    parameters = inspect.signature(network).parameters
    assert list(parameters)[:2] == ["input_shape", "output_shape"]
    assert all(p.default is not p.empty for p in list(parameters.values())[2:])
    assert {"activation", "normalization"} <= parameters.keys()
    assert all(f"    {argument}: " in network.__doc__ for argument in parameters)


@pytest.mark.parametrize(("name", "inputs", "outputs"), BOTH)
def test_stored_and_loaded_without_pickled_code(name, inputs, outputs):
    network, other = (make(name, inputs, outputs, normalization="batch") for _ in range(2))
    x = torch.randn(5, *inputs)
    network(x)
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(network.eval()(x), other.eval()(x))
    assert repr(network).startswith(name)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: networks.MLP(0, 2), "input_shape is 0"),
        (lambda: networks.MLP(2, (3, -1)), r"output_shape is \(3, -1\)"),
        (lambda: networks.MLP(2, 2, (0,)), "hidden_dims"),
        (lambda: networks.MLP(2, 2, activation="relo"), "expected one of elu, gelu"),
        (lambda: networks.MLP(2, 2, normalization="bath"), "expected one of none, batch, layer, group"),
        (lambda: networks.MLP(2, 2, (1,), normalization="layer"), "'layer' for a layer of width 1"),
        (lambda: networks.MLP(2, 2, normalization="batch")(torch.zeros(2)), "one row in training"),
        (lambda: networks.MLP((1, 8, 8), 2)(torch.zeros(3, 64)), r"shape \(3, 64\); expected \(..., 1, 8, 8\)"),
        (lambda: networks.ConvEncoder((64,), 2), r"input_shape is \(64,\).*use MLP for data that are not images"),
        (lambda: networks.ConvDecoder(2, (64,)), r"output_shape is \(64,\).*use MLP for data that are not images"),
        (lambda: networks.ConvEncoder((1, 8, 8), 2, channels=(4, 4, 4, 4)), "8 x 8 pixels to nothing: give 3 at most"),
        (lambda: networks.ResidualEncoder((1, 3, 9), 2), "channels has 2 entries.*give 1 at most"),
        (lambda: networks.ResidualEncoder((1, 1, 20), 2), "1 x 20 pixels to nothing: use MLP for images this small"),
        (lambda: networks.ResidualDecoder(2, (1, 20, 1)), "20 x 1 pixels to nothing: use MLP for images this small"),
        (lambda: networks.ResidualDecoder(2, (1, 1, 1, 8, 8)), r"or \(parameters, channels, height, width\)"),
        (lambda: networks.ResidualEncoder((1, 8, 8), 2, num_blocks=0), r"num_blocks is \(0,\)"),
        (lambda: networks.ResidualMLP(3, 2, hidden_dim=0), r"hidden_dim is \(0,\)"),
        (lambda: networks.ConvDecoder(2, (1, 28, 28))(torch.zeros(4, 3)), "ConvDecoder got an input"),
        (
            lambda: networks.ConvDecoder(2, (1, 8, 8)).set_output_bias(torch.zeros(8, 8)),
            r"ConvDecoder.set_output_bias got a value of shape \(8, 8\); expected the network's output_shape",
        ),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("hidden_dims", [(), (8, 4)])
@pytest.mark.parametrize("normalization", get_args(Normalization))
def test_vectors_end_to_end_are_one_vector(hidden_dims, normalization):
    network = networks.MLP(3 + 2 + 4, (2, 5), hidden_dims, normalization=normalization).double()
    a, b, c = (torch.randn(*shape, dtype=torch.float64) for shape in ((6, 3), (7, 1, 2), (4,)))
    joined = torch.cat([part.expand(7, 6, -1) for part in (a, b, c)], -1)
    torch.testing.assert_close(network((a, b, c)), network(joined), rtol=0, atol=1e-12)
    parameters = list(network.parameters())
    for one, other in zip(
        torch.autograd.grad(network((a, b, c)).square().sum(), parameters),
        torch.autograd.grad(network(joined).square().sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def test_vectors_of_another_size_together_are_refused():
    with pytest.raises(ValueError, match=r"vectors of 3 and 2 entries.*input_shape \(9,\).*for their sum"):
        networks.MLP(9, 2)((torch.zeros(3), torch.zeros(2)))
