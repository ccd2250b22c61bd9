"""``python -m pyrovae.fit --system``: autoencoders, conditional and two-layer VAEs, and corruption, end to end."""

import dataclasses
import json

import numpy as np
import pytest
import torch
import yaml
from fit_runs import rows_of, run
from PIL import Image
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from pyrovae import compare_bounds, load, load_data
from pyrovae.compare import main as compare
from pyrovae.data import Masking, label_covariates
from pyrovae.evaluate import main as evaluate

SMALL = ["--encoder.hidden_dims", "[30]", "--decoder.hidden_dims", "[30]", "--no-report", "--quiet"]
FAST = ["--epochs", "2", *SMALL]
SCORED = [*FAST, "--num-samples", "20"]


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text())


def write_table(path, header="label,age,group,a,b,c", rows=80):
    """x = (a, b, c) around what age and group say; labels 0 and 1."""
    generator = np.random.default_rng(0)
    age, group = generator.normal(size=rows), generator.integers(0, 3, rows)
    x = np.stack([2 * age, -age, group], 1) + 0.3 * generator.normal(size=(rows, 3))
    lines = [f"{row % 2},{age[row]},{'uvw'[group[row]]},{','.join(map(str, x[row]))}".split(",") for row in range(rows)]
    wanted = [["label", "age", "group", "a", "b", "c"].index(name) for name in header.split(",")]
    path.write_text("\n".join([header, *(",".join(line[k] for k in wanted) for line in lines)]) + "\n")


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


def test_log_px_given_the_class_is_that_of_joined_rows(in_tmp, capsys):
    assert run("--system", "conditional-vae", *SCORED, "--latent-dim", "3", "--output-dir", "out") == 0
    said = capsys.readouterr().out
    assert "log p(x|c)  " in said
    assert "log p(x) " not in said
    assert "given the label" in said
    loaded, data = load("out"), load_data("digits", binarize="dynamic")
    joined = loaded.module.join(data.test, data.test_labels)
    bounds = compare_bounds(loaded.model, loaded.guide, joined, num_samples=20, seed=0)
    table = rows_of(in_tmp / "out" / "evaluation.csv")
    assert [float(row["log_px"]) for row in table] == pytest.approx(bounds.log_px.tolist(), abs=1e-9)
    assert summary_of(in_tmp / "out")["evaluation"]["of"] == "log p(x|c)"
    assert run("out", "--num-samples", "30", "--quiet", command=evaluate) == 0
    assert "log p(x|c)  " in capsys.readouterr().out
    again = compare_bounds(loaded.model, loaded.guide, joined, num_samples=30, seed=0).log_px
    rows = rows_of(in_tmp / "out" / "evaluation-30.csv")
    assert [float(row["log_px"]) for row in rows] == pytest.approx(again.tolist(), abs=1e-4)
    # A line for each class in the picture of samples, so it is nearly as high as wide.
    with Image.open(in_tmp / "out" / "samples.png") as picture:
        assert picture.height > 0.7 * picture.width
    assert run(*SCORED, "--latent-dim", "3", "--output-dir", "plain") == 0
    capsys.readouterr()
    assert run("out", "plain", command=compare) == 0
    said = capsys.readouterr().out
    assert "out is told c of each row, and its numbers are of log p(x|c)" in said
    assert "is better than" not in said


def write_classes(folder, levels):
    """Images of some classes, each of its own grey."""
    generator = np.random.default_rng(0)
    for name, level in levels.items():
        (folder / name).mkdir(parents=True)
        for number in range(12):
            grey = generator.normal(level, 10, (6, 6)).clip(0, 255).astype(np.uint8)
            Image.fromarray(grey).save(folder / name / f"{number}.png")


