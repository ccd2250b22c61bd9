"""``python -m pyrovae.evaluate`` and ``python -m pyrovae.compare`` on runs that the first command stored."""

import io
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from processes import take_interrupts

from pyrovae import ais, compare_bounds, compare_runs, inference_gap, load, load_data, save
from pyrovae.compare import main as compare_main
from pyrovae.encode import main as encode_main
from pyrovae.evaluate import main as evaluate_main
from pyrovae.evaluation import BoundComparison
from pyrovae.evaluation.log_mean import row_means
from pyrovae.evaluation.summaries import means_table
from pyrovae.fit import main as fit_main

ROOT = Path(__file__).parents[2]
QUICK = ["--ais-leapfrog", "1", "--ais-warm-up", "5"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three stored runs: two on the same rows, one on others."""
    folder = tmp_path_factory.mktemp("runs")
    quick = ["--num-samples", "50", "--no-report", "--quiet"]
    for name, options in (
        ("short", ["--epochs", "1"]),
        ("long", ["--epochs", "15"]),
        ("other", ["--epochs", "1", "--seed", "1"]),
    ):
        assert fit_main([*quick, *options, "--output-dir", str(folder / name)]) == 0
    return folder


@pytest.fixture(scope="module")
def six(tmp_path_factory):
    """A file of six test rows."""
    path = tmp_path_factory.mktemp("rows") / "six.npz"
    rows = load_data("digits", binarize="dynamic").test[:6].numpy()
    np.savez(path, train=np.zeros((3, 1, 8, 8), dtype=np.float32), test=rows)
    return str(path)


def read(path):
    return pd.read_csv(path, index_col="row")


def test_more_draws_for_a_stored_run(runs, capsys):
    assert evaluate_main([str(runs / "long"), "--num-samples", "300", "--quiet"]) == 0
    table = read(runs / "long" / "evaluation-300.csv")
    run, data = load(runs / "long"), load_data("digits", binarize="dynamic")
    bounds = compare_bounds(run.model, run.guide, data.test, num_samples=300)
    assert table["log_px"].tolist() == bounds.log_px.tolist()
    assert (table["data_checksum"] == data.checksum).all()
    text = capsys.readouterr().out
    assert f"{bounds.log_px.mean().item():.3f}" in text
    assert "300 draws each" in text
    again = BoundComparison.from_frame(table, 300)
    assert again.summary() == bounds.summary()


def test_gap_and_annealing_add_their_columns(runs, six, capsys):
    small = load_data("digits", binarize="dynamic").test[:6]
    options = [
        "--num-samples",
        "60",
        "--gap",
        "--ais",
        "--ais-temperatures",
        "20",
        "--ais-chains",
        "4",
        "--quiet",
        *QUICK,
    ]
    assert evaluate_main([str(runs / "long"), "--data", six, *options]) == 0
    table = read(runs / "long" / "evaluation-60-six.csv")
    assert len(table) == 6
    run = load(runs / "long")
    gap = inference_gap(run.model, run.guide, small, num_samples=60)
    assert table["approximation"].tolist() == gap.approximation.tolist()
    assert table["amortisation"].tolist() == gap.amortisation.tolist()
    assert table["ais_log_px"].between(-60, -5).all()
    assert table["ais_acceptance"].between(0, 1).all()
    text = capsys.readouterr().out
    for name in ("approximation", "amortisation", "AIS log p(x)", "AIS from the prior: 4 chains of 20 temperatures"):
        assert name in text
    assert table["gap_k_hat"].tolist() == pytest.approx(gap.k_hat.tolist(), nan_ok=True)
    assert gap.summary().splitlines()[4] in text
    assert "k-hat" in text.splitlines()[-2]
    # A table of an earlier version is of another estimate, and neither gone on with nor changed.
    path = runs / "long" / "evaluation-60-six.csv"
    beside = path.with_name(f"{path.name}.json")
    asked = json.loads(beside.read_text())
    del asked["gap_from"]
    beside.write_text(json.dumps(asked))
    before = path.read_bytes()
    assert evaluate_main([str(runs / "long"), "--data", six, *options]) == 2
    assert "from another version" in capsys.readouterr().err
    assert path.read_bytes() == before


@pytest.mark.slow
def test_an_interruption_loses_no_rows_that_are_scored(runs, tmp_path):
    """Interrupted by SIGINT after the first part, then the same command: the table of an uninterrupted run."""
    rows = load_data("digits", binarize="dynamic").train[:600].bernoulli().numpy()
    np.savez(tmp_path / "many.npz", train=np.zeros((3, 1, 8, 8), dtype=np.float32), test=rows)
    arguments = [str(runs / "short"), "--data", str(tmp_path / "many.npz"), "--num-samples", "1500"]
    table = tmp_path / "cut.csv"
    process = subprocess.Popen(
        [sys.executable, "-m", "pyrovae.evaluate", *arguments, "--output", str(table)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=take_interrupts,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
    )
    while not (table.is_file() and table.read_text().count("\n") > 256):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the rows that were scored are kept" in error
    assert 256 <= table.read_text().count("\n") - 1 < 600
    # A line that was cut off while it was written is scored again.
    text = table.read_text()
    table.write_text(text[: text.rindex("\n", 0, -1) - 100])
    assert evaluate_main([*arguments, "--quiet", "--output", str(table)]) == 0
    assert evaluate_main([*arguments, "--quiet", "--output", str(tmp_path / "whole.csv")]) == 0
    pd.testing.assert_frame_equal(read(table), read(tmp_path / "whole.csv"))


@pytest.mark.slow
def test_an_interruption_of_annealing_loses_no_block(runs, tmp_path):
    """Blocks of 16 rows are on the disk long before a part of 256 is done; the rest goes on after SIGINT."""
    rows = load_data("digits", binarize="dynamic").train[:40].bernoulli().numpy()
    np.savez(tmp_path / "few.npz", train=np.zeros((3, 1, 8, 8), dtype=np.float32), test=rows)
    arguments = [str(runs / "short"), "--data", str(tmp_path / "few.npz"), "--num-samples", "30", "--ais"]
    arguments += ["--ais-temperatures", "80", "--ais-start", "guide", "--ais-schedule", "linear", *QUICK]
    table = tmp_path / "cut.csv"
    process = subprocess.Popen(
        [sys.executable, "-m", "pyrovae.evaluate", *arguments, "--output", str(table)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=take_interrupts,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
    )
    while not (table.is_file() and table.read_text().count("\n") > 16):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the rows that were scored are kept" in error
    kept = table.read_text().splitlines()
    assert 16 <= len(kept) - 1 < 40
    assert evaluate_main([*arguments, "--quiet", "--output", str(table)]) == 0
    assert table.read_text().splitlines()[: len(kept)] == kept
    assert evaluate_main([*arguments, "--quiet", "--output", str(tmp_path / "whole.csv")]) == 0
    whole = read(tmp_path / "whole.csv")
    pd.testing.assert_frame_equal(read(table), whole, rtol=0, atol=0)
    # Each block is what ais gives, with the first of its rows added to the seed.
    run, x = load(runs / "short"), torch.from_numpy(rows)
    options = {"num_temperatures": 80, "start": "guide", "schedule": "linear", "num_leapfrog": 1, "warm_up": 5}
    block = ais(run.model, run.guide, x[32:], seed=32, **options)
    np.testing.assert_allclose(whole["ais_log_px"][32:], block.log_px, rtol=1e-12)
    np.testing.assert_allclose(whole["ais_ess"][32:], block.ess, rtol=1e-12)
    # Annealing leaves the other columns as they are without it.
    bounds = compare_bounds(run.model, run.guide, x, num_samples=30)
    np.testing.assert_allclose(whole["log_px"], bounds.log_px, rtol=1e-12)


@pytest.mark.parametrize("other", [["--ais-start", "guide"], ["--ais-schedule", "linear"], ["--ais-warm-up", "4"]])
def test_a_table_of_another_path_is_not_mixed_in(runs, six, tmp_path, capsys, other):
    table = tmp_path / "t.csv"
    arguments = [str(runs / "short"), "--data", six, "--num-samples", "30", "--quiet", "--output", str(table)]
    arguments += ["--ais", "--ais-temperatures", "5", "--ais-chains", "4", *QUICK]
    assert evaluate_main(arguments) == 0
    before = table.read_bytes()
    assert "AIS from the prior: 4 chains of 5 temperatures (sigmoid)" in capsys.readouterr().out
    assert evaluate_main([*arguments, *other]) == 2
    assert "is there for other options" in capsys.readouterr().err
    assert table.read_bytes() == before
    # As an earlier version wrote it, which knew of one start only.
    beside = table.with_name("t.csv.json")
    asked = json.loads(beside.read_text())
    del asked["options"]["ais_start"]
    beside.write_text(json.dumps(asked))
    assert evaluate_main(arguments) == 2
    assert table.read_bytes() == before
    assert evaluate_main([*arguments, *other, "--overwrite"]) == 0
    assert read(table)["ais_log_px"].tolist() != pd.read_csv(io.BytesIO(before))["ais_log_px"].tolist()


def test_a_start_from_the_guide_comes_closer_where_the_guide_is_good(runs, six, tmp_path):
    arguments = [str(runs / "long"), "--data", six, "--num-samples", "2000", "--quiet", "--ais"]
    arguments += ["--ais-temperatures", "8", "--ais-chains", "8", "--ais-leapfrog", "4", "--ais-warm-up", "20"]
    for start in ("prior", "guide"):
        assert evaluate_main([*arguments, "--ais-start", start, "--output", str(tmp_path / f"{start}.csv")]) == 0
    prior, guide = read(tmp_path / "prior.csv"), read(tmp_path / "guide.csv")
    assert (guide["log_px"] == prior["log_px"]).all()
    assert guide["ais_ess"].mean() > prior["ais_ess"].mean() + 1
    # Its Monte Carlo error is 0.06 over the rows.
    assert abs((guide["ais_log_px"] - guide["log_px"]).mean()) < 0.4


def test_a_table_for_other_options_is_not_mixed_in(runs, tmp_path, capsys):
    output = ["--output", str(tmp_path / "t.csv"), "--quiet"]
    assert evaluate_main([str(runs / "short"), "--num-samples", "30", *output]) == 0
    before = (tmp_path / "t.csv").read_bytes()
    assert evaluate_main([str(runs / "short"), "--num-samples", "40", *output]) == 2
    assert "is there for other options, other weights, other data or from another version" in capsys.readouterr().err
    assert (tmp_path / "t.csv").read_bytes() == before
    assert evaluate_main([str(runs / "short"), "--num-samples", "40", *output, "--overwrite"]) == 0
    assert read(tmp_path / "t.csv")["num_samples"].unique().tolist() == [40]


def test_runs_are_compared_by_paired_differences(runs, tmp_path, capsys):
    folders = [str(runs / "short"), str(runs / "long")]
    for folder in folders:
        assert evaluate_main([folder, "--num-samples", "200", "--quiet"]) == 0
        # Of several tables the one with the most draws counts.
        for path in Path(folder).glob("evaluation-300.csv"):
            path.unlink()
    capsys.readouterr()
    assert compare_main([*folders, "--csv", str(tmp_path / "c.csv")]) == 0
    text = capsys.readouterr().out
    short, long = (read(Path(folder) / "evaluation-200.csv") for folder in folders)
    difference = short["log_px"] - long["log_px"]
    comparison = compare_runs(folders)
    first, second = comparison.table.iloc[0], comparison.table.iloc[1]
    assert first["run"] == folders[1]
    assert second["difference"] == pytest.approx(difference.mean())
    assert second["difference_standard_error"] == pytest.approx(difference.std() / 180**0.5)
    draws = ((short["standard_error"] ** 2 + long["standard_error"] ** 2).sum()) ** 0.5 / 180
    assert second["difference_draws_error"] == pytest.approx(draws)
    assert f"{folders[1]} is better than {folders[0]}" in text
    # The best epoch of both is the last one.
    summaries = [json.loads((Path(folder) / "summary.json").read_text())["training"] for folder in folders]
    assert [summary["best_epoch"] for summary in summaries] == [1, 15]
    assert comparison.still_improving == (folders[1], folders[0])
    assert f"{folders[1]} and {folders[0]} were still improving: more epochs may change this." in text
    assert len(pd.read_csv(tmp_path / "c.csv")) == 2
    # Pairing tells apart what two separate errors would not.
    assert second["difference_standard_error"] < (short["log_px"].sem() ** 2 + long["log_px"].sem() ** 2) ** 0.5


def bad(runs, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir(exist_ok=True)
    return {
        "one run": (compare_main, [str(runs / "short")], "1 run given; a comparison needs two"),
        "other rows": (
            compare_main,
            [str(runs / "short"), str(runs / "other")],
            "were scored on different rows, or splits of them",
        ),
        "the same run twice": (compare_main, [str(runs / "short")] * 2, "a run is named twice"),
        "the same run in other words": (compare_main, [str(runs / "short"), f"{runs}/short/"], "a run is named twice"),
        "no run folder": (
            compare_main,
            [str(runs / "short"), str(empty)],
            "is no run folder: there is no config.yaml, summary.json in it; give",
        ),
        "no run to evaluate": (evaluate_main, [str(empty)], "is no run folder"),
        "no draws": (evaluate_main, [str(runs / "short"), "--num-samples", "0"], "num-samples"),
        "start": (
            evaluate_main,
            [str(runs / "short"), "--ais", "--ais-start", "encoder"],
            "--ais-start is encoder; expected one of prior, guide",
        ),
        "unknown option": (evaluate_main, [str(runs / "short"), "--num-sample", "3"], "did you mean --num-samples"),
        "device": (evaluate_main, [str(runs / "short"), "--device", "abacus"], "--device abacus"),
    }


@pytest.mark.parametrize(
    "case",
    [
        "one run",
        "other rows",
        "the same run twice",
        "no run folder",
        "no run to evaluate",
        "no draws",
        "start",
        "unknown option",
        "device",
    ],
)
def test_bad_input_is_one_clear_error(case, runs, tmp_path, capsys):
    main, arguments, message = bad(runs, tmp_path)[case]
    try:
        status = main([*arguments, *(["--quiet"] if main is evaluate_main else [])])
    except SystemExit as stop:
        status = stop.code
    error = capsys.readouterr().err
    assert status == 2
    assert error.startswith("error: ")
    assert re.search(message, error), error


def test_rows_of_another_shape_are_refused(runs, tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 2, size=(20, 5)).astype("float32"))
    assert evaluate_main([str(runs / "short"), "--data", str(tmp_path / "x.npy"), "--quiet"]) == 2
    assert "rows have shape (5,), the run was fitted to (1, 8, 8)" in capsys.readouterr().err


def test_summaries_name_the_rows_not_to_be_believed(runs):
    summary = json.loads((runs / "short" / "summary.json").read_text())["evaluation"]
    table = read(runs / "short" / "evaluation.csv")
    assert sorted(summary["unreliable_rows"]) == table.index[~table["reliable"]].tolist()


def test_a_file_that_is_no_table_of_ours_is_left_alone(runs, tmp_path, capsys):
    (tmp_path / "mine.csv").write_text("a,b\n1,2\n")
    assert evaluate_main([str(runs / "short"), "--output", str(tmp_path / "mine.csv"), "--quiet"]) == 2
    assert (tmp_path / "mine.csv").read_text() == "a,b\n1,2\n"
    assert evaluate_main([str(runs / "short"), "--output", str(tmp_path / "no" / "t.csv"), "--quiet"]) == 2
    assert "there is no folder" in capsys.readouterr().err


@pytest.mark.slow
def test_tables_of_old_weights_neither_stay_nor_go_on(tmp_path, capsys):
    """The same folder fitted again: what was scored before is gone, and a table elsewhere is not continued."""
    run, elsewhere = str(tmp_path / "run"), ["--output", str(tmp_path / "t.csv")]
    fit = ["--num-samples", "30", "--quiet", "--output-dir", run]
    score = [run, "--num-samples", "40", "--quiet"]
    assert fit_main([*fit, "--epochs", "1"]) == 0
    assert evaluate_main(score) == evaluate_main([*score, *elsewhere]) == 0
    assert (tmp_path / "run" / "evaluation-40.csv").is_file()
    assert fit_main([*fit, "--epochs", "2", "--overwrite"]) == 0
    assert not list((tmp_path / "run").glob("evaluation-*"))
    assert evaluate_main([*score, *elsewhere]) == 2
    assert "other weights" in capsys.readouterr().err


def test_tables_of_other_data_are_not_compared(runs, tmp_path):
    rows = load_data("digits", binarize="dynamic").test[:5].numpy()
    np.savez(tmp_path / "five.npz", train=np.zeros((3, 1, 8, 8), dtype=np.float32), test=rows)
    folders = [str(runs / "short"), str(runs / "long")]
    before = compare_runs(folders).summary()
    for folder in folders:
        assert evaluate_main([folder, "--data", str(tmp_path / "five.npz"), "--num-samples", "900", "--quiet"]) == 0
    assert compare_runs(folders).summary() == before


def test_another_data_variant_is_refused(runs, tmp_path, capsys):
    """The same images and seed, made bits in another way."""
    options = ["--binarize", "threshold", "--epochs", "1", "--num-samples", "30", "--quiet"]
    assert fit_main([*options, "--output-dir", str(tmp_path / "run")]) == 0
    assert compare_main([str(runs / "short"), str(tmp_path / "run")]) == 2
    assert "were scored on different" in capsys.readouterr().err


@pytest.mark.parametrize("value", [np.nan, -np.inf, np.inf])
def test_runs_with_a_row_without_a_finite_number_come_last(runs, tmp_path, capsys, value):
    """The better of two runs, given such a row."""
    for name in ("short", "long"):
        shutil.copytree(runs / name, tmp_path / name, ignore=shutil.ignore_patterns("evaluation-*"))
    short, long = str(tmp_path / "short"), str(tmp_path / "long")
    table = read(tmp_path / "long" / "evaluation.csv")
    table.loc[[3, 8], ["log_px", "k_hat", "elbo"]] = value
    table.loc[[3, 8], "standard_error"] = np.inf if np.isinf(value) else np.nan
    table.loc[[3, 8], "reliable"] = False
    table.to_csv(tmp_path / "long" / "evaluation.csv")
    comparison = compare_runs([long, short])
    assert comparison.table["run"].tolist() == [short, long]
    assert comparison.infinite_rows == {short: [], long: [3, 8]}
    rows = comparison.table.set_index("run")
    np.testing.assert_equal(rows.loc[long, ["log_px", "difference"]].tolist(), [value, value])
    assert rows.loc[short, "log_px"] == pytest.approx(read(tmp_path / "short" / "evaluation.csv")["log_px"].mean())
    assert compare_main([long, short, "--html", str(tmp_path / "page.html")]) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith(
        f"{short} and {long} do not compare by their means, whose difference is not finite. log p(x) of {long} is "
        "infinite or NaN in 2 of 180 rows, the first is row 3: look there"
    )
    assert 'class="answer care"' in (tmp_path / "page.html").read_text()


def test_of_one_draw_the_error_of_the_draws_is_unknown(runs, tmp_path, capsys):
    """That of the paired differences holds their noise, and is left alone to tell the runs apart."""
    folders = [str(tmp_path / name) for name in ("long", "short")]
    for folder in folders:
        shutil.copytree(runs / Path(folder).name, folder, ignore=shutil.ignore_patterns("evaluation*"))
        assert evaluate_main([folder, "--num-samples", "1", "--quiet"]) == 0
    capsys.readouterr()
    assert compare_main([*folders, "--html", str(tmp_path / "page.html")]) == 0
    line, *_, verdict = capsys.readouterr().out.splitlines()[2:]
    comparison = compare_runs(folders)
    paired = comparison.table["difference_standard_error"].iloc[1]
    assert line.split()[5:8] == [f"{paired:.3f}", "nan", "1"]
    assert comparison.apart
    assert f"standard error {paired:.3f}." in verdict
    assert verdict in (tmp_path / "page.html").read_text()


def test_data_that_changed_since_the_fit_are_refused(tmp_path, capsys):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.normal(size=(60, 3)))
    options = ["--data", str(tmp_path / "x.npy"), "--likelihood", "Normal", "--batch-size", "20", "--epochs", "1"]
    assert fit_main([*options, "--num-samples", "30", "--quiet", "--output-dir", str(tmp_path / "run")]) == 0
    np.save(tmp_path / "x.npy", rng.normal(size=(60, 3)))
    assert evaluate_main([str(tmp_path / "run"), "--quiet"]) == 2
    assert "does not hold the rows that the run was fitted to any more" in capsys.readouterr().err


def test_errors_name_their_own_command(capsys):
    with pytest.raises(SystemExit):
        evaluate_main(["run", "--num-sample", "3"])
    assert "For all options: python -m pyrovae.evaluate --help" in capsys.readouterr().err


def test_tables_of_weights_that_are_gone_do_not_count(runs, tmp_path):
    """One of many draws, in the folder, that was scored by other weights."""
    folder = tmp_path / "run"
    shutil.copytree(runs / "long", folder)
    assert evaluate_main([str(folder), "--num-samples", "400", "--quiet"]) == 0
    both = [str(folder), str(runs / "other")]
    with pytest.raises(ValueError, match="different"):
        compare_runs(both)
    before = compare_runs([str(folder), str(runs / "short")]).table
    assert before["num_samples"].max() == 400
    beside = folder / "evaluation-400.csv.json"
    beside.write_text(json.dumps({**json.loads(beside.read_text()), "weights": "of others"}))
    after = compare_runs([str(folder), str(runs / "short")]).table
    assert after.loc[after["run"] == str(folder), "num_samples"].item() < 400


def copy_with_unreliable_rows(run, folder, count):
    """A copy of a run whose first rows, and no others, are unreliable."""
    shutil.copytree(run, folder)
    for path in folder.glob("evaluation*.csv"):
        table = read(path)
        table.assign(reliable=table.index >= count).to_csv(path)
    return str(folder)


@pytest.mark.parametrize(
    ("of_best", "of_second", "above", "counts"),
    [
        (18, 18, "is better than", None),
        (19, 18, "is better than", "19 of 180 rows of {best}"),
        (0, 19, "is above", "19 of 180 rows of {second}"),
        (180, 100, "is above", "180 of 180 rows of {best} and 100 of 180 rows of {second}"),
    ],
)
def test_a_difference_of_numbers_that_cannot_be_believed_says_so(
    runs, tmp_path, capsys, of_best, of_second, above, counts
):
    """From a tenth of the rows on; as their log p(x) is too low, a doubtful second run may be as good as the best."""
    best = copy_with_unreliable_rows(runs / "long", tmp_path / "best", of_best)
    second = copy_with_unreliable_rows(runs / "short", tmp_path / "second", of_second)
    assert compare_main([second, best, "--html", str(tmp_path / "page.html")]) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith(f"{best} {above} {second}: ")
    page = (tmp_path / "page.html").read_text()
    if counts is None:
        assert "But in" not in said
        assert 'class="answer good"' in page
    else:
        assert (
            f" But in {counts.format(best=best, second=second)} k-hat is above its limit or unknown: log p(x) is too "
            "low or uncertain there, and so is the difference." in said
        )
        assert 'class="answer care"' in page
        assert 'class="answer good"' not in page


def test_one_decoder_is_not_better_than_itself_under_a_narrower_encoder(runs, tmp_path):
    """log p(x) is that of prior and decoder, bit for bit the same ones: any difference is of the estimates alone."""
    folders = [str(tmp_path / name) for name in ("as-fitted", "narrow")]
    provenance = {"data": load_data("digits", binarize="dynamic").provenance()}
    for folder, width in zip(folders, (1.0, 0.6), strict=True):
        run = load(runs / "long")
        scales = run.vae.posterior.encoder.layers[-1].bias.data[10:]
        typical = run.vae.posterior(load_data("digits", binarize="dynamic").train).stddev.mean(0).detach()
        # The scale of q is the softplus of these outputs.
        scales += (width * typical).expm1().log() - typical.expm1().log()
        save(run, folder, provenance)
        assert evaluate_main([folder, "--num-samples", "1000", "--quiet"]) == 0
    comparison = compare_runs(folders)
    assert (comparison.apart, comparison.doubtful) == (True, folders[1:])
    assert f"{folders[0]} is above {folders[1]}: " in comparison.verdict()


@pytest.fixture(scope="module")
def unlike(tmp_path_factory):
    """Runs on the same bits by a density, and by probabilities of two fits."""
    folder = tmp_path_factory.mktemp("unlike")
    quick = ["--binarize", "threshold", "--num-samples", "300", "--no-report", "--quiet"]
    for name, options in (
        ("density", ["--likelihood", "Normal", "--epochs", "5"]),
        ("probability", ["--epochs", "5"]),
        ("probability-short", ["--epochs", "1"]),
    ):
        assert fit_main([*quick, *options, "--output-dir", str(folder / name)]) == 0
    return folder


def test_a_density_is_not_called_better_than_a_probability(unlike, tmp_path, capsys):
    density, probability, short = (str(unlike / name) for name in ("density", "probability", "probability-short"))
    assert compare_main([probability, density, "--html", str(tmp_path / "page.html")]) == 0
    said = capsys.readouterr().out
    means = [read(Path(run) / "evaluation.csv")["log_px"].mean() for run in (density, probability)]
    best, second = (density, probability) if means[0] > means[1] else (probability, density)
    assert f"{best} is above {second}: " in said
    assert "The numbers do not compare, a density depends on the units of x" in said
    assert f"those of {density} densities" in said
    assert f"those of {probability} probabilities" in said
    page = (tmp_path / "page.html").read_text()
    assert "The numbers of the best two do not compare" in page
    assert "The best two differ" not in page
    alike = compare_runs([probability, short])
    assert f"{probability} is better than {short}" in alike.verdict()
    assert "do not compare" not in alike.verdict()
    assert (alike.apart, alike.unlike) == (True, False)
    # Of three runs the sentence is about all of them, whichever are the best two.
    assert f"those of {probability} and {short} probabilities" in compare_runs([short, probability, density]).verdict()


def test_columns_are_not_called_better_than_one_density_of_all(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"height": rng.normal(size=200), "ill": rng.integers(0, 2, 200)})
    table.to_csv("people.csv", index=False)
    options = [
        "--data",
        "people.csv",
        "--columns",
        "{ill: binary}",
        "--epochs",
        "2",
        "--num-samples",
        "50",
        "--no-report",
        "--quiet",
    ]
    for name in ("Columns", "Normal"):
        assert fit_main([*options, "--likelihood", name, "--output-dir", name]) == 0
    comparison = compare_runs(["Columns", "Normal"])
    assert comparison.kinds["Columns"] == "densities of column 0, probabilities of the others"
    assert comparison.kinds["Normal"] == "densities"
    assert comparison.unlike
    assert "is better than" not in comparison.verdict()


@pytest.mark.parametrize("said", [{}, {"numbers": []}, {"numbers": None}, "nothing", [1]])
def test_runs_that_do_not_say_their_kind_are_compared_as_before(said, unlike, tmp_path):
    for name in ("density", "probability"):
        shutil.copytree(unlike / name, tmp_path / name)
    summary = tmp_path / "density" / "summary.json"
    contents = json.loads(summary.read_text())
    summary.write_text(json.dumps(contents | {"evaluation": said, "training": said}))
    comparison = compare_runs([tmp_path / "density", tmp_path / "probability"])
    assert not comparison.unlike
    assert "do not compare" not in comparison.verdict()


def test_fewer_draws_at_once_go_on_with_the_same_table(runs, tmp_path):
    score = [str(runs / "short"), "--num-samples", "35", "--quiet", "--output", str(tmp_path / "t.csv")]
    assert evaluate_main(score) == evaluate_main([*score, "--chunk-size", "5"]) == 0


def test_files_of_runs_are_not_written_over(runs, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(runs / "short", folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    options = ["--output", str(folder / "summary.json"), "--overwrite", "--quiet"]
    assert evaluate_main([str(folder), *options]) == 2
    assert "is no table of this command" in capsys.readouterr().err
    (folder / "evaluation-7.csv").write_text("scored\n")
    before["evaluation-7.csv"] = b"scored\n"
    for name in ("evaluation.csv", "config.yaml", "evaluation-7.csv"):
        for option in ("--csv", "--html"):
            assert compare_main([str(folder), str(runs / "long"), option, str(folder / name)]) == 2
            assert "it is a file of a run; give another name" in capsys.readouterr().err
        assert encode_main([str(folder), "--output", str(folder / name), "--overwrite"]) == 2
        assert "it is a file of a run; give another name" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_run_without_scored_rows_is_scored_by_the_command_that_is_named(runs, tmp_path, capsys):
    folder = tmp_path / "no rows"
    shutil.copytree(runs / "short", folder)
    for path in folder.glob("evaluation*"):
        path.unlink()
    assert compare_main([str(folder), str(runs / "long")]) == 2
    command = capsys.readouterr().err.strip().partition("score them with ")[2]
    assert command == f"python -m pyrovae.evaluate '{folder}'"
    assert evaluate_main([*shlex.split(command)[3:], "--num-samples", "50", "--quiet"]) == 0
    assert compare_main([str(folder), str(runs / "long")]) == 0


def test_large_numbers_stay_apart():
    frame = pd.DataFrame({"a": [1e15 + 0.5, 2e15]})
    values = torch.tensor(frame["a"].to_numpy())
    line = means_table(row_means({"ELBO": (values, values)}))[1]
    assert len(line.split()) == 4


def test_settings_that_change_nothing_are_not_listed(runs, tmp_path, capsys):
    """The same run twice, kept in other places and ways: no setting differs, and a difference of 0 has no sign."""
    changed = {"checkpoint_every": 7.0, "keep_checkpoints": 5, "chunk_size": 3, "data_root": "there", "quiet": False}
    for name in ("one", "other"):
        shutil.copytree(runs / "short", tmp_path / name, ignore=shutil.ignore_patterns("evaluation-*"))
    path = tmp_path / "other" / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changed}, sort_keys=False))
    # Half of what the last digit shows, below.
    table = tmp_path / "other" / "evaluation.csv"
    scored = read(table)
    scored.assign(log_px=scored["log_px"] - 2e-4).to_csv(table)
    folders = [str(tmp_path / "one"), str(tmp_path / "other")]
    comparison = compare_runs(folders)
    assert comparison.settings == {folder: {} for folder in folders}
    assert compare_main([*folders, "--html", str(tmp_path / "both.html")]) == 0
    text = capsys.readouterr().out
    assert "-0.000" not in text + (tmp_path / "both.html").read_text()
    assert re.search(rf"{folders[1]} .* 0\.000 ", text)


def test_rows_that_the_likelihood_refuses_leave_no_file(runs, tmp_path, capsys):
    np.savez(tmp_path / "grey.npz", train=np.zeros((3, 1, 8, 8)), test=np.full((2, 1, 8, 8), 0.5))
    output = tmp_path / "scores" / "t.csv"
    output.parent.mkdir()
    folder = tmp_path / "run"
    shutil.copytree(runs / "short", folder)
    # As a run whose rows were bits as they stood.
    config = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump({**config, "binarize": "none"}, sort_keys=False))
    score = [str(folder), "--data", str(tmp_path / "grey.npz"), "--output", str(output), "--quiet"]
    assert evaluate_main(score) == 2
    assert "0.5" in capsys.readouterr().err
    assert list(output.parent.iterdir()) == []
    # Nor those of rows that it took before.
    bits = str(tmp_path / "bits.npz")
    np.savez(bits, train=np.zeros((3, 1, 8, 8)), test=np.ones((2, 1, 8, 8)))
    assert evaluate_main([str(folder), "--data", bits, "--num-samples", "20", *score[3:]]) == 0
    assert evaluate_main([*score, "--overwrite"]) == 2
    assert list(output.parent.iterdir()) == []


def test_all_rows_of_other_data_are_scored(runs, tmp_path, capsys):
    """In the order of the file, as compare_bounds scores them, also where they are too few to be split."""
    run, x = load(runs / "short"), load_data("digits", binarize="dynamic").test
    for count in (12, 1):
        np.save(tmp_path / "new.npy", x[:count].numpy())
        arguments = [str(runs / "short"), "--data", str(tmp_path / "new.npy"), "--num-samples", "20", "--quiet"]
        assert evaluate_main([*arguments, "--all-rows", "--overwrite"]) == 0
        assert f"scored      all {count} row{'s' * (count > 1)} of new.npy" in capsys.readouterr().out
        table = runs / "short" / "evaluation-20-new-all.csv"
        assert (
            read(table)["log_px"].tolist()
            == compare_bounds(run.model, run.guide, x[:count], num_samples=20).log_px.tolist()
        )
        told = json.loads(table.with_name(f"{table.name}.json").read_text())["data"]
        assert told["all_rows"] is True
        assert told["rows"] == {"train": 0, "validation": 0, "test": count}


def test_all_rows_are_those_of_data_without_test_rows(runs, six, capsys):
    assert evaluate_main([str(runs / "short"), "--all-rows"]) == 2
    assert "add --data, or leave --all-rows out" in capsys.readouterr().err
    assert evaluate_main([str(runs / "short"), "--data", six, "--all-rows"]) == 2
    assert "six.npz has test rows of its own" in capsys.readouterr().err
