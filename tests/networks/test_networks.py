import pytest
import torch

from pyrovae import networks


@pytest.mark.parametrize("data_shape", [(1, 28, 28), (3, 28, 28), (1, 32, 32), (3, 32, 32), (1, 28, 20), (1, 9, 7)])
@pytest.mark.parametrize("batch_shape", [(), (5,), (2, 5)])
def test_convolutional_networks_fit_the_images(data_shape, batch_shape):
    encoder, decoder = networks.ConvEncoder(data_shape, 14), networks.ConvDecoder(7, data_shape)
    assert encoder(torch.zeros(*batch_shape, *data_shape)).shape == (*batch_shape, 14)
    assert decoder(torch.zeros(*batch_shape, 7)).shape == (*batch_shape, *data_shape)


def test_leading_dimensions_are_rows():
    x = torch.randn(2, 5, 1, 8, 8)
    for network in (networks.MLP((1, 8, 8), 3), networks.ConvEncoder((1, 8, 8), 3)):
        torch.testing.assert_close(network(x)[1, 2], network(x[1, 2]))


def test_mlp_without_hidden_layers_is_linear():
    network = networks.MLP(3, (2, 2), ())
    a, b = torch.randn(2, 3)
    torch.testing.assert_close(network(a) + network(b), network(a + b) + network(torch.zeros(3)))
    assert [type(layer).__name__ for layer in network.layers] == ["Linear"]


@pytest.mark.parametrize("activation", ["elu", "gelu", "leaky_relu", "relu", "sigmoid", "silu", "softplus", "tanh"])
def test_activations_by_name(activation):
    layer = networks.MLP(2, 2, (4,), activation).layers[1]
    x = torch.randn(5)
    torch.testing.assert_close(layer(x), getattr(torch.nn.functional, activation)(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: networks.MLP(0, 2), "input_shape is 0"),
        (lambda: networks.MLP(2, (3, -1)), r"output_shape is \(3, -1\)"),
        (lambda: networks.MLP(2, 2, (0,)), "hidden_dims"),
        (lambda: networks.MLP(2, 2, activation="relo"), "expected one of elu, gelu"),
        (lambda: networks.MLP((1, 8, 8), 2)(torch.zeros(3, 64)), r"shape \(3, 64\); expected \(..., 1, 8, 8\)"),
        (lambda: networks.ConvEncoder((64,), 2), "use MLP for data that are not images"),
        (lambda: networks.ConvEncoder((1, 8, 8), 2, channels=(4, 4, 4, 4)), "to nothing: give fewer channels"),
        (lambda: networks.ConvDecoder(2, (1, 28, 28))(torch.zeros(4, 3)), "ConvDecoder got an input"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