def test_folders_of_other_data_are_the_classes_of_their_names(in_tmp, capsys):
    levels = {"cat": 40, "dog": 120, "horse": 200}
    write_classes(in_tmp / "train", levels)
    write_classes(in_tmp / "new", {"dog": 120, "horse": 200})
    options = ["--system", "conditional-vae", "--data", "train", "--likelihood", "Normal", *SCORED]
    assert run(*options, "--output-dir", "out") == 0
    assert "given c     label=cat, label=dog, label=horse" in capsys.readouterr().out
    other = ["--data", "new", "--all-rows", "--num-samples", "20", "--quiet"]
    assert run("out", *other, "--output", "new.csv", command=evaluate) == 0
    found = [float(row["log_px"]) for row in rows_of(in_tmp / "new.csv")]
    loaded, rows = load("out"), load_data("new", test_fraction=1).test
    true_class = torch.tensor([1] * 12 + [2] * 12)
    bounds = compare_bounds(loaded.model, loaded.guide, loaded.module.join(rows, true_class), num_samples=20, seed=0)
    assert found == pytest.approx(bounds.log_px.tolist(), abs=1e-4)
    write_classes(in_tmp / "birds", {"bird": 250, "cat": 40})
    capsys.readouterr()
    assert run("out", "--data", "birds", "--all-rows", command=evaluate) == 2
    said = capsys.readouterr().err
    assert "birds has rows with the label bird, which no training row has (cat, dog, horse)" in said
    # Runs of earlier versions know numbers alone, and their own rows are still theirs.
    summary = summary_of(in_tmp / "out")
    del summary["data"]["label_names"]
    numbers = {f"label={number}": "binary" for number in range(3)}
    summary["covariates"] = summary["data"]["covariates"] = numbers
    data = dataclasses.replace(load_data("train"), label_names=())
    summary["data"]["covariates_checksum"] = label_covariates(data).checksum
    (in_tmp / "out" / "summary.json").write_text(json.dumps(summary))
    assert run("out", "--num-samples", "20", "--quiet", "--output", "own.csv", command=evaluate) == 0
    own = [float(row["log_px"]) for row in rows_of(in_tmp / "own.csv")]
    first = [float(row["log_px"]) for row in rows_of(in_tmp / "out" / "evaluation.csv")]
    assert own == pytest.approx(first, abs=1e-4)
    assert "by their numbers alone" not in capsys.readouterr().out
    assert run("out", *other, "--output", "by_number.csv", command=evaluate) == 0
    remark = "the run knows its classes by their numbers alone, and folders are numbered here: dog is 0, horse is 1"
    assert remark in capsys.readouterr().out


def score_numbers(folder, capsys, labels, rows, run_folder):
    """The status, the scores where there are any, and what was said of rows with numbers for classes."""
    np.savez(folder / "numbered.npz", x=rows, y=labels)
    capsys.readouterr()
    options = [
        "--data",
        "numbered.npz",
        "--all-rows",
        "--num-samples",
        "20",
        "--quiet",
        "--output",
        "n.csv",
        "--overwrite",
    ]
    status = run(run_folder, *options, command=evaluate)
    scores = [float(row["log_px"]) for row in rows_of(folder / "n.csv")] if status == 0 else None
    said = capsys.readouterr()
    return status, scores, said.out + said.err


def test_numbers_are_the_classes_of_folders_in_their_order(in_tmp, capsys):
    write_classes(in_tmp / "train", {"cat": 40, "dog": 120, "horse": 200})
    options = ["--system", "conditional-vae", "--data", "train", "--likelihood", "Normal", *SCORED]
    assert run(*options, "--output-dir", "out") == 0
    rows, labels = load_data("train", test_fraction=1).test, np.repeat([0, 1, 2], 12)
    loaded = load("out")
    # Two classes only, so that the numbers are not those of the classes that are there.
    for kept in (labels >= 0, labels > 0):
        status, scores, said = score_numbers(in_tmp, capsys, labels[kept], rows.numpy()[kept], "out")
        assert status == 0, said
        assert "classes by their names, and numbers are taken in this order: cat is 0, dog is 1, horse is 2\n" in said
        joined = loaded.module.join(rows[kept], torch.as_tensor(labels[kept]))
        bounds = compare_bounds(loaded.model, loaded.guide, joined, num_samples=20, seed=0)
        assert scores == pytest.approx(bounds.log_px.tolist(), abs=1e-4)
    status, _, said = score_numbers(in_tmp, capsys, labels + 1, rows.numpy(), "out")
    assert status == 2
    assert "numbered.npz has rows with the label 3, and the run knows the classes of 3 folders" in said
    assert "number the classes from 0 to 2 in the order cat, dog, horse" in said


