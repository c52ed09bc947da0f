"""The commands of this room: flags in, one call of a plain function."""

import os

# TensorFlow greets with a page about CPU instructions and CUDA factories. What matters to users,
# which device trains, is logged by the command. To be set before the first import.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
