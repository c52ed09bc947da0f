"""The comparison of recipes: its arithmetic by hand, and a run at toy size."""

import contextlib
import importlib.util
import json
import shutil
import time

import h5py
import numpy as np
import pytest
from archives import write_archive
from benchmarks.recipes import (
    __main__,
    answers_file,
    asking,
    budget,
    children,
    classical,
    comparison,
    findings,
    prototypes,
    recipe_list,
    report,
    results,
    trials,
)
from benchmarks.recipes.children import Child, ChildError

from cbed_tf.__main__ import main
from cbed_tf.conversion.convert import convert_archive
from cbed_tf.errors import CbedError
from models.commands import train
from models.evaluation.tasks import Task, implied_tasks
from pipelines import TARGETS
from pipelines.reading.remote import load_manifest

TOY_FLAGS = "--targets=space_group,abc_angstrom\n--batch_size=4\n"


# ---- Prototypes


def entries_of(counts, split="train"):
    """Entries of one sample each, from {(space group, prototype): materials}."""
    file = f"batch_{split}_0.h5"
    return [
        prototypes.Material(f"{name}-{k}", name, space_group, split, file, (f"{name}-{k}",))
        for (space_group, name), count in counts.items()
        for k in range(count)
    ]


def test_the_smallest_prototype_of_five_materials_is_held_out():
    counts = {
        **{(225, "b"): 6, (225, "a"): 6, (225, "c"): 7, (225, "few"): 4},
        (14, "single"): 20,
        **{(62, "x"): 4, (62, "y"): 3},
        **{(2, "all but"): 1, (2, "most"): 30},
    }
    # One material in several files is one material.
    again = entries_of({(225, "few"): 4}) * 2

    assert prototypes.choose_held_out(entries_of(counts) + again) == {225: "a", 2: "most"}
    assert prototypes.choose_held_out(entries_of(counts), 4) == {225: "few", 62: "x", 2: "most"}


# Of the toy archive's materials, of two samples each; 12 and 13 are in dev, 14 and 15 in test.
TOY_PROTOTYPES = {
    **dict.fromkeys((0, 1, 2, 3, 4, 5, 13, 14), (1, "common")),
    **dict.fromkeys((6, 7, 8, 9, 10, 12, 15), (1, "rare")),
    11: (2, "alone"),
}


def split_of(number):
    return "train" if number < 12 else "dev" if number < 14 else "test"


@pytest.fixture(scope="module")
def indexed_archive(tmp_path_factory):
    """With 16-byte floats, and an index; not to be changed."""
    folder = tmp_path_factory.mktemp("recipes") / "archive"
    write_archive(folder, train=24, dev=4, test=4, padded=True)
    entries = [
        {
            "material": f"syn-{number:05d}",
            "prototype": name,
            "space_group": space_group,
            "split": split_of(number),
            "file": f"batch_{split_of(number)}_0.h5",
            "groups": [f"sample_{number}_0", f"sample_{number}_1"],
            "formula": "of no interest here",
        }
        for number, (space_group, name) in sorted(TOY_PROTOTYPES.items())
    ]
    (folder / prototypes.INDEX_NAME).write_text(json.dumps({"materials": entries}))
    return folder


def stored(path, name):
    """Returns all that a group holds as bytes, attributes as the file has them."""
    found = {}
    with h5py.File(path) as file:
        group = file[name]
        for key in group.attrs:
            attribute = h5py.h5a.open(group.id, key.encode())
            kind = attribute.get_type()
            if isinstance(kind, h5py.h5t.TypeStringID):
                found[key] = group.attrs[key]
            else:
                buffer = np.empty(attribute.shape, f"V{kind.get_size()}")
                attribute.read(buffer, mtype=kind)
                found[key] = buffer.tobytes()
        return {**found, "cbed_stack": group["cbed_stack"][()].tobytes()}


