"""The commands of this package: flags in, one call of a plain function."""
