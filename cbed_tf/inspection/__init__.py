"""What people want to know of an archive or a sample, as text, as a web page or as a picture."""
