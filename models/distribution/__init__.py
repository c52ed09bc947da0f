"""Several devices and machines: which there are, and how a training is spread over them."""
