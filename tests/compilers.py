"""Whether operations can be compiled here."""

import os
import shutil


def has_compiler():
    """One of those that TorchInductor looks for."""
    return any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++")))
