"""The files of a run: tables, pictures, a summary and a page that shows them; a page of several runs."""

from pyrovae.report.comparison_page import write_comparison
from pyrovae.report.files.autoencoder import write_autoencoder
from pyrovae.report.files.cut_short import write_cut_short
from pyrovae.report.files.pair import write_run

__all__ = ["write_autoencoder", "write_comparison", "write_cut_short", "write_run"]
