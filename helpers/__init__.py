"""Shared code behind the notebooks, one module per step of the work."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # errors reach us as exceptions
