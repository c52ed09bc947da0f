import numpy as np

from models.networks.averaging import DeviationOverViews, LogMeanOverViews, MeanOverViews

PRESENT = np.array([[True, True, False]])


def test_means_leave_missing_views_out():
    values = np.float32([[[1, 2], [3, 6], [99, 99]]])
    np.testing.assert_allclose(MeanOverViews()(values, PRESENT), [[2, 4]])


def test_probabilities_are_averaged_not_their_logarithms():
    probabilities = np.float32([[[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]])
    logarithms = LogMeanOverViews()(np.log(probabilities), PRESENT)
    np.testing.assert_allclose(np.exp(logarithms), [[0.55, 0.45]], rtol=1e-5)


def test_logarithms_survive_where_probabilities_are_zero():
    logarithms = np.full((1, 3, 1), -500, np.float32)
    np.testing.assert_allclose(LogMeanOverViews()(logarithms, PRESENT), [[-500]], rtol=1e-6)


def test_views_that_disagree_are_less_sure():
    """Answers 1 and 5 with deviations 1 and 2: variance (1 + 4) / 2 + 2^2."""
    deviations, answers = np.float32([[[1], [2], [9]]]), np.float32([[[1], [5], [9]]])
    found = DeviationOverViews()(deviations, answers, PRESENT)
    np.testing.assert_allclose(found, [[np.sqrt(6.5)]], rtol=1e-6)
