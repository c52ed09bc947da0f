"""The data set on disk: records, their patterns, manifest and index, written and read."""
