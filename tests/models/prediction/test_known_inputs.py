import numpy as np
import pytest

from cbed_tf.errors import CbedError, SampleError
from models.prediction.known_inputs import Known, parse_known

SIZES = {"energy_keV": 1, "d_hkls_angstrom": 3}


def test_words_are_parsed():
    assert parse_known(["energy_keV:200", "d_hkls_angstrom:2.1,1.9,1.3"]) == {
        "energy_keV": (200.0,),
        "d_hkls_angstrom": (2.1, 1.9, 1.3),
    }
    for words in (["energy_keV"], ["energy_keV:"], ["energy_keV:a"], ["a:1,"]):
        with pytest.raises(CbedError, match="should be like 'energy_keV:200'"):
            parse_known(words)
    with pytest.raises(CbedError, match="energy_keV twice"):
        parse_known(["energy_keV:200", "energy_keV:100"])


def test_given_values_win_over_attributes():
    attributes = {"energy_keV": 100.0, "d_hkls_angstrom": np.array([1.0, 2.0, 3.0])}
    found = Known(SIZES, {"energy_keV": (200.0,)}).find(attributes.get)
    assert {name: values.tolist() for name, values in found.items()} == {
        "energy_keV": [200.0],
        "d_hkls_angstrom": [1.0, 2.0, 3.0],
    }
    assert all(values.dtype == np.float32 for values in found.values())


def test_what_a_sample_lacks_is_named_with_a_way_out():
    with pytest.raises(SampleError, match="needs d_hkls_angstrom.*:NUMBER,NUMBER,NUMBER gives"):
        Known(SIZES).find({"energy_keV": 100.0}.get)
    with pytest.raises(SampleError, match=r"energy_keV is \[-1.0\] keV, should be above 0"):
        Known(SIZES).find({"energy_keV": -1.0}.get)
    with pytest.raises(SampleError, match=r"has 2 number\(s\), the model takes 3"):
        Known({"d_hkls_angstrom": 3}).find({"d_hkls_angstrom": np.ones(2)}.get)


def test_what_the_model_does_not_take_cannot_be_given():
    with pytest.raises(CbedError, match="the model takes patterns only"):
        Known({}, {"energy_keV": (200.0,)})
    with pytest.raises(CbedError, match="the model takes energy_keV, d_hkls_angstrom"):
        Known(SIZES, {"abc_angstrom": (1.0, 2.0, 3.0)})
    with pytest.raises(CbedError, match="given as known: d_hkls_angstrom has 1 number"):
        Known(SIZES, {"d_hkls_angstrom": (2.0,)})
    for value in (0.0, float("nan"), float("inf")):
        with pytest.raises(CbedError, match="should be above 0"):
            Known(SIZES, {"energy_keV": (value,)})
