import numpy as np
import pytest

from models.learning.schedules import Schedule


def rates(schedule, updates):
    return [float(schedule.learning_rate(update)) for update in updates]


def test_cosine_rises_in_a_line_and_falls_to_nothing():
    schedule = Schedule("cosine", 0.4, updates=20, warmup=0.2)
    # A tenth at first, the greatest after 4 updates, half of it half way down, 12.
    np.testing.assert_allclose(
        rates(schedule, [0, 2, 4, 12, 20]), [0.04, 0.22, 0.4, 0.2, 0], atol=1e-7
    )
    assert rates(schedule, [8]) == pytest.approx([0.4 * (1 + np.cos(np.pi / 4)) / 2])


def test_constant_stays_after_the_rise():
    schedule = Schedule("constant", 0.4, updates=20, warmup=0.2)
    np.testing.assert_allclose(rates(schedule, [0, 4, 12, 20]), [0.04, 0.4, 0.4, 0.4])


def test_without_warmup_the_first_update_has_the_greatest_rate():
    assert rates(Schedule("cosine", 0.4, updates=20), [0]) == pytest.approx([0.4])
    assert rates(Schedule("constant", 0.4, updates=20), [0]) == pytest.approx([0.4])


def test_one_cycle_lowers_the_momentum_while_the_rate_rises():
    schedule = Schedule("one_cycle", 1.0, updates=20, warmup=0.5)
    np.testing.assert_allclose(
        rates(schedule, [0, 5, 10, 15, 20]), [0.04, 0.52, 1.0, 0.5, 0], atol=1e-7
    )
    momenta = [float(schedule.momentum(update)) for update in (0, 5, 10, 15, 20)]
    np.testing.assert_allclose(momenta, [0.95, 0.9, 0.85, 0.9, 0.95], rtol=1e-6)
    assert float(Schedule("cosine", 1.0, updates=20).momentum(7)) == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"kind": "linear"}, "kind is 'linear'"), ({"warmup": 1.0}, "warmup is 1.0")],
)
def test_nonsense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**{"kind": "cosine", "greatest": 1.0, "updates": 9, **arguments})
