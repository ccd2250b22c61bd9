"""Parts by name and by import path, and Pyro models of one's own, in ``python -m pyrovae.fit``."""

import json
import re

import numpy as np
import pytest
import torch
from fit_runs import OWN_MODEL, QUICK, RUN_FILES, rows_of, run

from pyrovae import compare_bounds, load, load_data


def test_parts_and_their_arguments_by_name(in_tmp):
    arguments = ["--likelihood", "Normal", "--likelihood.scale", "per_dimension", "--latent-dim", "3"]
    networks = ["--encoder", "ConvEncoder", "--encoder.channels", "[4, 8]", "--decoder", "ConvDecoder"]
    assert run(*QUICK, *arguments, *networks, "--decoder.channels", "[8, 4]", "--output-dir", "out") == 0
    vae = load("out").vae
    assert vae.likelihood.scale.shape == (1, 8, 8)
    assert type(vae.posterior.encoder).__name__ == "ConvEncoder"
    summary = json.loads((in_tmp / "out" / "summary.json").read_text())
    # Grey values stay as they are under a likelihood of real values.
    assert summary["data"]["support"] == "unit_interval"


OWN_PARTS = '''
import pyro.distributions as dist
import torch
from torch import nn


class MyPrior(nn.Module):
    """A wide prior."""

    def __init__(self, latent_dim: int, width: float = 2.0):
        super().__init__()
        self.log_width = nn.Parameter(torch.full((latent_dim,), width).log())

    def forward(self):
        return dist.Normal(torch.zeros_like(self.log_width), self.log_width.exp()).to_event(1)


class MyPoisson(nn.Module):
    def __init__(self, decoder: nn.Module):
        super().__init__()
        self.decoder = decoder

    def forward(self, z):
        rate = nn.functional.softplus(self.decoder(z)) + 1e-3
        return dist.Poisson(rate).to_event(rate.dim() - z.dim() + 1)
'''


def test_parts_of_ones_own_by_import_path(in_tmp):
    (in_tmp / "own_parts.py").write_text(OWN_PARTS)
    counts = np.random.default_rng(0).poisson(3.0, size=(200, 6))
    np.save(in_tmp / "counts.npy", counts)
    arguments = ["--data", "counts.npy", "--likelihood", "own_parts.MyPoisson", "--prior", "own_parts.MyPrior"]
    assert run(*QUICK, *arguments, "--prior.width", "3.0", "--batch-size", "50", "--output-dir", "out") == 0
    loaded = load("out")
    assert loaded.config["prior"]["init_args"] == {"width": 3.0}
    assert type(loaded.vae.likelihood).__name__ == "MyPoisson"
    assert {path.name for path in (in_tmp / "out").iterdir()} == RUN_FILES - {"report.html"}
    assert all(float(row["log_px"]) < 0 for row in rows_of(in_tmp / "out" / "evaluation.csv"))


def test_a_pyro_model_of_ones_own(in_tmp):
    (in_tmp / "own_model.py").write_text(OWN_MODEL)
    np.save(in_tmp / "table.npy", np.random.default_rng(0).normal(size=(200, 5)))
    arguments = ["--data", "table.npy", "--batch-size", "50", "--lr", "0.05"]
    assert run(*QUICK, *arguments, "--model", "own_model.py:make", "--output-dir", "a") == 0
    assert run(*QUICK, *arguments, "--model", "own_model:make", "--output-dir", "b") == 0
    assert {path.name for path in (in_tmp / "a").iterdir()} == RUN_FILES - {"report.html"}
    weights = torch.load(in_tmp / "a" / "weights.pt", weights_only=True)
    assert {"pyro.param:decoder$$$weight", "pyro.param:noise", "pyro.param:scale"} <= weights.keys()
    evaluation = rows_of(in_tmp / "a" / "evaluation.csv")
    assert evaluation == rows_of(in_tmp / "b" / "evaluation.csv")
    loaded = load("a")
    assert loaded.vae is None
    test = load_data("table.npy").test
    bounds = compare_bounds(loaded.model, loaded.guide, test, num_samples=50)
    assert bounds.log_px.tolist() == [float(row["log_px"]) for row in evaluation]


def test_a_model_that_cannot_run_on_rows_of_zeros_is_stored_and_loaded(in_tmp):
    (in_tmp / "own_model.py").write_text(OWN_MODEL)
    np.save(in_tmp / "table.npy", np.random.default_rng(0).normal(size=(200, 5)))
    arguments = ["--data", "table.npy", "--batch-size", "50", "--model", "own_model.py:two_sites"]
    assert run(*QUICK, *arguments, "--output-dir", "a") == 0
    assert {path.name for path in (in_tmp / "a").iterdir()} == RUN_FILES - {"report.html"}
    state = torch.get_rng_state()
    loaded = load("a")
    assert torch.equal(torch.get_rng_state(), state)
    bounds = compare_bounds(loaded.model, loaded.guide, load_data("table.npy").test, num_samples=50)
    assert bounds.log_px.tolist() == [float(row["log_px"]) for row in rows_of(in_tmp / "a" / "evaluation.csv")]


