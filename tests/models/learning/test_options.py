import dataclasses
import subprocess
import sys

import pytest

from cbed_tf.errors import CbedError
from models.commands import train
from models.learning.options import TrainingOptions, parse_target_weights

UNUSUAL = TrainingOptions(
    targets=("space_group", "energy_keV"),
    target_weights={"energy_keV": 0.25},
    backbone="resnet50",
    scaling="log",
    floor=1e-9,
    augment={"rotation": 12.5, "noise": 1e5},
    epochs=7,
    batch_size=5,
    learning_rate=3e-4,
    weight_decay=0.0,
    schedule="constant",
    inputs=("d_hkls_angstrom",),
    pretrained="weights.h5",
    fusion="attention",
    dropout=0.125,
    uncertainty=True,
    loss_weighting="learned",
    label_smoothing=0.1,
    logit_adjustment=0.5,
    accumulate=3,
    warmup=0.25,
    clip_norm=1.5,
    ema=0.99,
    patience=4,
    strategy="mirrored",
    checkpoint_minutes=2.5,
    mixed_precision=True,
    deterministic=False,
    seed=11,
    reader="gather",
    balance=0.5,
)
NUMBERS = ("energy_keV", "abc_angstrom")
# What excludes something of the above.
ALTERNATIVE = TrainingOptions(class_weights="balanced", exponent=0.5, shuffle_block=16)


def test_unusual_options_differ_from_the_defaults_everywhere():
    """So that the round trip below cannot pass by falling back to a default."""
    for field in dataclasses.fields(TrainingOptions):
        values = [getattr(options, field.name) for options in (UNUSUAL, ALTERNATIVE)]
        assert set(map(str, values)) != {str(getattr(TrainingOptions(), field.name))}, field.name


@pytest.mark.parametrize("options", [UNUSUAL, ALTERNATIVE, TrainingOptions()])
def test_flags_and_options_are_inverse(options, tmp_path):
    flagfile = tmp_path / "run.flags"
    flagfile.write_text("\n".join(options.as_flags()))
    train.FLAGS.unparse_flags()
    train.FLAGS(["train", f"--flagfile={flagfile}", "--data_dir=d", "--run_dir=r"])
    assert train.options_from_flags() == options


def test_every_option_is_a_flag_and_every_flag_an_option():
    names = {field.name for field in dataclasses.fields(TrainingOptions)}
    assert set(train.FLAGS) == names | {"data_dir", "run_dir", "local_workers"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs is 0, should be above 0"),
        ({"batch_size": -1}, "batch_size is -1, should be above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan, should be above 0"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1, should be at least 0"),
        ({"seed": 2**32}, "seed is 4294967296, should be at least 0 and below 4.29497e[+]09"),
        ({"balance": 1.5}, "balance is 1.5, should be at least 0 and at most 1"),
        ({"shuffle_block": -1}, "shuffle_block is -1, should be at least 0"),
        ({"backbone": "vgg"}, "backbone is 'vgg', should be one of small, polar, resnet50"),
        (
            {"pretrained": "notop.h5"},
            "^pretrained: there are no pretrained weights for backbone 'small', only for resnet50",
        ),
        ({"scaling": "cube"}, "scaling is 'cube', should be one of power, log, none"),
        ({"reader": "csv"}, "reader is 'csv', should be one of gather, stream"),
        ({"augment": {"blur": 1.0}}, "augment has 'blur:1.0', should be some of usual, rotation"),
        ({"augment": {"mirror": 2.0}}, "^augment: mirror is 2.0, should be from 0 to 1"),
        ({"targets": ("mass",)}, "'mass'.*should be some of space_group"),
        ({"target_weights": {"energy_keV": 1.0}}, "'energy_keV', which is not among the targets"),
        ({"target_weights": {"space_group": -1.0}}, "target_weights of space_group is -1"),
        (
            {"targets": ("energy_keV",), "class_weights": "balanced"},
            "class_weights is 'balanced', but none of the targets energy_keV has classes",
        ),
        (
            {"targets": ("energy_keV",), "logit_adjustment": 1.0},
            "logit_adjustment is 1.0, but none of the targets energy_keV has classes",
        ),
        (
            {"targets": ("point_group",), "label_smoothing": 0.1},
            "label_smoothing is 0.1, but space_group is not among the targets point_group",
        ),
        (
            {"targets": ("space_group", "composition"), "uncertainty": True},
            "uncertainty is wanted, but none of the targets space_group, composition is a quan",
        ),
        ({"inputs": ("abc_angstrom",)}, "inputs are .'abc_angstrom'., should be some of energy"),
        (
            {"targets": ("energy_keV",), "inputs": ("energy_keV",)},
            "^inputs: energy_keV is among the inputs and the targets",
        ),
        ({"loss_weighting": "learned"}, "'learned', but space_group is the only target"),
        (
            {"class_weights": "balanced", "logit_adjustment": 1.0},
            "logit_adjustment is 1.0 and class_weights 'balanced': both make up for frequent",
        ),
        (
            {"class_weights": "balanced", "balance": 0.5},
            "balance is 0.5 and class_weights 'balanced': both make up for frequent",
        ),
        (
            {"targets": NUMBERS, "uncertainty": True, "loss_weighting": "learned"},
            "'learned', but with --uncertainty the losses of energy_keV, abc_angstrom say",
        ),
        ({"exponent": 0.5, "scaling": "log"}, "exponent is 0.5, but scaling is 'log'.* 'power'"),
        ({"floor": 1e-9}, "floor is 1e-09, but scaling is 'power': it is for 'log'"),
        ({"balance": 0.5, "shuffle_block": 8}, "balance is 0.5 and shuffle_block 8: a balanced"),
        ({"reader": "stream", "balance": 1.0}, "balance is 1.0, but reader is 'stream'"),
        ({"reader": "stream", "shuffle_block": 8}, "shuffle_block is 8, but reader is 'stream'"),
    ],
)
def test_refusals_say_value_and_range(values, message):
    with pytest.raises(CbedError, match=message):
        TrainingOptions(**values)


def test_target_weights_are_read():
    assert parse_target_weights(["space_group:2", "energy_keV:0.5"]) == {
        "space_group": 2.0,
        "energy_keV": 0.5,
    }
    with pytest.raises(CbedError, match="'space_group=2', should be like"):
        parse_target_weights(["space_group=2"])


def test_names_and_numbers_are_those_of_where_they_are_used():
    """They stand in `options` a second time, because importing the others costs TensorFlow."""
    from models.distribution import strategies
    from models.learning import options, schedules
    from pipelines import labels, scaling
    from pipelines.reading import loading

    assert options.READERS == loading.READERS
    assert options.CLASS_WEIGHTS == ("none", labels.BALANCED)
    assert options.STRATEGIES == ("one", strategies.MIRRORED, strategies.MULTI_WORKER)
    assert options.SCHEDULES == (schedules.COSINE, schedules.ONE_CYCLE, schedules.CONSTANT)
    assert TrainingOptions().floor == scaling.DEFAULT_FLOOR


@pytest.mark.parametrize("command", ["train", "evaluate", "predict"])
def test_help_imports_no_tensorflow(command):
    script = (
        "import sys; from cbed_tf.__main__ import main; "
        f"code = main(['{command}', '--help']); "
        "sys.exit(code or ('tensorflow' in sys.modules) or ('keras' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"cbed {command} --")
