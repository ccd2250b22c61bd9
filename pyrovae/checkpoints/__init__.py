"""What a fit needs to go on after it was cut off: files of its state, and stopping in good order."""

from pyrovae.checkpoints.files import whole_file, write_whole
from pyrovae.checkpoints.fingerprint import fingerprint
from pyrovae.checkpoints.keeper import Keeper, begin_or_resume
from pyrovae.checkpoints.store import Checkpoints, State

__all__ = ["Checkpoints", "Keeper", "State", "begin_or_resume", "fingerprint", "whole_file", "write_whole"]
