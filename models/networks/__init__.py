"""Raw intensities in, an answer for every target out: encoders, fusion of the views, heads."""
