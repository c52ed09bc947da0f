"""The run folder, and all that a training keeps in it so that it can go on."""
