"""The data sets of the comparison: the archive as it is, and with prototypes held out."""

import json

from benchmarks.recipes.children import run
from benchmarks.recipes.prototypes import hold_out

from cbed_tf.dataset.manifest import MANIFEST_NAME, REJECTED_NAME, load_manifest
from cbed_tf.durable import write_atomically
from cbed_tf.errors import CbedError

# The split that is judged of each, by its name.
DEV, PROTOTYPES = "dev", "prototypes"
SPLITS = {DEV: "dev", PROTOTYPES: "test"}
_REJECTED_CODE = 3


class DataSets:
    """Data sets in a scratch folder.

    Args:
      archive: That they are made of.
      scratch: The folder.
      say: Called with a line about what happens.
    """

    def __init__(self, archive, scratch, say):
        self.archive, self.scratch, self.say = archive, scratch, say

    def path(self, name):
        return self.scratch / "shards" / name

    def make(self, names):
        """Makes those that are missing.

        Raises:
          CbedError: What is there was made of another archive, or the archive has no such splits.
          ChildError: It cannot be converted.
        """
        self.claim_scratch()
        for name in names:
            archive = self.with_held_out() if name == PROTOTYPES else self.archive
            if not (self.path(name) / MANIFEST_NAME).exists():
                self.convert(archive, self.path(name))
            manifest = load_manifest(self.path(name))
            for split in ("train", SPLITS[name]):
                manifest.split(split)
            if manifest.rejected:
                rejected = self.path(name) / REJECTED_NAME
                self.say(f"{manifest.rejected} samples were refused, see {rejected}")

    def claim_scratch(self):
        """Notes of what archive the folder is, or refuses to mix two of them."""
        path, files = self.scratch / "archive.json", self.archive_files()
        if not files:
            raise CbedError(f"{self.archive} holds no files batch_*.h5")
        if not path.exists():
            self.scratch.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(files).encode())
        elif json.loads(path.read_text()) != files:
            raise CbedError(
                f"{self.scratch} is of another archive than {self.archive}, or that has changed: "
                "choose another folder"
            )

    def archive_files(self):
        stats = [(path, path.stat()) for path in sorted(self.archive.rglob("batch_*.h5"))]
        names = [path.relative_to(self.archive).as_posix() for path, _ in stats]
        return [
            [name, stat.st_size, stat.st_mtime_ns]
            for name, (_, stat) in zip(names, stats, strict=True)
        ]

    def with_held_out(self):
        folder = self.scratch / PROTOTYPES
        if not folder.exists():
            self.say(f"holding prototypes of {self.archive} out")
            table = hold_out(self.archive, folder)
            write_atomically(self.scratch / f"{PROTOTYPES}.md", f"{table}\n".encode())
        return folder

    def convert(self, archive, data_dir):
        self.say(f"converting {archive}")
        data_dir.parent.mkdir(exist_ok=True)
        words = [f"--input_dir={archive}", f"--output_dir={data_dir}"]
        log = self.scratch / "convert.log"
        run(["-m", "cbed_tf", "convert", *words], log, allowed=(0, _REJECTED_CODE))
