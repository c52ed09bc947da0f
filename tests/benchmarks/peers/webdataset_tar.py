"""webdataset: samples as .npy and .cls members of tar files, batched in the workers."""

import torch
import webdataset as wds
from benchmarks.peers.samples import IMAGE, LABEL, fourth_root

SHARD_BYTES = 256 * 2**20
LEAST_SHARDS = 8  # a worker reads whole shards


def build(samples, folder):
    most = max(1, min(SHARD_BYTES // samples.image_bytes, len(samples) // LEAST_SHARDS))
    with wds.ShardWriter(str(folder / "train-%05d.tar"), maxcount=most, verbose=0) as writer:
        for number in range(len(samples)):
            stack, space_group = samples.read(number)
            name = f"{number:06d}"
            writer.write({"__key__": name, f"{IMAGE}.npy": stack, f"{LABEL}.cls": int(space_group)})


def as_tensor(stack):
    """Workers hand over tensors in shared memory, but numpy arrays through a pipe."""
    return torch.from_numpy(stack)


def scaled_tensor(stack):
    return torch.from_numpy(fourth_root(stack))


def batches(samples, folder, batch_size, scaled, workers):
    urls = sorted(str(path) for path in folder.glob("*.tar"))
    # A buffer that is full from the start: one that still grows reads two samples to give one.
    size = max(1, samples.shuffle_buffer // workers)
    dataset = (
        wds.WebDataset(urls, shardshuffle=len(urls))
        .repeat()
        .shuffle(size, initial=size)
        .decode()
        .to_tuple(f"{IMAGE}.npy", f"{LABEL}.cls")
        .map_tuple(scaled_tensor if scaled else as_tensor)
        .batched(batch_size, partial=False)
    )
    return iter(wds.WebLoader(dataset, batch_size=None, num_workers=workers))
