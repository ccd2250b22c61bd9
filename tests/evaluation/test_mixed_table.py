"""A table that scikit-learn ships, with columns of all kinds and a fifth of the entries removed at random."""

import pyro
import torch
from sklearn.datasets import load_wine

from pyrovae import (
    VAE,
    compare_bounds,
    fit_svi,
    impute,
    likelihoods,
    load_data,
    mark_missing,
    networks,
    posteriors,
    priors,
)

LATENT = 3


def wine():
    """178 wines: whole numbers are counts, hue is cut at 1 into a binary column, the cultivar is a category."""
    source = load_wine()
    kinds = ["count" if name in ("magnesium", "proline") else "real" for name in source.feature_names]
    x = torch.from_numpy(source.data).float()
    hue = source.feature_names.index("hue")
    x[:, hue] = (x[:, hue] > 1).float()
    kinds[hue] = "binary"
    return torch.cat([x, torch.from_numpy(source.target).float()[:, None]], dim=1), [*kinds, "categorical(3)"]


def started_vae(kinds, train):
    pyro.set_rng_seed(0)
    shape = likelihoods.Columns.decoder_shape((len(kinds),), kinds)
    likelihood = likelihoods.PartlyObserved(likelihoods.Columns(networks.MLP(LATENT, shape, (32,)), kinds))
    encoder = networks.ColumnEncoder(kinds, 2 * LATENT, (32,))
    likelihood.initialize(train)
    encoder.initialize(train)
    return VAE(priors.StandardNormal(LATENT), likelihood, posteriors.DiagonalNormal(encoder))


def scores(filled, whole, x, kinds):
    """By kind: root mean squared error in standard deviations of the column, or the share of right values."""
    found = {}
    for kind in dict.fromkeys(kinds):
        terms = []
        for column in (position for position, other in enumerate(kinds) if other == kind):
            missing = x[:, column].isnan()
            difference = (filled - whole)[missing, column]
            if kind in ("real", "count"):
                terms.append((difference / whole[:, column].std()).square())
            else:
                terms.append((difference.abs() < 0.5).float())
        mean = torch.cat(terms).mean().item()
        found[kind] = mean**0.5 if kind in ("real", "count") else mean
    return found


def test_imputation_beats_mean_and_mode_of_the_columns():
    whole, kinds = wine()
    generator = torch.Generator().manual_seed(0)
    whole = whole[torch.randperm(len(whole), generator=generator)]
    x = mark_missing(whole, torch.rand(whole.shape, generator=generator) < 0.2)
    train, validation, test = x.split([106, 18, 54])

    vae = started_vae(kinds, train)
    fit_svi(
        vae.model,
        vae.guide,
        train,
        validation=validation,
        epochs=120,
        batch_size=32,
        lr=0.01,
        patience=60,
        progress=False,
    )

    bounds = compare_bounds(vae.model, vae.guide, x, num_samples=200)
    assert bounds.log_px.isfinite().all()
    assert bounds.elbo.isfinite().all()

    filled = impute(vae.model, vae.guide, test, num_samples=5)
    ours = scores(filled.mean, whole[-54:], test, kinds)
    plain = train.nanmean(0).expand_as(test).clone()
    for column, kind in enumerate(kinds):
        if kind not in ("real", "count"):
            plain[:, column] = train[:, column][~train[:, column].isnan()].mode().values
    theirs = scores(plain, whole[-54:], test, kinds)
    # Measured over three seeds of rows, gaps and weights: real 0.65 to 0.84 against 0.91 to 1.12, counts 0.5 to 1.1
    # against 0.9 to 1.4, binary 0.75 to 1 against 0.2 to 0.6, cultivar 0.94 to 1 against 0.3 to 0.5.
    assert ours["real"] < 0.85 * theirs["real"]
    assert ours["count"] < 0.85 * theirs["count"]
    assert ours["binary"] > theirs["binary"] + 0.1
    assert ours["categorical(3)"] > theirs["categorical(3)"] + 0.3


def test_a_file_with_words_and_empty_cells_goes_all_the_way(tmp_path):
    lines = ["age,smokes,city,height"]
    for row in range(60):
        age, height = ("" if row % 7 == 0 else 20 + row % 40), ("NA" if row % 5 == 0 else 1.5 + 0.01 * row)
        lines.append(f"{age},{'yes' if row % 3 else 'no'},{('Rome', 'Oslo', '')[row % 3]},{height}")
    path = tmp_path / "people.csv"
    path.write_text("\n".join(lines) + "\n")
    data = load_data(path, missing="keep", columns={"age": "count", "smokes": "binary", "city": "categorical"})
    assert data.column_kinds == ("count", "binary", "categorical(2)", "real")
    vae = started_vae(data.column_kinds, data.train)
    fit_svi(vae.model, vae.guide, data.train, validation=data.validation, epochs=3, batch_size=16, progress=False)
    assert compare_bounds(vae.model, vae.guide, data.test, num_samples=100).log_px.isfinite().all()
    filled = impute(vae.model, vae.guide, data.test, num_samples=4, num_proposals=100)
    assert set(filled.draws[..., 2].unique().tolist()) <= {0.0, 1.0}
    assert (filled.draws[..., 0] == filled.draws[..., 0].round()).all()
    assert not filled.mean.isnan().any()
