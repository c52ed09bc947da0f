import keras
import pytest

from models.learning.precision import precision


@pytest.mark.parametrize(("mixed", "computes"), [(True, "float16"), (False, "float32")])
def test_layers_made_inside_keep_it_and_others_have_what_was_before(mixed, computes):
    before = keras.config.dtype_policy().name
    with precision(mixed):
        inside = keras.layers.Dense(2)
    assert (inside.compute_dtype, inside.variable_dtype) == (computes, "float32")
    assert keras.config.dtype_policy().name == before


def test_a_failure_inside_leaves_what_was_before():
    before = keras.config.dtype_policy().name
    with pytest.raises(ZeroDivisionError), precision(mixed=True):
        1 / 0  # noqa: B018
    assert keras.config.dtype_policy().name == before
