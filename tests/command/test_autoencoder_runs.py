"""``python -m pyrovae.fit --system autoencoder``: plain, denoising and stacked ones."""

import pytest
import torch
from fit_runs import rows_of, run
from PIL import Image
from system_runs import FAST, SCORED, SMALL, summary_of
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from pyrovae import load, load_data
from pyrovae.compare import main as compare
from pyrovae.data import Masking
from pyrovae.evaluate import main as evaluate


@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy"])
def test_the_loss_of_an_autoencoder_is_that_of_its_stored_weights_in_plain_torch(in_tmp, capsys, loss):
    assert run("--system", "autoencoder", "--reconstruction-loss", loss, *FAST, "--output-dir", "out") == 0
    said = capsys.readouterr().out
    assert "no ELBO and no log p(x): an autoencoder has no p(x), as nothing says" in said
    assert "ELBO    " not in said
    folder = in_tmp / "out"
    assert {path.name for path in folder.iterdir()} == {
        *("config.yaml", "weights.pt", "metrics.csv", "losses.csv", "summary.json"),
        *("learning_curves.png", "reconstructions.png"),
    }
    w, data = torch.load(folder / "weights.pt", weights_only=True), load_data("digits")
    hidden = torch.relu(data.test.flatten(1) @ w["encoder.layers.0.weight"].T + w["encoder.layers.0.bias"])
    code = hidden @ w["encoder.layers.2.weight"].T + w["encoder.layers.2.bias"]
    hidden = torch.relu(code @ w["decoder.layers.0.weight"].T + w["decoder.layers.0.bias"])
    output = hidden @ w["decoder.layers.2.weight"].T + w["decoder.layers.2.bias"]
    function = mse_loss if loss == "squared_error" else binary_cross_entropy_with_logits
    losses = function(output, data.test.flatten(1), reduction="none").sum(1)
    summary = summary_of(folder)
    assert summary["reconstruction"]["loss"]["mean"] == pytest.approx(losses.mean().item(), rel=1e-5)
    error = losses.std().item() / 180**0.5
    assert summary["reconstruction"]["loss"]["standard_error_rows"] == pytest.approx(error, rel=1e-5)
    table = rows_of(folder / "losses.csv")
    assert [float(row["loss"]) for row in table] == pytest.approx(losses.tolist(), rel=1e-4)
    assert [int(row["label"]) for row in table] == data.test_labels.tolist()
    assert summary["evaluation"] is None
    assert "no p(x)" in summary["no_evaluation"]
    for name in ("learning_curves.png", "reconstructions.png"):
        with Image.open(folder / name) as picture:
            assert data.checksum in picture.info["Description"]


def test_an_autoencoder_is_loaded_and_refused_where_a_density_is_needed(in_tmp, capsys):
    for name in ("a", "b"):
        assert run("--system", "autoencoder", *FAST, "--output-dir", name) == 0
    loaded, x = load("a"), load_data("digits").test
    assert loaded.vae is None
    assert loaded.autoencoder.reconstruct(x).shape == x.shape
    assert loaded.autoencoder.losses(x).mean().item() == pytest.approx(
        summary_of(in_tmp / "a")["reconstruction"]["loss"]["mean"], rel=1e-6
    )
    for program in (loaded.model, loaded.guide):
        with pytest.raises(ValueError, match=r"an autoencoder has no p\(x\)"):
            program(x)
    before = sorted(path.name for path in (in_tmp / "a").iterdir())
    capsys.readouterr()
    for command, arguments in ((evaluate, ["a"]), (compare, ["a", "b"])):
        assert run(*arguments, command=command) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("error: a cannot be scored: an autoencoder has no p(x), as nothing says how")
    assert sorted(path.name for path in (in_tmp / "a").iterdir()) == before


def test_a_denoising_autoencoder_mends_corrupted_digits_better_than_a_plain_one(in_tmp, capsys):
    options = ["--system", "autoencoder", "--epochs", "25", "--lr", "0.003", "--latent-dim", "20", *SMALL]
    assert run(*options, "--output-dir", "plain") == 0
    capsys.readouterr()
    assert run(*options, "--corruption", "masking", "--corruption-level", "0.4", "--output-dir", "denoising") == 0
    assert "corruption  Masking(0.4, value=0)" in capsys.readouterr().out
    x = load_data("digits").test
    torch.manual_seed(0)
    damaged = Masking(0.4)(x)
    errors = [
        (load(name).autoencoder.reconstruct(damaged) - x).square().flatten(1).sum(1) for name in ("plain", "denoising")
    ]
    saved = errors[0] - errors[1]
    # One paired mean at 4 standard errors: a false alarm in 1 of 30,000 seeds, were both equally good.
    assert saved.mean() > 4 * saved.std() / len(saved) ** 0.5
    told = summary_of(in_tmp / "denoising")["reconstruction"]
    # The corruption has the seed of the run, 0.
    assert told["restored"]["mean"] == pytest.approx(errors[1].mean().item(), rel=1e-5)
    assert told["corrupted"]["mean"] == pytest.approx((damaged - x).square().flatten(1).sum(1).mean().item(), rel=1e-5)
    assert told["restored"]["mean"] < told["corrupted"]["mean"]
    with Image.open(in_tmp / "denoising" / "denoising.png") as picture:
        assert len(set(picture.convert("L").get_flattened_data())) > 10
    assert not (in_tmp / "plain" / "denoising.png").exists()


def test_layers_are_pretrained_first_and_the_configuration_runs_again(in_tmp, capsys):
    options = ["--system", "autoencoder", "--pretrain-epochs", "3", "--corruption", "gaussian"]
    assert run(*options, *FAST, "--output-dir", "a") == 0
    said = capsys.readouterr().out
    assert "system      denoising stacked autoencoder" in said
    assert "pretrained layer by layer, loss of each at its end: " in said
    assert len(summary_of(in_tmp / "a")["training"]["pretraining"]) == 2
    assert run("--config", "a/config.yaml", "--output-dir", "b") == 0
    first, again = (rows_of(in_tmp / name / "losses.csv") for name in ("a", "b"))
    assert first == again


def test_an_overwritten_run_leaves_nothing_of_another_system(in_tmp):
    assert run("--system", "autoencoder", "--corruption", "masking", *FAST, "--output-dir", "out") == 0
    assert run(*SCORED, "--output-dir", "out", "--overwrite") == 0
    names = {path.name for path in (in_tmp / "out").iterdir()}
    assert not names & {"losses.csv", "denoising.png"}
    assert "evaluation.csv" in names


FACTORY = """
from pyrovae import Autoencoder, networks


def make(data_shape):
    return Autoencoder(networks.MLP(data_shape, 2), networks.MLP(2, data_shape))
"""


def test_an_autoencoder_from_a_factory_is_refused_as_it_has_no_density(in_tmp, capsys):
    (in_tmp / "own.py").write_text(FACTORY)
    assert run("--model", "own.py:make", "--quiet", "--output-dir", "out") == 2
    assert "an autoencoder has no p(x)" in capsys.readouterr().err
    assert not (in_tmp / "out").exists()
