"""What is learned: settings, losses, metrics, optimizer, and the form that is fitted."""
