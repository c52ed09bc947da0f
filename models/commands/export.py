"""cbed export --run_dir=runs/first --output=exported

Writes a run's model as a TensorFlow SavedModel that needs neither this package nor keras: raw
intensities in, calibrated answers in their units out, the same as those of cbed predict. The
signature `serving_default` takes cbed_stack, float32 (samples, views, height, width), and the known
inputs of models that were trained with --inputs; exported/cbed.json says what the outputs mean. For
TensorFlow Serving, let --output end in a version number: served/cbed/1.

The written model is asked about made-up patterns before it gets its name, and thrown away if it
answers anything else than the run's model. Prints its size and how long it takes for a sample.
"""

from absl import flags

from models.commands.flags import define_calibrated, define_checkpoint, define_run_dir

FLAGS = flags.FlagValues()
define_run_dir(FLAGS)
define_checkpoint(FLAGS)
define_calibrated(FLAGS)
flags.DEFINE_string("output", None, "New folder.", required=True, flag_values=FLAGS)


def main() -> None:
    """Exports, says what came of it."""
    from models.exporting.export import export_model  # TensorFlow; --help should not wait for it

    done = export_model(FLAGS.run_dir, FLAGS.output, FLAGS.checkpoint, FLAGS.calibrated)
    print(f"{done.path}: {done.size_bytes / 2**20:.1f} MiB, {done.parameters:,} parameters")
    for key, temperature in done.temperatures.items():
        print(f"probabilities of {key} are calibrated (temperature {temperature:.3g})")
    print(f"differs from the run's model by {done.difference:.1g} of an output's spread at most")
    for latency in done.latencies:
        print(
            f"{latency.median_ms:.3g} ms a sample in batches of {latency.batch_size} "
            f"({latency.least_ms:.3g} to {latency.most_ms:.3g}) on {done.device}"
        )