def test_samples_are_copied_as_they_are_stored(indexed_archive, tmp_path):
    output = tmp_path / "output"
    table = prototypes.hold_out(indexed_archive, output)

    assert sorted(path.name for path in output.iterdir()) == [
        *("batch_dev_0.h5", "batch_test_0.h5", "batch_train_0.h5", "index.json")
    ]
    expected = {("train", f"sample_{k}_{e}"): (k, e) for k in (*range(6), 11) for e in (0, 1)}
    expected |= {("dev", f"sample_13_{e}"): (13, e) for e in (0, 1)}
    expected |= {("test", f"sample_{k - 6}_{e}"): (k, e) for k in range(6, 11) for e in (0, 1)}
    for split in ("train", "dev", "test"):
        with h5py.File(output / f"batch_{split}_0.h5") as file:
            assert sorted(file) == sorted(name for s, name in expected if s == split)
    for (split, name), (number, energy) in expected.items():
        source = indexed_archive / f"batch_{split_of(number)}_0.h5"
        original = stored(source, f"sample_{number}_{energy}")
        assert len(original["abc_angstrom"]) == 3 * 16
        assert stored(output / f"batch_{split}_0.h5", name) == original
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:4]]
    assert cells == [["1", "rare", "5", "1", "6", "1"], ["2", "–", "0", "1", "1", "0"]]
    assert table.endswith(
        "train: 14 samples of 7 materials; dev: 2 samples of 1 materials; "
        "test: 10 samples of 5 materials"
    )


def test_the_new_archive_converts_and_its_index_is_true(indexed_archive, tmp_path):
    prototypes.hold_out(indexed_archive, tmp_path / "output")
    convert_archive(tmp_path / "output", tmp_path / "shards", workers=1)

    manifest = load_manifest(tmp_path / "shards")
    assert {name: split.samples for name, split in manifest.splits.items()} == {
        **{"train": 14, "dev": 2, "test": 10}
    }
    assert not manifest.overlaps.get("materials")
    for entry in prototypes.load_materials(tmp_path / "output"):
        with h5py.File(tmp_path / "output" / entry.file) as file:
            materials = {file[name].attrs["material"].decode() for name in entry.groups}
        assert materials == {entry.material}


def test_what_cannot_be_held_out_is_refused(indexed_archive, archive, tmp_path):
    with pytest.raises(CbedError, match="index.json, which does not exist"):
        prototypes.hold_out(archive, tmp_path / "output")
    with pytest.raises(CbedError, match="nothing is overwritten"):
        prototypes.hold_out(indexed_archive, archive)
    with pytest.raises(CbedError, match="no space group has several prototypes"):
        prototypes.hold_out(indexed_archive, tmp_path / "output", least=7)
    index = json.loads((indexed_archive / prototypes.INDEX_NAME).read_text())
    index["materials"][0]["split"] = "dev"
    (archive / prototypes.INDEX_NAME).write_text(json.dumps(index))
    with pytest.raises(CbedError, match="syn-00000 is of the dev split, batch_train_0.h5 is not"):
        prototypes.hold_out(archive, tmp_path / "output")
    assert not (tmp_path / "output").exists()


# ---- Classical methods


def test_features_are_means_over_blocks():
    images = np.arange(2 * 1 * 65 * 66, dtype=np.float32).reshape(2, 1, 65, 66)

    found = classical.shrink(images)
    assert found.shape == (2, 32 * 33)
    assert found[0, 0] == np.mean([0, 1, 66, 67])
    assert found[0, 33] == np.mean([132, 133, 198, 199])


@pytest.mark.parametrize("method", classical.METHODS)
def test_classical_methods_tell_what_is_easily_told(method):
    pytest.importorskip("sklearn")
    random = np.random.default_rng(0)
    # Three space groups of two crystal systems, twelve materials.
    labels = np.repeat([224, 220, 13], 8)
    centres = {label: 3 * random.normal(size=20) for label in labels}
    features = np.stack([centres[k] + random.normal(size=20) for k in labels])
    materials = np.array([f"m{k // 2}" for k in range(24)])
    samples = (features.astype(np.float32), labels, materials)

    tasks, facts = classical.answer(method, samples, samples, seed=0)
    probabilities = tasks["space_group"].answers
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert set(np.flatnonzero(probabilities.sum(axis=0))) == {224, 220, 13}
    assert (probabilities.argmax(axis=1) == labels).all()
    assert (
        tasks["space_group"].groups.tolist()
        == np.unique(materials, return_inverse=True)[1].tolist()
    )
    systems = tasks["crystal_system_from_space_group"]
    assert (systems.answers.argmax(axis=1) == systems.labels).all()
    assert len(set(systems.labels)) == 2
    assert facts["fit_seconds"] > 0


