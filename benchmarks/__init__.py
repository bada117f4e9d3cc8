"""Measurements on the embedded stack: our figure, the bare path's in the same run, and the ratio of the two."""
