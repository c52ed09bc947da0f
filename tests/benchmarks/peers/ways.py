"""The ways that are measured: a module each, what it needs, and the files that it reads.

A module has `batches(samples, folder, batch_size, scaled, workers)`, which returns an endless
iterator of shuffled (images, space groups): float32 (batch, views, height, width) and 1..230. One
with files of its own has `build(samples, folder)` besides, which makes them of the archive.
"""

import dataclasses
import importlib.util

RAW = "raw"
SCALED = "scaled"
MODES = (RAW, SCALED)

LIMIT, OURS, USUAL, PEER = "limit", "ours", "usual", "peer"
# Files to read: the archive's own, or a folder of the scratch folder.
ARCHIVE = "archive"
SHARDS = "shards"


@dataclasses.dataclass(frozen=True)
class Way:
    """A way to read an archive in batches.

    Attributes:
      name: For --only, and in the results.
      title: For people.
      kind: The read limit, one of our readers, the usual recipe, or a peer.
      module: Of this folder.
      needs: The packages that it imports, beyond those of cbed-tf itself.
      files: ARCHIVE, or the folder of files that `build` makes.
      function: That returns the batches.
      options: Of that function.
      build_options: Of `build`.
      modes: Which of MODES are measured.
    """

    name: str
    title: str
    kind: str
    module: str
    needs: tuple[str, ...] = ()
    files: str = ARCHIVE
    function: str = "batches"
    options: dict = dataclasses.field(default_factory=dict)
    build_options: dict = dataclasses.field(default_factory=dict)
    modes: tuple[str, ...] = MODES

    def missing(self):
        """Returns the packages that are not installed here."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]

    def load(self):
        return importlib.import_module(f"benchmarks.peers.{self.module}")

    def batches(self, samples, folder, batch_size, scaled, workers):
        function = getattr(self.load(), self.function)
        return function(samples, folder, batch_size, scaled, workers, **self.options)

    def build(self, samples, folder):
        self.load().build(samples, folder, **self.build_options)


def _ours(name, title, kind, **rest):
    return Way(name, title, kind, "ours", files=SHARDS, **rest)


_GRAIN = ("grain", "array_record")
_TFDS = ("tensorflow_datasets",)

WAYS = {
    way.name: way
    for way in (
        _ours("limit", "read limit", LIMIT, function="limit", modes=(RAW,)),
        _ours("gather", "cbed-tf, gather", OURS, options={"reader": "gather"}),
        _ours("stream", "cbed-tf, stream", OURS, options={"reader": "stream"}),
        Way("usual", "usual tf.data recipe", USUAL, "usual_recipe", files=SHARDS),
        Way(
            "usual_pow",
            "usual tf.data recipe, tf.pow",
            USUAL,
            "usual_recipe",
            files=SHARDS,
            options={"power": True},
            modes=(SCALED,),
        ),
        Way(
            "grain",
            "grain, ArrayRecord, threads",
            PEER,
            "grain_array_record",
            _GRAIN,
            "array_record",
        ),
        Way(
            "grain_processes",
            "grain, ArrayRecord, processes",
            PEER,
            "grain_array_record",
            _GRAIN,
            "array_record",
            options={"processes": True},
        ),
        Way("torch", "torch DataLoader, h5py", PEER, "torch_h5py", ("torch",)),
        Way("tfds", "tensorflow-datasets, TFRecord", PEER, "tfds_builder", _TFDS, "tfds"),
        Way(
            "tfds_array_record",
            "tensorflow-datasets, ArrayRecord",
            PEER,
            "tfds_builder",
            (*_TFDS, "array_record", "torch"),
            "tfds_array_record",
            "loader_batches",
            build_options={"file_format": "array_record"},
        ),
        Way("webdataset", "webdataset", PEER, "webdataset_tar", ("webdataset", "torch"), "tar"),
        Way("from_generator", "tf.data from_generator, h5py", PEER, "tf_generator"),
        Way("pydataset", "keras PyDataset, h5py", PEER, "keras_pydataset"),
    )
}
