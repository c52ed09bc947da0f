"""A file under its own name is complete, and was on the disk before it had the name."""

import os

import pytest

from cbed_tf.durable import new_file, remove_leftovers, temporary_path, write_atomically


def names_in(folder):
    return [path.name for path in folder.iterdir()]


def test_a_file_has_its_name_only_when_it_is_complete(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with new_file(path) as stream:
        stream.write(b"new")
        assert path.read_bytes() == b"old"

    assert path.read_bytes() == b"new"
    assert names_in(tmp_path) == ["a"]


def test_an_error_leaves_nothing_behind(tmp_path):
    with pytest.raises(TypeError), new_file(tmp_path / "a") as stream:
        stream.writelines([b"half", None])

    assert names_in(tmp_path) == []


def test_content_and_name_are_brought_to_the_disk_in_this_order(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(
        os, "fsync", lambda file: synced.append(os.readlink(f"/proc/self/fd/{file}"))
    )
    write_atomically(tmp_path / "a", b"content")

    content, folder = synced
    assert os.path.basename(content).endswith(".tmp")
    assert folder == str(tmp_path)


def test_leftovers_are_removed_and_nothing_else(tmp_path):
    temporary_path(tmp_path / "a").touch()
    (tmp_path / "b.tmp").touch()
    remove_leftovers(tmp_path)

    assert names_in(tmp_path) == ["b.tmp"]
