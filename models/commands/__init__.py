"""The commands of this room: flags in, one call of a plain function."""
