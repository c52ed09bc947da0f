"""What people want to know of a pipeline: how its batches look, what holds it up."""
