"""torch DataLoader over h5py: a map-style data set whose workers open the files themselves."""

import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler


class PatternDataset(Dataset):
    def __init__(self, samples, scaled):
        self.samples = samples
        self.scaled = scaled

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, number):
        stack, space_group = self.samples.read(number, self.scaled)
        return torch.from_numpy(stack), int(space_group)


def batches(samples, folder, batch_size, scaled, workers):
    return load(PatternDataset(samples, scaled), batch_size, workers)


def load(dataset, batch_size, workers):
    """Returns batches of any map-style data set."""
    # What shuffle=True makes, but without an end: no epoch's end empties the workers' queues.
    sampler = RandomSampler(dataset, num_samples=len(dataset) * 10**6)
    return iter(
        DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            drop_last=True,
            num_workers=workers,
            persistent_workers=True,
            prefetch_factor=2,
        )
    )
