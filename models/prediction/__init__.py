"""A finished run asked about unlabelled patterns: calibrated, for a sample or for a material."""
