"""HDF5 files of an archive -> labels, places of patterns, and whether a sample can be trusted."""
