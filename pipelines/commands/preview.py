"""cbed preview --data_dir=shards --augment=usual --output=preview.png

Draws what a model will be given, batch by batch: a row for each sample, with its formula, space
group, energy and zone axes; with --augment, as it is stored and as it is changed, and what became
of its label. Seed and batch size of a training give the first batches of that training, unless it
chooses another order with --balance, --shuffle_block or --reader.

cbed preview --data_dir=shards --augment=rotation:30,noise:1e5 --apart --output=each.png

Draws each augmentation by itself.
"""

from pathlib import Path

from absl import flags

from cbed_tf.command_line import UsageError
from cbed_tf.errors import CbedError
from cbed_tf.schema import SPLITS

FLAGS = flags.FlagValues()
flags.DEFINE_string("data_dir", None, "The data set.", required=True, flag_values=FLAGS)
flags.DEFINE_enum("split", "train", SPLITS, "The split to draw.", flag_values=FLAGS)
flags.DEFINE_list(
    "augment",
    [],
    "How to change the samples, as for cbed train: usual (all but mixup), or any of rotation, "
    "mirror, shift, ellipticity, magnification, permutation, noise, erasing, mixup, with commas "
    "between; each "
    "perhaps with its strength, like rotation:15,noise:1e5.",
    flag_values=FLAGS,
)
flags.DEFINE_bool(
    "apart",
    False,
    "Draw each augmentation by itself, on the first pattern of a batch.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("batch_size", 6, "Samples a batch.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("batches", 1, "How many to draw.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer(
    "seed",
    0,
    "Random seed of sample order and augmentation.",
    lower_bound=0,
    upper_bound=2**32 - 1,
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "output",
    None,
    "The picture, FILE.png; of several batches FILE-1.png and so on. preview.png if neither this "
    "nor --tensorboard_dir is given.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "tensorboard_dir", None, "Write the pictures as TensorBoard events too.", flag_values=FLAGS
)


def main() -> None:
    """Draws, and says where the pictures are."""
    output = FLAGS.output or (None if FLAGS.tensorboard_dir else "preview.png")
    if output and Path(output).suffix != ".png":
        raise UsageError(f"--output={output} should end in .png")
    if FLAGS.apart and not FLAGS.augment:
        raise UsageError("--apart needs --augment, to say what to draw")
    # Imported here: TensorFlow takes seconds, and --help or a wrong flag should not wait for it.
    from pipelines.augmentation.augment import Augmentation
    from pipelines.inspection import preview

    try:
        augmentation = Augmentation.parse(FLAGS.augment)
    except CbedError as error:
        raise UsageError(f"--{error}") from error
    if output:
        Path(output).parent.mkdir(parents=True, exist_ok=True)
    pictures = preview.preview(
        FLAGS.data_dir,
        FLAGS.split,
        augmentation,
        batch_size=FLAGS.batch_size,
        batches=FLAGS.batches,
        seed=FLAGS.seed,
        apart=FLAGS.apart,
        output=output,
        tensorboard_dir=FLAGS.tensorboard_dir,
    )
    for picture in pictures:
        print(f"{picture} is written")
    if FLAGS.tensorboard_dir:
        print(f"tensorboard --logdir={FLAGS.tensorboard_dir} shows the pictures")