def test_numbers_are_refused_where_folders_have_numbers_for_names(in_tmp, capsys):
    options = ["--system", "conditional-vae", "--likelihood", "Normal", *SCORED]
    for folder, levels in (("mixed", {"10": 40, "cat": 120}), ("digits", {"0": 40, "1": 120})):
        write_classes(in_tmp / folder, levels)
        assert run(*options, "--data", str(in_tmp / folder), "--output-dir", f"out_{folder}") == 0
        rows = load_data(in_tmp / folder, test_fraction=1).test.numpy()
        status, _, said = score_numbers(in_tmp, capsys, np.repeat([0, 1], 12), rows, f"out_{folder}")
        if folder == "mixed":
            assert status == 2
            assert "the run knows its classes by the names of folders (10, cat), and numbered.npz has numbers" in said
        else:
            assert status == 0
            assert "by their names" not in said


def test_columns_of_a_table_are_conditioned_on(in_tmp, capsys):
    write_table(in_tmp / "people.csv")
    table = ["--data", "people.csv", "--columns", "{group: categorical}", "--likelihood", "Normal"]
    options = [*table, "--system", "conditional-vae", "--latent-dim", "2", *SCORED]
    assert run(*options, "--condition-columns", "age", "group", "--output-dir", "out") == 0
    said = capsys.readouterr().out
    assert "shape       (3,)" in said
    assert "given c     age, group=u, group=v, group=w" in said
    data = load_data("people.csv", columns={"group": "categorical"})
    loaded = load("out")
    assert loaded.data_shape == (3,)
    c = torch.cat([data.test[:, :1], torch.nn.functional.one_hot(data.test[:, 1].long(), 3)], 1)
    bounds = compare_bounds(loaded.model, loaded.guide, loaded.module.join(data.test[:, 2:], c), num_samples=20, seed=0)
    rows = rows_of(in_tmp / "out" / "evaluation.csv")
    assert [float(row["log_px"]) for row in rows] == pytest.approx(bounds.log_px.tolist(), abs=1e-9)
    assert run("out", "--quiet", command=evaluate) == 0
    assert yaml.safe_load((in_tmp / "out" / "config.yaml").read_text())["condition_columns"] == ["age", "group"]
    assert run("--config", "out/config.yaml", "--output-dir", "again") == 0
    assert rows_of(in_tmp / "again" / "evaluation.csv") == rows
    # The same rows x with another c are not the rows of the run.
    text = (in_tmp / "people.csv").read_text()
    changed = "\n".join(f"{line.split(',')[0]},0.5,{line.split(',', 2)[2]}" for line in text.splitlines()[1:])
    (in_tmp / "people.csv").write_text(f"{text.splitlines()[0]}\n{changed}\n")
    capsys.readouterr()
    assert run("out", "--num-samples", "7", command=evaluate) == 2
    assert "does not hold the rows that the run was fitted to any more" in capsys.readouterr().err


