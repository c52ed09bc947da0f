"""Judges a run on a split: scores with intervals, beside baselines and beside another run.

The way through: `judging` asks the model (`answers`), makes tasks of the answers (`tasks`), scores
them (`scoring`, with `class_scoring`, `number_scoring`, `measures`), resamples the materials
(`bootstrap`), judges the probabilities (`calibrating`, `reliability`), and writes all that as JSON,
as a table (`tables`) and as a web page (`page`, `charts`).
"""

from models.evaluation.judging import evaluate

__all__ = ["evaluate"]
