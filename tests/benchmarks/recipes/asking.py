"""What one process of the comparison does once a model is trained: asks it, and measures it.

    python -m benchmarks.recipes.asking RUN_DIR DATA_DIR SPLIT FOLDER

Writes the answers of the last and of the best model to FOLDER. The last one is timed besides, on
probes in memory, 1 and 32 samples at a time.
"""

import sys
from pathlib import Path

from benchmarks.recipes.answers_file import save_answers
from benchmarks.recipes.trials import CHECKPOINTS, answers_path

from models.evaluation.answers import ask
from models.evaluation.tasks import sample_tasks
from models.exporting.export_check import measure_latency
from models.prediction.answering import AnsweringModel
from models.saving import runs
from pipelines.reading.remote import load_manifest

BATCH_SIZES = (1, 32)


def main(argv=None):
    run_dir, data_dir, split, folder = argv or sys.argv[1:]
    manifest = load_manifest(data_dir)
    facts = None
    for checkpoint in CHECKPOINTS:
        model = runs.load_trained_model(run_dir, checkpoint)
        answers = ask(model, data_dir, manifest, split, BATCH_SIZES[-1], mistakes=0)
        facts = facts or measure(model, runs.checkpoint_path(run_dir, checkpoint))
        save_answers(answers_path(Path(folder), checkpoint), sample_tasks(answers), facts)


def measure(model, path):
    answering = AnsweringModel(model, {})
    latencies = measure_latency(answering, answering.ask, BATCH_SIZES)
    return {
        "parameters": model.count_params(),
        "model_bytes": path.stat().st_size,
        "latency_ms": {latency.batch_size: latency.median_ms for latency in latencies},
    }


if __name__ == "__main__":
    main()
