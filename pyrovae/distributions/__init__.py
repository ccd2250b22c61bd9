"""Distributions that Pyro does not have."""

from pyrovae.distributions.columns import Columns, ColumnValues
from pyrovae.distributions.partly_observed import EntryOrMissing, PartlyObserved

__all__ = ["ColumnValues", "Columns", "EntryOrMissing", "PartlyObserved"]
