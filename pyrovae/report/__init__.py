"""The files of a run: tables, pictures and a summary."""

from pyrovae.report.autoencoders import ReconstructionErrors, reconstruction_errors, write_autoencoder
from pyrovae.report.pairs import write_run

__all__ = ["ReconstructionErrors", "reconstruction_errors", "write_autoencoder", "write_run"]
