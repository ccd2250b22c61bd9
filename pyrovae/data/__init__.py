"""Data sets, split into training, validation and test rows."""

from pyrovae.data.columns import check_column_kinds, column_moments, columns_by_kind, num_categories, trouble_of_scale
from pyrovae.data.conversion import way_to_tensor
from pyrovae.data.corruption import Corruption, GaussianNoise, Masking, SaltAndPepper, Translation
from pyrovae.data.covariates import Covariates, column_covariates, label_covariates
from pyrovae.data.facts import value_range
from pyrovae.data.load import load_data
from pyrovae.data.missing import mark_missing
from pyrovae.data.named import BINARIZED, NAMES
from pyrovae.data.splits import DataSplits
from pyrovae.data.streaming import (
    AnyRows,
    StreamedRows,
    all_in_memory,
    blocks_of,
    rows_at_once,
    rows_in_memory,
)
from pyrovae.data.tables import table_as_written
from pyrovae.data.typed import KnownColumns, UnusableValuesError

__all__ = [
    "BINARIZED",
    "NAMES",
    "AnyRows",
    "Corruption",
    "Covariates",
    "DataSplits",
    "GaussianNoise",
    "KnownColumns",
    "Masking",
    "SaltAndPepper",
    "StreamedRows",
    "Translation",
    "UnusableValuesError",
    "all_in_memory",
    "blocks_of",
    "check_column_kinds",
    "column_covariates",
    "column_moments",
    "columns_by_kind",
    "label_covariates",
    "load_data",
    "mark_missing",
    "num_categories",
    "rows_at_once",
    "rows_in_memory",
    "table_as_written",
    "trouble_of_scale",
    "value_range",
    "way_to_tensor",
]
