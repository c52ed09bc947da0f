"""Work on many samples: several processes, one of which may die, on this machine or on many."""
