import pytest

from cbed_tf.errors import CbedError
from models.distribution import launching
from models.distribution.launching import usable_gpus


@pytest.mark.parametrize(
    ("visible", "present", "usable"),
    [
        (None, 0, []),
        (None, 3, ["0", "1", "2"]),
        ("2, GPU-5ebe", 3, ["2", "GPU-5ebe"]),
        ("1,-1,2", 3, ["1"]),
        ("", 3, []),
        ("0,1", 0, []),
    ],
)
def test_gpus_have_the_names_that_cuda_knows(visible, present, usable):
    assert usable_gpus(visible, present) == usable


def test_each_worker_has_gpus_of_its_own(monkeypatch):
    """Of those that a batch system gave, in a container whose device files have other numbers."""
    files = launching.Path("/dev/nvidia2"), launching.Path("/dev/nvidia7")
    monkeypatch.setattr(launching.Path, "glob", lambda *_: iter(files))
    for inherited, shared_out in ((None, ["0", "1"]), ("GPU-a,GPU-b", ["GPU-a", "GPU-b"])):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if inherited:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", inherited)
        found = [each["CUDA_VISIBLE_DEVICES"] for each in launching._environments(2)]
        assert found == shared_out
    with pytest.raises(CbedError, match=r"local_workers is 3, but there are 2 GPU\(s\)"):
        list(launching._environments(3))
