"""Data sets, split into training, validation and test rows."""

from pyrovae.data.load import load_data
from pyrovae.data.named import NAMES
from pyrovae.data.splits import DataSplits

__all__ = ["NAMES", "DataSplits", "load_data"]