def test_a_likelihood_without_a_mean_leaves_the_pictures_out_and_says_so(in_tmp):
    (in_tmp / "heavy.py").write_text(
        "import pyro.distributions as dist\nfrom torch import nn\n\n\n"
        "class NoMean(dist.Normal):\n"
        "    @property\n    def mean(self):\n        raise NotImplementedError\n\n\n"
        "class Heavy(nn.Module):\n"
        "    def __init__(self, decoder):\n        super().__init__()\n        self.decoder = decoder\n\n"
        "    def forward(self, z):\n        return NoMean(self.decoder(z), 1.0).to_event(1)\n"
    )
    np.save(in_tmp / "table.npy", np.random.default_rng(0).normal(size=(100, 5)))
    assert run(*QUICK, "--data", "table.npy", "--likelihood", "heavy.Heavy", "--output-dir", "out") == 0
    assert not (in_tmp / "out" / "samples.png").exists()
    assert "has no mean" in json.loads((in_tmp / "out" / "summary.json").read_text())["pictures"]


BROKEN_PARTS = """
import pyro.distributions as dist
import torch
from torch import nn


class Part(nn.Module):
    def __init__(self, decoder):
        super().__init__()
        self.decoder = decoder


class Misspelt(Part):
    def forward(self, z):
        return dist.Normal(self.decodr(z), 1.0).to_event(1)


class Sizes(Part):
    def forward(self, z):
        return dist.Normal(self.decoder(z) @ torch.ones(7, 7), 1.0).to_event(1)


class NoEvent(Part):
    def forward(self, z):
        return dist.Normal(self.decoder(z), 1.0)


class OfTorch(Part):
    def forward(self, z):
        return torch.distributions.Independent(torch.distributions.Normal(self.decoder(z), 1.0), 1)


class ATensor(Part):
    def forward(self, z):
        return self.decoder(z)


class Start(NoEvent):
    def initialize(self, rows):
        rows.nothing()


class InTraining(Part):
    def forward(self, z):
        if self.training:
            raise KeyError("mode")
        return dist.Normal(self.decoder(z), 1.0).to_event(1)


class NoSuper(nn.Module):
    def __init__(self, decoder):
        self.decoder = decoder


class Untyped(nn.Module):
    def __init__(self, width):
        super().__init__()


class NoForward(nn.Module):
    def __init__(self, latent_dim):
        super().__init__()
"""


BROKEN = {
    "likelihood Misspelt": r"likelihood\(z\) raised AttributeError: 'Misspelt' object has no attribute 'decodr'",
    "likelihood Sizes": r"likelihood\(z\) raised RuntimeError: .*8x4 and 7x7",
    "likelihood NoEvent": r"add .to_event\(1\) to the distribution",
    "likelihood OfTorch": r"likelihood\(z\) is a Independent of torch; expected a Pyro distribution: take the same",
    "likelihood ATensor": r"likelihood\(z\) is a Tensor of torch; expected a Pyro distribution: return one",
    "likelihood Start": r"starting from the data: AttributeError at broken.py:\d+: 'Tensor' object has no attribute",
    "likelihood InTraining": r"KeyError at broken.py:\d+: .*mode",
    "likelihood NoSuper": r"--likelihood NoSuper: AttributeError at broken.py:\d+: cannot assign module before",
    "prior Untyped": "--prior broken.py:Untyped: of what type is its argument 'width'. Give it a type hint",
    "prior NoForward": '--prior NoForward: NotImplementedError: .* missing the required "forward"',
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_wrong_with_a_part_of_ones_own_is_one_line(case, in_tmp, capsys):
    (in_tmp / "broken.py").write_text(BROKEN_PARTS)
    np.save(in_tmp / "table.npy", np.random.default_rng(0).normal(size=(40, 4)))
    slot, name = case.split()
    arguments = ["--data", "table.npy", "--batch-size", "16", f"--{slot}", f"broken.py:{name}"]
    likelihood = [] if slot == "likelihood" else ["--likelihood", "Normal"]
    assert run(*QUICK, *arguments, *likelihood, "--output-dir", "out") == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert re.search(BROKEN[case], error), error
    assert not (in_tmp / "out").exists()


GREEDY = """
import numpy as np
import torch

from pyrovae.likelihoods import Bernoulli


class Torch(Bernoulli):
    def forward(self, z):
        return super().forward(z + torch.ones(2**45, z.shape[-1]).sum())


class Numpy(Bernoulli):
    def forward(self, z):
        return super().forward(z + float(np.ones((2**45, z.shape[-1])).sum()))
"""


@pytest.mark.parametrize("part", ["Torch", "Numpy"])
def test_a_lack_of_memory_is_named_with_what_needs_less(in_tmp, capsys, part):
    """More is asked for than any machine has; a check of the part would fail alike, and blame its shapes."""
    (in_tmp / "greedy.py").write_text(GREEDY)
    assert run(*QUICK, "--likelihood", f"greedy.py:{part}", "--output-dir", "out") == 2
    error = capsys.readouterr().err
    assert re.search(r"^error: there is not enough memory \(.*allocate.*\): a smaller --batch-size", error)
    assert error.count("\n") == 1
    assert not (in_tmp / "out").exists()
