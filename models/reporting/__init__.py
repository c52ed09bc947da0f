"""What a training says while it runs: a bar or lines, log.csv, events, pictures."""
