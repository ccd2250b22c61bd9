"""Test accuracies of classifiers by the number of labels: single runs, means, a table."""

import csv
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from pyrovae.checkpoints import whole_file

METHODS = {
    "pixels-logistic": "logistic regression on pixels",
    "pixels-network": "network on pixels",
    "m1-means": "M1, posterior means",
    "m1-draws": "M1, posterior draws",
    "pc-vae": "PC-VAE",
    "m2": "M2",
    "m1-m2": "M1+M2",
}
"""The classifiers that can be compared, by name."""


@dataclass(frozen=True)
class Result:
    """One classifier, trained and scored.

    Attributes:
        method: a key of ``METHODS``.
        labels: number of labelled rows.
        seed: of the draw of the labels and of the training.
        accuracy: share of test rows whose class is predicted rightly, in percent.
        seconds: of training and scoring; of what was cut off, since it went on.
    """

    method: str
    labels: int
    seed: int
    accuracy: float
    seconds: float


@dataclass(frozen=True)
class Score:
    """The mean of a classifier's results over seeds.

    Attributes:
        method: a key of ``METHODS``.
        labels: number of labelled rows.
        accuracy: mean, in percent.
        standard_error: of the mean, from the spread over seeds; NaN for one seed.
        seeds: number of seeds.
    """

    method: str
    labels: int
    accuracy: float
    standard_error: float
    seeds: int


def mean_scores(results: Sequence[Result]) -> list[Score]:
    """The mean and its standard error for each classifier and number of labels, in the order of ``METHODS``.

    Example:
        >>> mean_scores([Result("m2", 100, 0, 90.0, 1.0), Result("m2", 100, 1, 92.0, 1.0)])
        [Score(method='m2', labels=100, accuracy=91.0, standard_error=1.0, seeds=2)]
    """
    groups: dict[tuple[str, int], list[float]] = {}
    for result in sorted(results, key=lambda result: (list(METHODS).index(result.method), result.labels)):
        groups.setdefault((result.method, result.labels), []).append(result.accuracy)
    return [Score(*group, statistics.fmean(values), _error(values), len(values)) for group, values in groups.items()]


def score_table(scores: Sequence[Score]) -> str:
    """The table as text: a line for each classifier, a column for each number of labels.

    Example:
        >>> print(score_table([Score("m2", 100, 91.0, 1.0, 2)]))
        test accuracy, %                      100 labels
        M2                                   91.0 (1.00)
    """
    columns = sorted({score.labels for score in scores})
    lines = [f"{'test accuracy, %':<32}" + "".join(f"{f'{labels:,} labels':>16}" for labels in columns)]
    for method in dict.fromkeys(score.method for score in scores):
        cells = {score.labels: _cell(score) for score in scores if score.method == method}
        lines.append(f"{METHODS[method]:<32}" + "".join(f"{cells.get(labels, ''):>16}" for labels in columns))
    return "\n".join(lines)


def write_results(results: Sequence[Result], path: Path) -> None:
    """Write a .csv file with a line for each result, whole or not at all."""
    with whole_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Result)])
        writer.writeheader()
        writer.writerows(map(asdict, results))


def read_results(path: Path) -> list[Result]:
    """What ``write_results`` wrote; none where there is no file.

    Raises:
        ValueError: something else is in the file.
    """
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                Result(
                    row["method"], int(row["labels"]), int(row["seed"]), float(row["accuracy"]), float(row["seconds"])
                )
                for row in csv.DictReader(file)
            ]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} does not hold results of a comparison ({error}): begin another in another folder"
        ) from error


def _error(values: Sequence[float]) -> float:
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def _cell(score: Score) -> str:
    error = "-" if math.isnan(score.standard_error) else f"{score.standard_error:.2f}"
    return f"{score.accuracy:.1f} ({error})"