def test_the_penalty_is_chosen_on_other_materials():
    pytest.importorskip("sklearn")
    random = np.random.default_rng(1)
    # What tells the class is faint beside what tells the material: without a penalty, or judged on
    # samples of known materials, any would do.
    labels = np.tile([0, 1], 30)
    materials = np.arange(60)
    features = random.normal(size=(60, 40)) + 0.7 * labels[:, None] * np.eye(40)[0]
    features = np.repeat(features, 3, axis=0)
    chosen = classical.choose_penalty(features, labels.repeat(3), materials.repeat(3), 0)

    assert chosen > classical.PENALTIES[5]


# ---- Results


def made_tasks(guesses, labels):
    """A task of space groups, a material a sample, that answers so."""
    target = TARGETS["space_group"]
    answers = np.eye(len(target.class_names))[guesses]
    task = Task(target, answers, np.array(labels), np.arange(len(labels)))
    return {"space_group": task, **implied_tasks(task)}


def test_means_ranges_and_paired_differences(toy_manifest):
    labels = [0, 0, 0, 0, 1, 1, 1, 1]
    half = [0, 0, 1, 1, 1, 1, 0, 0]
    quarter = [0, 1, 1, 1, 1, 0, 0, 0]
    tasks = {
        "ours": {0: made_tasks(half, labels), 1: made_tasks(labels, labels)},
        "same": {0: made_tasks(half, labels), 1: made_tasks(labels, labels)},
        "worse": {0: made_tasks(quarter, labels)},
    }
    judged = results.judge(tasks, toy_manifest, "ours", resamples=200)

    ours, same, worse = judged["methods"].values()
    assert (judged["samples"], judged["materials"]) == (8, 8)
    top1 = ours["scores"]["top1"]
    assert (top1["least"], top1["mean"], top1["most"]) == (0.5, 0.75, 1.0)
    assert top1["by_seed"] == {"0": 0.5, "1": 1.0}
    low, high = top1["interval"]
    assert 0.5 <= low < 0.65 < 0.85 < high <= 1
    assert worse["behind"]["top1"]["mean"] == 0.5
    # Drawn by themselves, two methods that are right half of the time differ; drawn together, not.
    assert same["behind"]["top1"] == {"mean": 0.0, "interval": (0.0, 0.0)}


def test_answers_to_other_samples_are_no_comparison(toy_manifest):
    tasks = {"a": {0: made_tasks([0, 1], [0, 1])}, "b": {0: made_tasks([0, 1], [1, 0])}}
    with pytest.raises(CbedError, match="not to the same samples"):
        results.judge(tasks, toy_manifest)


@pytest.fixture(scope="module")
def toy_manifest(indexed_archive):
    folder = indexed_archive.parent / "shards"
    convert_archive(indexed_archive, folder, workers=1)
    return load_manifest(folder)


def test_answers_come_back_from_their_file(tmp_path):
    tasks = made_tasks([3, 4], [3, 5])
    answers_file.save_answers(tmp_path / "answers.npz", tasks, {"fit_seconds": 2.5})

    again, facts = answers_file.load_answers(tmp_path / "answers.npz")
    assert facts == {"fit_seconds": 2.5}
    assert again.keys() == tasks.keys()
    for name, task in tasks.items():
        assert again[name].target is task.target
        for field in ("answers", "labels", "groups"):
            np.testing.assert_array_equal(getattr(again[name], field), getattr(task, field))


