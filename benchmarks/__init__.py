"""How fast this is beside the usual pipelines: `python -m benchmarks`, or `make benchmark`."""
