"""Publish a run, and write every page made from the published results.

`python -m helpers.publishing` and `python -m helpers.publishing.slides` are its commands; nothing
is imported here, so that each starts as itself.
"""