def test_ten_points_are_asked_for():
    def cell(points, aim=True):
        behind = {"top1": {"mean": points, "interval": (-0.02, 0.25)}}
        return report.difference_cell({"methods": {"x": {"behind": behind}}}, "x", aim)

    assert cell(0.1) == "+10.0 [-2, +25] yes"
    assert cell(0.099) == "+9.9 [-2, +25] no"
    assert cell(0.099, aim=False) == "+9.9 [-2, +25]"
    assert report.difference_cell({"methods": {}}, "x", True) == "–"


# ---- Time


def test_epochs_that_fill_the_minutes():
    pace = budget.pace_of([11.0, 14.0, 19.0])

    assert pace == budget.Pace(start_seconds=7.0, epoch_seconds=4.0)
    assert pace.epochs(minutes=1) == 13
    assert pace.epochs(minutes=0.1) == 1
    assert budget.pace_of([30.0]).epochs(minutes=2) == 4


def test_the_first_epoch_is_no_measure_of_the_others():
    rows = [
        {"seconds": "30", "waiting_share": "0.5"},
        {"seconds": "8", "waiting_share": "0.1"},
        {"seconds": "12", "waiting_share": "0.2"},
    ]

    assert trials.pace(rows, steps=5) == {"seconds_per_step": 2.0, "waiting_share": 0.16}
    assert trials.pace(rows[:1], steps=5) == {"seconds_per_step": 6.0, "waiting_share": 0.5}


class FakeChild:
    """Ends as it is told: interrupted, failed or well."""

    code, seconds, peak_bytes = None, 3.0, 10**6

    def __init__(self, words, log):
        self.words, self.log = words, log

    def wait(self, limit_seconds=0, watch=None):
        if FakeChild.ends.pop(0) == "interrupted":
            raise KeyboardInterrupt
        self.code = 0

    def end(self):
        self.code = 130 if self.code is None else self.code


@pytest.fixture
def toy_trial(tmp_path, monkeypatch):
    """A trial whose training is interrupted at first, and whose model is not asked."""
    (tmp_path / "toy.flags").write_text(TOY_FLAGS)
    recipe = recipe_list.find_recipe(str(tmp_path / "toy.flags"))
    monkeypatch.setattr(trials, "Child", FakeChild)
    monkeypatch.setattr(trials, "ask", lambda trial: None)
    monkeypatch.setattr(FakeChild, "ends", ["interrupted", "well"], raising=False)
    return trials.Trial(recipe, 7, "15 minutes", tmp_path / "shards", "dev", tmp_path / "trial")


def test_an_interrupted_training_goes_on_with_the_same_epochs(toy_trial):
    said = []
    with pytest.raises(KeyboardInterrupt):
        trials.finish(toy_trial, lambda: 23, said.append)
    attempt = {"seconds": 3.0, "peak_bytes": 10**6}
    record = trials.load_record(toy_trial)
    assert (record["attempts"], record["trained"]) == ([attempt], False)

    # The pace is not asked for again: another number of epochs would be another training.
    trials.finish(toy_trial, None, said.append)
    record = trials.load_record(toy_trial)
    assert (record["attempts"], record["trained"]) == ([attempt, attempt], True)
    assert said.count("training, 23 epochs") == 2
    trials.finish(toy_trial, None, said.append)
    assert FakeChild.ends == []


def test_a_training_that_outlived_the_comparison_counts(toy_trial):
    with pytest.raises(KeyboardInterrupt):
        trials.finish(toy_trial, lambda: 23, lambda line: None)
    toy_trial.run_dir.mkdir()
    run = {"seconds": 800.0, "peak_memory_bytes": 5 * 10**8, "epochs": 23}
    (toy_trial.run_dir / "run.json").write_text(json.dumps(run))
    trials.finish(toy_trial, None, lambda line: None)

    record = trials.load_record(toy_trial)
    assert record["attempts"] == [{"seconds": 800.0, "peak_bytes": 5 * 10**8}]
    assert FakeChild.ends == ["well"]


FAKE_TRAINING = """
import sys, time, pathlib
flags = dict(word[2:].split("=") for word in sys.argv[1:])
folder = pathlib.Path(flags["run_dir"])
folder.mkdir()
for epoch in range(int(flags["epochs"])):
    time.sleep(0.3)
    with open(folder / "log.csv", "a") as log:
        log.write(f"{epoch}\\n" if epoch else "epoch\\n0\\n")
"""


