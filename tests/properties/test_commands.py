"""The commands with options and files of any kind: a documented status and one error line, never a traceback."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hostile import damaged, examples, global_state_kept, lengths, own_errors, status_of
from hypothesis import given
from hypothesis import strategies as st

from pyrovae import load
from pyrovae.compare import main as compare_main
from pyrovae.evaluate import main as evaluate_main
from pyrovae.fit import main as fit_main

BASE = [
    "--epochs",
    "1",
    "--num-samples",
    "6",
    "--batch-size",
    "8",
    "--latent-dim",
    "2",
    "--no-report",
    "--quiet",
    "--seed",
    "0",
]
SMALL = ["--encoder.hidden_dims", "[3]", "--decoder.hidden_dims", "[3]"]
RUN_FILES = ("config.yaml", "summary.json", "weights.pt", "evaluation.csv")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Small data of each kind and a stored run, twice, in the folder that the commands are run in."""
    folder = tmp_path_factory.mktemp("commands")
    rng = np.random.default_rng(0)
    np.save(folder / "real.npy", rng.normal(size=(30, 3)))
    np.save(folder / "bits.npy", rng.integers(0, 2, (30, 4, 4)))
    np.save(folder / "grey.npy", rng.random((30, 1, 4, 4)))
    np.save(folder / "counts.npy", rng.poisson(2.0, (30, 3)))
    holes = rng.normal(size=(30, 3))
    holes[::4, 1] = np.nan
    np.save(folder / "holes.npy", holes)
    np.savez(folder / "labels.npz", x=rng.integers(0, 2, (30, 5)), y=rng.integers(0, 3, 30))
    rows = [
        f"{a},{'pqr'[b]},{c:.3f},{a % 2}"
        for a, b, c in zip(range(30), rng.integers(3, size=30), rng.random(30), strict=True)
    ]
    (folder / "table.csv").write_text("\n".join(["age,town,dose,label", *rows]) + "\n")
    (folder / "own.py").write_text(
        "import torch\nfrom torch import nn\n\n\nclass Broken(nn.Module):\n"
        "    def __init__(self, latent_dim: int = 2):\n        super().__init__()\n\n"
        "    def forward(self, *x):\n        return torch.zeros(3) / {}\n\n\n"
        "def factory():\n    return 3\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        quick = [*BASE, "--data", "real.npy", "--likelihood", "Normal", *SMALL, "--output-dir", "run"]
        assert status_of(fit_main, quick)[0] == 0
        shutil.copytree("run", "other")
        yield folder


def words(*values):
    return [[value] for value in values]


DATA = words(
    *["real.npy", "bits.npy", "grey.npy", "counts.npy", "holes.npy", "labels.npz", "table.csv"], "run", "own.py", ""
)
FIT_OPTIONS = {
    "--likelihood": words(
        "Normal", "Normal", "Bernoulli", "Poisson", "Columns", "StudentT", "LogNormal", "Nomral", "own.py:Broken"
    ),
    "--likelihood.scale": words("predicted", "0.5", "-1", "x"),
    "--prior": words(
        "StandardNormal", "VampPrior", "GaussianMixture", "Flow", "own.py:Broken", "own.py:factory", "null"
    ),
    "--posterior": words("DiagonalNormal", "FullCovarianceNormal", "Flow", "own:Broken"),
    "--encoder": words("MLP", "ColumnEncoder", "ConvEncoder", "ResidualMLP", "[3]"),
    "--encoder.hidden_dims": words("[3]", "[]", "[0]", "3"),
    "--decoder": words("MLP", "ConvDecoder", "ResidualMLP"),
    "--latent-dim": words("1", "3", "0", "two"),
    "--system": words("vae", "autoencoder", "conditional-vae", "two-layer-vae"),
    "--objective": words("TraceMeanField_ELBO", "Trace_ELBO", "IWAE", "ReweightedWakeSleep", "ScoreFunction", "Elbo"),
    "--num-particles": words("1", "3", "0"),
    "--beta": words("0", "2", "-1", "nan"),
    "--beta-schedule": words("linear", "cyclical", "square"),
    "--free-bits": words("0.1", "-1"),
    "--corruption": words("masking", "gaussian", "salt-and-pepper"),
    "--corruption-level": words("0.2", "2", "0"),
    "--condition": words("labels", "columns"),
    "--condition-columns": [["age"], ["age", "dose"], ["sex"]],
    "--missing": words("keep", "refuse"),
    "--missing-indicators": [[]],
    "--columns": words("{town: categorical}", "{town: categorical, age: count}", "[real]", "{twon: real}"),
    "--binarize": words("none", "static", "dynamic", "threshold"),
    "--stream": [[]],
    "--validation-fraction": words("0.3", "0.9", "1"),
    "--test-fraction": words("0.3", "0.9"),
    "--pretrain-epochs": words("1", "-1"),
    "--reconstruction-loss": words("cross_entropy", "squared_error"),
    "--upper-dim": words("1", "0"),
    "--batch-size": words("3", "30", "0"),
    "--lr": words("0.01", "1e9", "0"),
    "--lr-end": words("0", "0.01", "-1"),
    "--precision": words("32", "bf16-mixed", "16"),
    "--step": words("plain", "recorded"),
    "--chunk-size": words("2", "0"),
    "--device": words("cpu", "abacus", "meta"),
    "--seed": words("3", "-3", "4294967296"),
    "--output-dir": words("run", "real.npy", "real.npy/x", "\0"),
    "--model": words("own.py:factory", "own.py:nothing", "own"),
    "--init-from": words("run", "nothing", "real.npy", ""),
    "--resume": words("run", "nothing", "real.npy", ""),
    "--clip-norm": words("1", "0", "nan"),
    "--checkpoint-every": words("1", "0", "x"),
    "--epoch": words("3"),
    "stray": [[]],
}
EVALUATE_OPTIONS = {
    "--data": [*DATA, ["digits"], ["nothing.npy"]],
    "--num-samples": words("1", "3", "30", "0", "x"),
    "--chunk-size": words("1", "7", "0"),
    "--gap": [[]],
    "--ais": [["--ais-temperatures", "3", "--ais-chains", "2", "--ais-leapfrog", "1", "--ais-warm-up", "2"]],
    "--ais-start": words("guide", "prior", "x"),
    "--ais-chains": words("2", "0"),
    "--seed": words("5", "-1", "4294967296"),
    "--device": words("cpu", "abacus"),
    "--output": words("out.csv", "run", "no/out.csv", "real.npy", "\0"),
    "--overwrite": [[]],
    "--num-sample": words("3"),
}


# Options that go together, of which fits come about.
SOUND_DATA = {
    "real.npy": ["Normal", "Laplace", "StudentT", "FullCovarianceNormal", "LowRankNormal"],
    "bits.npy": ["Bernoulli", "ContinuousBernoulli", "Poisson", "Normal"],
    "grey.npy": ["ContinuousBernoulli", "Normal", "Beta"],
    "counts.npy": ["Poisson", "NegativeBinomial", "ZeroInflatedPoisson", "Normal"],
    "labels.npz": ["Bernoulli", "Poisson"],
}
SOUND_OPTIONS = {
    "--prior": words("StandardNormal", "StudentT", "GaussianMixture", "DiagonalNormal", "Laplace"),
    "--posterior": words("DiagonalNormal", "FullCovarianceNormal", "LowRankNormal", "MixtureOfNormals"),
    "--latent-dim": words("1", "3"),
    "--epochs": words("2", "3"),
    "--batch-size": words("3", "10"),
    "--lr": words("0.01", "0.1", "100"),
    "--seed": words("1", "4294967295"),
    "--validation-fraction": words("0.3", "0.01"),
    "--test-fraction": words("0.3", "0.01"),
    "--chunk-size": words("2"),
    "--num-samples": words("1", "2", "40"),
    "--precision": words("32", "bf16-mixed"),
    "--step": words("plain", "recorded"),
    "--stream": [[]],
    "--missing": words("keep", "refuse"),
    "--beta": words("0", "2"),
    "--free-bits": words("0.1"),
    "--patience": words("1"),
    "--corruption": words("masking", "gaussian"),
    "--encoder.normalization": words("batch", "layer"),
    "--system": words("two-layer-vae", "vae"),
    "--objective": words("Trace_ELBO", "IWAE", "DReG", "StickingTheLanding", "ReweightedWakeSleep", "ScoreFunction"),
}


def some_of(options, at_most):
    """Some of the options, each with one of its values, as the words of a command line."""
    chosen = st.lists(st.sampled_from(sorted(options)), max_size=at_most, unique=True)
    values = chosen.flatmap(
        lambda names: st.tuples(*(st.sampled_from(options[name]).map(lambda v, n=name: [n, *v]) for name in names))
    )
    return values.map(lambda parts: [word for part in parts for word in part])


def check_run(folder):
    """A folder that a command wrote: it loads, and its numbers are numbers."""
    summary = json.loads((folder / "summary.json").read_text())
    run = load(folder)
    assert all(value.isfinite().all() for value in run.module.state_dict().values())
    if summary["evaluation"] is not None:
        table = pd.read_csv(folder / "evaluation.csv")
        assert len(table) == summary["data"]["rows"]["test"]
        slack = 1e-6 * (1 + table["elbo"].abs())
        assert (table["log_px"] >= table["elbo"] - slack).all()


@pytest.mark.ci
@lengths(12, 300)
def test_fit_with_any_options(count, place):
    @examples(count)
    @given(st.sampled_from(DATA), some_of(FIT_OPTIONS, 5))
    def holds(data, options):
        shutil.rmtree("new", ignore_errors=True)
        with global_state_kept(random_too=False):
            status, _ = status_of(fit_main, ["--output-dir", "new", *BASE, "--data", *data, *options])
        # A run that is complete is done at once.
        if status == 0 and not {"--output-dir", "--resume"} & set(options):
            check_run(Path("new"))
        if status == 2:
            assert not Path("new").exists()

    holds()


PLAIN = (
    st.none() | st.booleans() | st.integers(-2, 4) | st.floats() | st.text(max_size=5) | st.sampled_from(["MLP", "2"])
)
NESTED = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
OPTION_KEYS = [option[2:].replace("-", "_") for option in FIT_OPTIONS if option[:2] == "--" and "." not in option]
KEYS = st.sampled_from(
    [*OPTION_KEYS, "epochs", "overwrite", "quiet", "data", "num_sample", "config", "class_path"]
) | st.text(max_size=5)


@pytest.mark.ci
@lengths(4, 300)
def test_fit_with_options_that_go_together(count, place):
    pairs = st.sampled_from([(data, likelihood) for data, kinds in SOUND_DATA.items() for likelihood in kinds])

    @examples(count)
    @given(pairs, some_of(SOUND_OPTIONS, 4))
    def holds(pair, options):
        shutil.rmtree("new", ignore_errors=True)
        arguments = ["--output-dir", "new", *BASE, *SMALL, "--data", pair[0], "--likelihood", pair[1], *options]
        with global_state_kept(random_too=False):
            status, _ = status_of(fit_main, arguments)
        if status == 0:
            check_run(Path("new"))
            assert status_of(evaluate_main, ["new", "--num-samples", "3", "--quiet"])[0] == 0
        assert Path("new").exists() == (status != 2)

    holds()


@pytest.mark.ci
@lengths(15, 300)
def test_fit_with_any_configuration(count, place):
    @examples(count)
    @given(
        st.dictionaries(KEYS, NESTED, max_size=3),
        st.lists(
            st.tuples(
                st.sampled_from(["cut", "flip", "insert", "remove"]), st.floats(0, 1), st.binary(min_size=1, max_size=4)
            ),
            max_size=1,
        ),
    )
    def holds(config, damage):
        shutil.rmtree("new", ignore_errors=True)
        text = yaml.safe_dump(config, allow_unicode=True).encode("utf-8", "surrogatepass")
        Path("config.yaml").write_bytes(damaged(text, damage))
        status_of(
            fit_main,
            [
                "--config",
                "config.yaml",
                "--data",
                "real.npy",
                "--likelihood",
                "Normal",
                *BASE,
                "--output-dir",
                "new",
                *SMALL,
            ],
        )

    holds()


@pytest.mark.ci
@lengths(12, 200)
def test_evaluate_with_any_options(count, place):
    @examples(count)
    @given(some_of(EVALUATE_OPTIONS, 4))
    def holds(options):
        before = {name: Path("run", name).read_bytes() for name in RUN_FILES}
        data = Path("real.npy").read_bytes()
        status_of(evaluate_main, ["run", "--num-samples", "6", "--quiet", *options])
        assert {name: Path("run", name).read_bytes() for name in RUN_FILES} == before
        Path("real.npy").write_bytes(data)
        for path in (
            Path("out.csv"),
            *Path("run").glob("evaluation-*"),
            *Path().glob("*.csv.json"),
            Path("real.npy.json"),
        ):
            path.unlink(missing_ok=True)

    holds()


DAMAGE = st.lists(
    st.tuples(
        st.sampled_from(["cut", "flip", "flip", "insert", "remove", "replace"]),
        st.floats(0, 1),
        st.binary(min_size=1, max_size=12)
        | st.sampled_from([b"null", b"{}", b"3", b"[1]", b"nan", b"-1", b"\n", b": "]),
    ),
    min_size=1,
    max_size=2,
)


@pytest.mark.ci
@lengths(25, 400)
def test_runs_with_damaged_files(count, place):
    @examples(count)
    @given(st.sampled_from(RUN_FILES), DAMAGE, st.booleans())
    def holds(name, damage, without_checksum):
        shutil.rmtree("broken", ignore_errors=True)
        shutil.copytree("run", "broken")
        path = Path("broken", name)
        if without_checksum:
            summary = json.loads(Path("broken", "summary.json").read_text())
            del summary["weights_sha256"]
            Path("broken", "summary.json").write_text(json.dumps(summary))
        path.write_bytes(damaged(path.read_bytes(), damage))
        with global_state_kept(), own_errors():
            assert load("broken").vae is not None
        status_of(evaluate_main, ["broken", "--num-samples", "3", "--quiet"])
        status_of(compare_main, ["broken", "other", "--csv", "compared.csv"])

    holds()


def values_of(tree, path=()):
    """Places of all values in nested mappings and lists."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [(*path, key) for key, _ in items] + [
        more for key, value in items for more in values_of(value, (*path, key))
    ]


@pytest.mark.ci
@lengths(25, 400)
def test_runs_that_say_something_else(count, place):
    """One value of the configuration or of the summary is another one, or gone."""
    sources = {"config.yaml": (yaml.safe_load, yaml.safe_dump), "summary.json": (json.loads, json.dumps)}
    places = {
        name: [
            spot for spot in values_of(read(Path("run", name).read_text())) if spot[0] not in ("versions", "seconds")
        ]
        for name, (read, _) in sources.items()
    }
    spots = st.one_of(*(st.tuples(st.just(name), st.sampled_from(found)) for name, found in places.items()))

    @examples(count)
    @given(spots, NESTED | st.just("gone"))
    def holds(spot, value):
        name, (*way, last) = spot
        read, write = sources[name]
        shutil.rmtree("changed", ignore_errors=True)
        shutil.copytree("run", "changed")
        path = Path("changed", name)
        contents = read(path.read_text())
        inner = contents
        for key in way:
            inner = inner[key]
        if value == "gone":
            del inner[last]
        else:
            inner[last] = value
        path.write_text(write(contents), encoding="utf-8")
        with global_state_kept(), own_errors():
            load("changed")
        status_of(evaluate_main, ["changed", "--num-samples", "3", "--quiet"])
        status_of(compare_main, ["changed", "other"])

    holds()


@pytest.mark.ci
@lengths(10, 100)
def test_compare_with_any_folders(count, place):
    names = ["run", "other", "nothing", "real.npy", ".", "", "own.py", "\0", "--", "--csv"]

    @examples(count)
    @given(st.lists(st.sampled_from(names), max_size=4))
    def holds(folders):
        status, _ = status_of(compare_main, folders)
        assert status == 2 or len(folders) >= 2

    holds()
