import keras
import numpy as np
import pytest

from cbed_tf.errors import CbedError
from models.learning.optimizer import ScheduledAdamW
from models.learning.schedules import Schedule
from models.saving.pace import Pace
from models.saving.state import Progress, State, read_state, write_state
from pipelines import Position

PROGRESS = Progress(
    data="0123abcd",
    position=Position(3, 7),
    rows=[{"epoch": 1, "loss": 0.1 + 0.2}, {"epoch": 2, "loss": float("nan")}],
    best=0.30000000000000004,
    best_epoch=1,
    pace=Pace(samples=64, seconds=1.5, waited=0.25),
)


def small_model(units=3):
    layers = [keras.Input((2,)), keras.layers.Dense(units), keras.layers.Dropout(0.5)]
    model = keras.Sequential(layers)
    optimizer = ScheduledAdamW(Schedule("constant", 0.1, 9), ema=0.5, has_accumulation=True)
    model.compile(optimizer, "mse", metrics=["mae"], run_eagerly=True)
    model.train_on_batch(np.ones((4, 2)), np.ones((4, units)))
    return model


def test_everything_that_changes_comes_back(tmp_path):
    model, other = small_model(), small_model()  # keras numbers the second one's names
    assert model.layers[0].kernel.path != other.layers[0].kernel.path
    write_state(tmp_path / "state.npz", State(model).values(), PROGRESS)
    values, progress = read_state(tmp_path / "state.npz")
    State(other).restore(values)

    assert progress.as_json() == PROGRESS.as_json()
    assert progress.position == Position(3, 7)
    assert progress.rows[0] == PROGRESS.rows[0]
    for _ in range(3):  # the same chance, momenta, averages and means of metrics
        batch = np.ones((4, 2)), np.zeros((4, 3))
        assert model.train_on_batch(*batch) == other.train_on_batch(*batch)
    for one, two in zip(State(model).values().items(), State(other).values().items(), strict=True):
        assert one[0] == two[0]
        np.testing.assert_array_equal(one[1], two[1])


def test_the_state_has_weights_optimizer_seeds_and_metrics_once_each():
    model = small_model()
    names = list(State(model).values())
    for part in ("kernel", "seed_generator_state", "velocity", "average", "held_gradient", "total"):
        assert any(part in name for name in names), part
    numbers = [len(group) for group in (model.variables, model.optimizer.variables)]
    assert len(names) == sum(numbers) + len(model.metrics_variables)


def test_the_state_of_another_training_is_refused_by_name():
    model = small_model()
    with pytest.raises(CbedError, match=r"dense/kernel has shape \(2, 4\) in the state, .*2, 3"):
        State(model).restore(State(small_model(units=4)).values())
    values = State(model).values()
    before = values["optimizer/0000/scheduled_adamw/iteration"]
    del values["optimizer/0000/scheduled_adamw/iteration"]
    with pytest.raises(CbedError, match="the state has no optimizer/0000/scheduled_adamw/iter"):
        State(model).restore(values)
    with pytest.raises(CbedError, match="the state has more, of which"):
        State(model).restore({**State(model).values(), "more": before})


@pytest.mark.parametrize("content", [b"", b"no zip file", b"PK\x03\x04 cut off"])
def test_a_file_that_is_no_state_is_refused_by_name(tmp_path, content):
    path = tmp_path / "state.npz"
    path.write_bytes(content)
    with pytest.raises(CbedError, match="the state .*state.npz cannot be read"):
        read_state(path)
