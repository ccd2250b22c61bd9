"""The files of a run: tables, pictures, a summary and a page that shows them; a page of several runs."""

from pyrovae.report.autoencoders import write_autoencoder
from pyrovae.report.cut_short import write_cut_short
from pyrovae.report.of_comparison import write_comparison
from pyrovae.report.pairs import write_run

__all__ = ["write_autoencoder", "write_comparison", "write_cut_short", "write_run"]
