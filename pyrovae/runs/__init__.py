"""Runs on disk: pairs of programs built from a configuration, stored and loaded."""

from pyrovae.runs.parts import PARTS, build_pair
from pyrovae.runs.storage import CONFIG_FILE, SUMMARY_FILE, WEIGHTS_FILE, Run, load, save, write_summary

__all__ = ["CONFIG_FILE", "PARTS", "SUMMARY_FILE", "WEIGHTS_FILE", "Run", "build_pair", "load", "save", "write_summary"]