def test_parts_that_look_at_whole_rows_serve_conditional_runs(in_tmp):
    images = ["--encoder", "ConvEncoder", "--decoder", "ConvDecoder", "--prior", "VampPrior"]
    options = ["--prior.num_pseudo_inputs", "20", "--epochs", "1", "--num-samples", "5", "--quiet"]
    assert run("--system", "conditional-vae", *images, *options, "--corruption", "masking", "--output-dir", "a") == 0
    assert load("a").module.prior.pseudo_inputs.shape == (20, 74)
    write_table(in_tmp / "people.csv")
    columns = ["--columns", "{group: categorical}", "--encoder", "ColumnEncoder", "--likelihood", "Columns"]
    given = ["--condition-columns", "group", "--epochs", "1", "--num-samples", "5", "--quiet"]
    table = ["--system", "conditional-vae", "--data", "people.csv"]
    assert run(*table, *columns, *given, "--output-dir", "b") == 0
    # Standardised by what the training rows say: the columns of c are binary, those of x real.
    kinds = load("b").module.posterior.encoder.column_kinds
    assert kinds == ("real", "real", "real", "real", "binary", "binary", "binary")


def test_two_layers_are_fitted_and_scored_by_an_objective_that_is_right_for_them(in_tmp, capsys):
    options = ["--system", "two-layer-vae", *SCORED, "--latent-dim", "6"]
    assert run(*options, "--output-dir", "out") == 0
    said = capsys.readouterr().out
    assert "objective   Trace_ELBO(num_particles=1)" in said
    assert "two-layer VAE, 6 dimensions of z1, 3 of z2" in said
    loaded, data = load("out"), load_data("digits", binarize="dynamic")
    bounds = compare_bounds(loaded.model, loaded.guide, data.test, num_samples=20, seed=0)
    rows = rows_of(in_tmp / "out" / "evaluation.csv")
    assert [float(row["log_px"]) for row in rows] == pytest.approx(bounds.log_px.tolist(), abs=1e-9)
    assert run(*options, "--objective", "DReG", "--upper-dim", "2", "--output-dir", "other") == 0
    assert load("other").module.prior().event_shape == (2,)
    assert run("out", "--num-samples", "20", "--output", "scored.csv", "--quiet", command=evaluate) == 0
    scored = [float(row["log_px"]) for row in rows_of(in_tmp / "scored.csv")]
    assert scored == pytest.approx(bounds.log_px.tolist(), abs=1e-4)
    capsys.readouterr()
    assert run("out", "other", command=compare) == 0
    assert "objective DReG(num_particles=5)" in capsys.readouterr().out
    # What is printed as the configuration is read again, and what is stored.
    assert run("--system", "two-layer-vae", "--print_config") == 0
    (in_tmp / "my.yaml").write_text(capsys.readouterr().out)
    assert "Trace_ELBO" in (in_tmp / "my.yaml").read_text()
    assert run("--config", "my.yaml", *options, "--output-dir", "again") == 0
    assert rows_of(in_tmp / "again" / "evaluation.csv") == rows
    assert yaml.safe_load((in_tmp / "out" / "config.yaml").read_text())["objective"]["class_path"].endswith(
        "Trace_ELBO"
    )


def test_a_denoising_vae_sees_damage_in_training_alone(in_tmp, capsys):
    options = ["--corruption", "salt-and-pepper", "--corruption-level", "0.2"]
    prior = ["--prior", "VampPrior", "--prior.num_pseudo_inputs", "20", "--latent-dim", "3"]
    assert run(*options, *prior, *SCORED, "--output-dir", "out") == 0
    said = capsys.readouterr().out
    assert "corruption  SaltAndPepper(0.2, low=0, high=1)" in said
    assert "bound of q(z|x~), a bound of log p(x) too; the numbers above are of q(z|x), on clean rows" in said
    loaded, data = load("out"), load_data("digits", binarize="dynamic")
    clean = loaded.vae.posterior.posterior(data.test)
    loaded.vae.eval()
    torch.testing.assert_close(loaded.vae.encode(data.test).mean, clean.mean)
    assert loaded.vae.prior.posterior is loaded.vae.posterior.posterior
    bounds = compare_bounds(loaded.model, loaded.guide, data.test, num_samples=20, seed=0)
    rows = rows_of(in_tmp / "out" / "evaluation.csv")
    assert [float(row["log_px"]) for row in rows] == pytest.approx(bounds.log_px.tolist(), abs=1e-9)
    assert run(*prior, *SCORED, "--output-dir", "plain") == 0
    # Training differs, so the damage was seen there.
    assert (
        rows_of(in_tmp / "plain" / "metrics.csv")[0]["train_elbo"]
        != rows_of(in_tmp / "out" / "metrics.csv")[0]["train_elbo"]
    )


