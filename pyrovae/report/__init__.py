"""The files of a run: tables, pictures and a summary."""

from pyrovae.report.autoencoders import write_autoencoder
from pyrovae.report.pairs import write_run

__all__ = ["write_autoencoder", "write_run"]