def test_a_training_is_timed_and_ended(tmp_path):
    start = time.monotonic()
    words, log = ["-c", FAKE_TRAINING], tmp_path / "log"
    pace = budget.measure_pace(words, tmp_path / "run", log, minutes=1, least_seconds=0.5)

    assert time.monotonic() - start < 15
    assert 0.25 < pace.epoch_seconds < 1
    assert list(tmp_path.iterdir()) == [log]


def test_an_epoch_longer_than_the_minutes_is_enough(tmp_path):
    words, log = ["-c", FAKE_TRAINING], tmp_path / "log"
    pace = budget.measure_pace(words, tmp_path / "run", log, minutes=0.001, least_seconds=9)

    assert pace.epochs(minutes=0.001) == 1


def test_a_process_is_measured(tmp_path):
    child = Child(
        ["-c", "x = bytearray(300_000_000); import time; time.sleep(0.3)"], tmp_path / "log"
    )
    child.wait()

    assert child.code == 0
    assert 0.3 <= child.seconds < 20
    assert 300e6 < child.peak_bytes < 3e9


def test_a_process_that_fails_says_why(tmp_path):
    words = ["-c", "import sys; print('no room'); sys.exit(3)"]
    with pytest.raises(ChildError, match=r"no room \(exit code 3; all of it is in .*log\)"):
        children.run(words, tmp_path / "log")
    assert children.run(words, tmp_path / "log", allowed=(0, 3)).code == 3


def test_a_process_is_asked_to_end_first(tmp_path):
    script = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("saved"), sys.exit(5)))