def test_a_loss_that_is_not_finite_ends_with_status_3(in_tmp, capsys):
    np.save("huge.npy", np.full((30, 4), 1e30, dtype=np.float32))
    assert run("--data", "huge.npy", "--system", "autoencoder", *FAST, "--output-dir", "out") == 3
    assert "the loss is not finite at epoch 1. The weights of epoch 0" in capsys.readouterr().err
    assert "the loss is not finite" in summary_of(in_tmp / "out")["status"]
    assert load("out").autoencoder is not None


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


REFUSED = {
    "a part of a density": (
        ["--system", "autoencoder", "--likelihood", "Normal"],
        "--system autoencoder takes no --likelihood, as it has no p(x): leave it out, or take --system vae or "
        "conditional-vae or two-layer-vae",
    ),
    "an objective": (["--system", "autoencoder", "--beta", "4"], "takes no --beta, as it has no p(x)"),
    "steps of an autoencoder": (
        ["--system", "autoencoder", "--step", "recorded"],
        "--system autoencoder takes no --step, which it has no use for",
    ),
    "draws": (["--system", "autoencoder", "--num-samples", "10"], "takes no --num-samples, as it has no p(x)"),
    "another system's size": (
        ["--upper-dim", "3"],
        "--system vae takes no --upper-dim, which it has no use for: leave it out, or take --system two-layer-vae",
    ),
    "pretraining of a VAE": (["--pretrain-epochs", "3"], "--system vae takes no --pretrain-epochs, which it has no"),
    "a loss of a VAE": (["--reconstruction-loss", "cross_entropy"], "--system vae takes no --reconstruction-loss"),
    "a condition of a VAE": (["--condition", "labels"], "or take --system conditional-vae"),
    "an unknown system": (["--system", "vea"], "--system is vea; expected one of vae, autoencoder, conditional-vae"),
    "a level alone": (["--corruption-level", "0.2"], "--corruption-level 0.2 has no effect without --corruption"),
    "a fraction above 1": (
        ["--corruption", "masking", "--corruption-level", "1.5"],
        "--corruption-level is 1.5; expected a fraction of the entries, above 0 and at most 1, for --corruption mask",
    ),
    "no noise": (
        ["--corruption", "gaussian", "--corruption-level", "0"],
        "--corruption-level is 0; expected a standard deviation above 0, for --corruption gaussian",
    ),
    "infinite noise": (["--corruption", "gaussian", "--corruption-level", "inf"], "--corruption-level: got inf"),
    "damage and gaps": (
        ["--corruption", "masking", "--missing", "keep"],
        "--corruption damages whole rows, and --missing keep has rows with gaps",
    ),
    "salt on real values": (
        ["--data", "real.npy", "--likelihood", "Normal", "--corruption", "salt-and-pepper"],
        "--corruption salt-and-pepper sets entries to 0 or 1, and the data range from ",
    ),
    "bits of real values": (
        ["--data", "real.npy", "--system", "autoencoder", "--reconstruction-loss", "cross_entropy"],
        "--reconstruction-loss cross_entropy is for values in [0, 1], and the data range from ",
    ),
    "layers of images": (
        ["--system", "autoencoder", "--pretrain-epochs", "1", "--encoder", "ConvEncoder"],
        "the encoder is a ConvEncoder; expected a networks.MLP",
    ),
    "layers that do not mirror": (
        ["--system", "autoencoder", "--pretrain-epochs", "1", "--encoder.hidden_dims", "[20]"],
        "expected mirror images",
    ),
    "no labels": (
        ["--data", "real.npy", "--likelihood", "Normal", "--system", "conditional-vae"],
        "real.npy has no labels to condition on: give data with labels",
    ),
    "one label": (
        ["--data", "one.npz", "--likelihood", "Normal", "--system", "conditional-vae"],
        "one.npz has one label, 4, on all rows: it says nothing of them",
    ),
    "rows without a label": (
        ["--data", "unlabelled.npz", "--likelihood", "Normal", "--system", "conditional-vae"],
        "unlabelled.npz has rows with the label -1; expected a class number from 0 for each",
    ),
    "a class that is not trained": (
        ["--data", "rare.npz", "--likelihood", "Normal", "--system", "conditional-vae"],
        "rare.npz has rows with the label 2, which no training row has",
    ),
    "columns of images": (
        ["--system", "conditional-vae", "--condition-columns", "age"],
        "digits has no named columns to condition on",
    ),
    "an unknown column": (
        ["--data", "table.csv", "--system", "conditional-vae", "--condition-columns", "aeg"],
        "table.csv has no column 'aeg'; its columns are age, a, b, c",
    ),
    "all columns": (
        ["--data", "table.csv", "--system", "conditional-vae", "--condition-columns", "age", "a", "b", "c"],
        "all columns of table.csv are conditioned on, and none is left to be x",
    ),
    "a column twice": (
        ["--data", "table.csv", "--system", "conditional-vae", "--condition-columns", "a", "a"],
        "a column is named twice among a, a",
    ),
    "columns without names": (
        ["--system", "conditional-vae", "--condition", "columns"],
        "--condition columns needs their names: give --condition-columns",
    ),
    "labels and columns": (
        ["--system", "conditional-vae", "--condition", "labels", "--condition-columns", "a"],
        "--condition labels takes no --condition-columns a: leave one of the two out",
    ),
    "gaps beside c": (
        ["--system", "conditional-vae", "--missing", "keep"],
        "--system conditional-vae takes no --missing, as its rows have to be complete",
    ),
    "grey values of x under Bernoulli": (
        ["--system", "conditional-vae", "--binarize", "none"],
        "Bernoulli at site 'x' is no density for these data: row 0 has the value 0.0625",
    ),
    "the mean-field objective": (
        ["--system", "two-layer-vae", "--objective", "TraceMeanField_ELBO"],
        "--objective TraceMeanField_ELBO is not right for --system two-layer-vae",
    ),
    "a prior of q(z|x) above": (
        ["--system", "two-layer-vae", "--prior", "VampPrior"],
        "--prior VampPrior is made of q(z|x), and the prior of this system is over latents above z",
    ),
    "a model of one's own": (
        ["--system", "two-layer-vae", "--model", "my.py:make"],
        "--model brings a complete pair of programs, and --system would be ignored",
    ),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_makes_no_sense_is_refused_and_nothing_is_written(in_tmp, capsys, options, message):
    x = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    np.save("real.npy", x)
    np.savez("one.npz", x=x, y=np.full(30, 4))
    np.savez("unlabelled.npz", x=x, y=np.arange(30) % 3 - 1)
    np.savez("rare.npz", train=x, train_labels=np.arange(30) % 2, test=x, test_labels=np.arange(30) % 3)
    write_table(in_tmp / "table.csv", "age,a,b,c")
    assert run(*options, "--epochs", "1", "--quiet", "--output-dir", "out") == 2
    said = capsys.readouterr().err
    assert said.count("\n") <= 2
    assert message in said
    assert not (in_tmp / "out").exists()


def test_the_help_says_why_and_has_the_objective_of_the_system(capsys):
    assert run("--system", "two-layer-vae", "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "pyrovae.objectives.Trace_ELBO" in text
    for words in ("--corruption-level", "--pretrain-epochs", "--condition-columns", "--upper-dim", "greedy pretrain"):
        assert words in text
    assert "A VAE then maximises the bound of q(z|corrupted x), a bound of log p(x) too" in text
