"""grain over ArrayRecord files: random access, a global shuffle, reading threads or processes."""

import struct

import grain
import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from benchmarks.peers.samples import fourth_root

SHARD_BYTES = 256 * 2**20
LABEL = struct.Struct("<q")


def build(samples, folder):
    """Writes a label and the bytes of the patterns as a record, as its authors advise.

    One record a group and no compression: "for optimal fast random access".
    """
    shard_samples = max(1, SHARD_BYTES // samples.image_bytes)
    for shard, first in enumerate(range(0, len(samples), shard_samples)):
        path = str(folder / f"train-{shard:05d}.array_record")
        writer = ArrayRecordWriter(path, "group_size:1,uncompressed")
        for number in range(first, min(first + shard_samples, len(samples))):
            stack, space_group = samples.read(number)
            writer.write(LABEL.pack(space_group) + stack.tobytes())
        writer.close()


class Decode(grain.transforms.Map):
    def __init__(self, image_shape, scaled):
        self.image_shape = image_shape
        self.scaled = scaled

    def map(self, record):
        stack = np.frombuffer(record, np.float32, offset=LABEL.size).reshape(self.image_shape)
        return (fourth_root(stack) if self.scaled else stack), LABEL.unpack_from(record)[0]


def batches(samples, folder, batch_size, scaled, workers, processes=False):
    paths = sorted(str(path) for path in folder.glob("*.array_record"))
    dataset = (
        grain.MapDataset.source(grain.sources.ArrayRecordDataSource(paths))
        .seed(0)
        .shuffle()
        .repeat()
        .map(Decode(samples.image_shape, scaled))
        .to_iter_dataset()
        .batch(batch_size, drop_remainder=True)
    )
    if processes:
        dataset = dataset.mp_prefetch(
            grain.multiprocessing.MultiprocessingOptions(num_workers=workers)
        )
    return iter(dataset)