print("ready", flush=True)
time.sleep(60)
"""
    child = Child(["-c", script], tmp_path / "log")
    child.wait(watch=lambda: "ready" in (tmp_path / "log").read_text())
    child.end()

    assert child.code == 5
    assert (tmp_path / "log").read_text() == "ready\nsaved\n"


# ---- Recipes


def parsed(*words):
    train.FLAGS.unparse_flags()
    for name in train.FLAGS:
        train.FLAGS[name].unparse()
    assert train.FLAGS(["cbed train", "--data_dir=d", "--run_dir=r", *words])[1:] == []
    return train.options_from_flags()


@pytest.mark.parametrize("name", [path.stem for path in recipe_list.EXPERIMENTS.glob("*.flags")])
def test_every_recipe_can_be_trained_and_says_how(name):
    recipe = recipe_list.find_recipe(name)
    options = parsed(*recipe.words())

    for line in options.as_flags():
        flag, _, value = line.removeprefix("--").partition("=")
        if flag in recipe.settings():
            assert recipe_list.same_value(recipe.settings()[flag], value) or "," in value
    head = [line for line in recipe.flagfile.read_text().splitlines() if line.startswith("#")]
    assert any("cbed train --flagfile=models/experiments/" in line for line in head)
    assert any("Expected: " in line for line in head)
    assert any("Result" in line for line in head)


def test_what_is_left_out_are_flags_of_a_training(tmp_path):
    path = tmp_path / "all.flags"
    path.write_text(
        "--targets=space_group,energy_keV\n--augment=usual\n--ema=0.99\n--schedule=cosine\n"
        "--clip_norm=1.0\n--dropout=0.2\n--label_smoothing=0.1\n--fusion=attention\n"
    )
    recipe = recipe_list.find_recipe(str(path))
    variants = {variant.name: variant for variant in recipe_list.leave_out(recipe)}

    # It has no polar encoder, no balancing and no learned weights.
    assert list(variants) == [
        *("whole", "augment", "fusion", "ema", "schedule", "clip", "dropout", "smoothing"),
        *("root", "targets"),
    ]
    whole = parsed(*variants["whole"].words())
    for name, variant in variants.items():
        changed = parsed(*variant.words())
        assert (changed == whole) == (name == "whole")
        assert f"--flagfile={path}" in variant.words()


def test_the_first_method_is_what_others_are_compared_with(tmp_path, monkeypatch):
    monkeypatch.setattr(recipe_list, "EXPERIMENTS", tmp_path)
    for name in ("polar", "stemdl", "stemdl_small"):
        (tmp_path / f"{name}.flags").write_text("--ema=0.9\n")

    names = [method.name for method in comparison.methods_of(None, is_leave_out=False)]
    assert names == ["polar", "stemdl_small", "stemdl", "forest", "ridge"]
    names = [method.name for method in comparison.methods_of(["ema", "clip"], is_leave_out=True)]
    assert names == ["whole", "ema"]


def test_recipes_that_answer_no_space_group_are_refused(tmp_path):
    (tmp_path / "lengths.flags").write_text("--targets=abc_angstrom\n")
    (tmp_path / "usual.flags").write_text("--ema=0.9\n")
    with pytest.raises(CbedError, match="lengths.flags has --targets=abc_angstrom, and space_grou"):
        comparison.methods_of([str(tmp_path / "lengths.flags")], is_leave_out=False)
    (method,) = comparison.methods_of([str(tmp_path / "usual.flags")], is_leave_out=False)
    assert method.name == "usual"


def test_methods_that_lack_a_seed_are_left_out(toy_manifest, indexed_archive, tmp_path):
    """Forest has both seeds, ridge one of them."""
    scratch = tmp_path / "scratch"
    words = [str(indexed_archive), str(scratch), "--seeds=2", "--splits=dev", "--resamples=10"]
    options = __main__.parse_options([*words, "--only=forest,ridge"])
    (scratch / "data").mkdir(parents=True)
    compared = comparison.Comparison(options, comparison.methods_of(options.only, False))
    compared.data_sets.path("dev").parent.mkdir(exist_ok=True)
    shutil.copytree(indexed_archive.parent / "shards", compared.data_sets.path("dev"))
    for name, seed in (("forest", 0), ("forest", 1), ("ridge", 0)):
        path = compared.answers(comparison.CLASSICAL[name], "dev", seed)
        path.parent.mkdir(exist_ok=True)
        answers_file.save_answers(path, made_tasks([0, 1], [0, 0]), {"fit_seconds": 1.0})

    found = findings.findings(compared)
    assert list(found["splits"]["dev"]["methods"]) == ["forest"]
    assert found["failed"] == {"ridge": "not finished, 1 of 2 seeds on dev"}
    assert "ridge, 200 components: LEFT OUT: not finished" in report.report(found, scratch, "x")


def test_what_an_ingredient_brings_is_how_far_the_rest_is_behind(tmp_path):
    def method(mean):
        entry = {"mean": mean, "least": mean, "most": mean, "by_seed": {"0": mean}}
        entry |= {"interval": (mean - 0.05, mean + 0.05), "baseline": 0.08}
        behind = {"top1": {"mean": 0.5 - mean, "interval": (0.01, 0.3)}}
        return {"scores": dict.fromkeys(report.SCORE_TITLES, entry), "behind": behind}

    judged = {"samples": 9, "materials": 8, "train_samples": 7}
    judged["methods"] = {"whole": method(0.5), "ema": method(0.4)}
    found = {
        **{"methods": {"whole": "the whole recipe", "ema": "without it"}, "leave_out": True},
        **{"kinds": {"whole": "Recipe", "ema": "Recipe"}, "seeds": 1, "minutes": 5.0},
        **{"checkpoint": "last", "costs": {}, "failed": {"root": "no room"}},
        **{"splits": {"dev": judged}, "machine": {"cores": 2, "python": "3", "versions": {}}},
    }
    found["methods"]["root"] = "without another"

    lines = report.report(found, tmp_path, "leave-out").splitlines()
    assert "| the whole recipe               | 50.0 [45, 55] " in "\n".join(lines)
    table = lines[lines.index("What each ingredient brings, in points of top-1 [95 % interval]") :]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table[2:6]]
    assert rows[2:] == [["without it", "+10.0 [+1, +30]"], ["without another", "–"]]
    assert "without another: LEFT OUT: no room" in lines
    assert json.loads((tmp_path / "leave-out.json").read_text())["minutes"] == 5
    assert (tmp_path / "leave-out.png").exists()


def test_unknown_recipes_are_refused(capsys):
    for only in (["--only=nothing"], ["--leave_out", "--only=nothing"]):
        with pytest.raises(SystemExit) as caught:
            __main__.main(["archive", "scratch", *only])
        assert "nothing" in str(caught.value.code)
    for name in ("seeds", "minutes"):
        with pytest.raises(SystemExit):
            __main__.main(["archive", "scratch", f"--{name}=0"])
        assert f"--{name} is 0" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        __main__.main(["archive", "scratch", "--splits=test"])
    assert caught.value.code == 2
    assert "--splits has test, should be of dev, prototypes" in capsys.readouterr().err


# ---- All of it


class InProcess:
    """Stands for a child process, without the seconds that TensorFlow takes to come."""

    started = 0

    def __init__(self, words, log):
        InProcess.started += 1
        self.code, self.seconds, self.peak_bytes, self.log = None, 2.0, 10**8, log
        modules = {"benchmarks.recipes.asking": asking, "benchmarks.recipes.classical": classical}
        if words[1] == "cbed_tf":
            self.code = main(words[2:])
        else:
            modules[words[1]].main(words[2:])
            self.code = 0

    def wait(self, limit_seconds=0, watch=None):
        pass

    def end(self):
        pass


@pytest.fixture
def in_process(monkeypatch):
    monkeypatch.setattr(children, "Child", InProcess)
    monkeypatch.setattr(trials, "Child", InProcess)
    monkeypatch.setattr(InProcess, "started", 0)
    return InProcess


def test_recipes_are_compared(indexed_archive, tmp_path, in_process, capsys):
    recipe, scratch = tmp_path / "toy.flags", tmp_path / "scratch"
    recipe.write_text(TOY_FLAGS)
    # The forest is left out with a word where scikit-learn is not installed.
    words = [str(indexed_archive), str(scratch), f"--only={recipe},forest", "--seeds=1"]
    words += ["--splits=prototypes", "--epochs=2", "--resamples=50"]
    has_forest = importlib.util.find_spec("sklearn") is not None
    with contextlib.nullcontext() if has_forest else pytest.raises(SystemExit):
        __main__.main(words)

    found = json.loads((scratch / "results.json").read_text())
    judged = found["splits"]["prototypes"]
    assert (judged["samples"], judged["materials"], judged["train_samples"]) == (10, 5, 14)
    assert list(judged["methods"]) == ["toy", *(["forest"] if has_forest else [])]
    run_dir = scratch / "trials" / "prototypes-toy-0" / "run"
    metrics = json.loads((run_dir / "metrics-test-last.json").read_text())["scores"]
    scores = judged["methods"]["toy"]["scores"]
    assert scores["top1"]["mean"] == metrics["space_group"]["top1"]["model"]
    error = metrics["abc_angstrom"]["mae"]
    assert scores["abc_angstrom mae"]["mean"] == pytest.approx(error["model"], rel=1e-6)
    assert scores["abc_angstrom mae"]["baseline"] == pytest.approx(error["baseline"], rel=1e-6)
    (cost,) = found["costs"]["toy"]["prototypes"]
    assert cost["parameters"] == json.loads((run_dir / "run.json").read_text())["weights"]
    assert (cost["epochs"], cost["peak_bytes"]) == (2, 10**8)
    assert 0 <= cost["waiting_share"] <= 1
    text = (scratch / "results.md").read_text()
    assert text in capsys.readouterr().out
    assert "always the most frequent class" in text
    assert (scratch / "results.png").read_bytes().startswith(b"\x89PNG")

    # Again, and nothing is done again.
    started = in_process.started
    with contextlib.nullcontext() if has_forest else pytest.raises(SystemExit):
        __main__.main(words)
    assert in_process.started == started
    recipe.write_text(TOY_FLAGS + "--ema=0.5\n")
    with pytest.raises(SystemExit) as caught:
        __main__.main(words)
    assert "was made with other settings: ema None, now 0.5" in str(caught.value.code)
