"""The code behind the notebooks; its folders show the way of the data."""

import logging
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # errors reach us as exceptions

# It warns of every fifth network in a row, as if one network were rebuilt by mistake
logging.getLogger("tensorflow").addFilter(lambda record: "retracing" not in record.getMessage())
