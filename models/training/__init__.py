"""The training itself: a loop of steps that can be ended and continued anywhere."""
