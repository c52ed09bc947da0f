"""A run's model as SavedModel for other programs: written, checked, timed."""
