"""In which precision the layers of a model compute."""

import contextlib
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def precision(mixed: bool) -> Iterator[None]:
    """Sets keras's policy for the layers made inside, which keep it.

    Args:
      mixed: Compute in float16 where that is safe, keep weights in float32.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16" if mixed else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
