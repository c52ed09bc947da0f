"""Our own shards and readers, and the fastest that the machine can read the same bytes."""

from benchmarks.peers.samples import LABEL, SPLIT

from cbed_tf.conversion.convert import convert_archive
from pipelines.inspection.benchmark_stages import read_at_limit, read_batches


def build(samples, folder):
    convert_archive(samples.archive, folder)


def batches(samples, folder, batch_size, scaled, workers, reader):
    for images, labels in read_batches(folder, SPLIT, batch_size, reader, scaled):
        yield images, labels[LABEL] + 1  # space groups, not their index


def limit(samples, folder, batch_size, scaled, workers):
    return read_at_limit(folder, SPLIT, batch_size)
