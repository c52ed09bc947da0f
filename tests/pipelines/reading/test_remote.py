"""Data sets behind URLs, read for real: from an S3 server and from web servers on this machine.

Each reading is a process of its own, as its exit code is part of what can go wrong.
"""

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from web_servers import serve_folder

import cbed_tf
from cbed_tf.conversion.convert import convert_archive
from cbed_tf.errors import CbedError
from pipelines import TARGETS, load_dataset
from pipelines.reading import remote

HAS_TENSORFLOW_IO = tf.__version__.startswith(("2.16.", "2.17.")) and bool(
    importlib.util.find_spec("tensorflow_io")
)
needs_tensorflow_io = pytest.mark.skipif(
    not HAS_TENSORFLOW_IO, reason=f"tensorflow-io cannot serve TensorFlow {tf.__version__}"
)
BUCKET = "lab"

# Reads every batch of a split, in order; then ends as it is told to.
READ = """
import atexit, sys
import numpy as np
from pipelines import TARGETS, load_dataset

atexit.register(print, "said at exit")
url, output, ending = sys.argv[1:]
batches = [
    {"images": images, **labels}
    for images, labels in load_dataset(url, "train", 20, targets=TARGETS)
]
np.savez(output, **{key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]})
exec(ending)
"""


def run(script, *words, **variables):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **variables}
    environment.pop("CURL_CA_BUNDLE", None)
    environment["PYTHONPATH"] = str(Path(cbed_tf.__file__).parents[1])
    words = [sys.executable, "-c", script, *map(str, words)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=100)


@pytest.fixture(scope="module")
def s3_server():
    """The environment variables that lead to an S3 server with an empty bucket."""
    pytest.importorskip("moto")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            with contextlib.suppress(urllib.error.URLError):
                put(f"{endpoint}/{BUCKET}", b"")
                break
            assert server.poll() is None
            time.sleep(0.1)
        yield {
            "S3_ENDPOINT": endpoint,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture(scope="module")
def s3_dataset(s3_server, sample_dataset):
    """The URL of the sample data set on that server."""
    put_folder(s3_server, sample_dataset, "shards")
    return f"s3://{BUCKET}/shards"


def put_folder(s3_server, folder, name):
    for path in folder.iterdir():
        if path.is_file():
            put(f"{s3_server['S3_ENDPOINT']}/{BUCKET}/{name}/{path.name}", path.read_bytes())


def put(url, content):
    headers = {"Content-Type": "application/octet-stream"}  # else the server takes it for a form
    request = urllib.request.Request(url, content, headers, method="PUT")
    urllib.request.urlopen(request, timeout=30).close()


def make_certificate(folder):
    """Returns a file with a certificate of 127.0.0.1, signed by itself, and its key."""
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificate, and is not installed")
    path = folder / "certificate.pem"
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext"
    words = [*words.split(), "subjectAltName=IP:127.0.0.1", "-keyout", path, "-out", f"{path}.crt"]
    subprocess.run(words, check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def assert_is_local_reading(file, folder):
    """Compares what READ has saved with the same data set in a folder."""
    dataset = load_dataset(folder, "train", 48, targets=TARGETS)
    images, labels = next(iter(dataset))
    with np.load(file) as read:
        assert set(read.files) == {"images", *labels}
        for key, value in {"images": images, **labels}.items():
            np.testing.assert_array_equal(read[key], value)


@needs_tensorflow_io
@pytest.mark.parametrize(
    ("ending", "code"), [("sys.exit(3)", 3), ("raise ValueError('the last')", 1)]
)
def test_s3_reads_as_from_a_folder_and_ends_with_its_exit_code(
    s3_server, s3_dataset, sample_dataset, tmp_path, ending, code
):
    done = run(READ, s3_dataset, tmp_path / "read.npz", ending, **s3_server)

    assert done.returncode == code, done.stderr
    assert done.stdout == "said at exit\n"
    assert "terminate called" not in done.stderr
    assert ("ValueError: the last" in done.stderr) == (code == 1)
    assert_is_local_reading(tmp_path / "read.npz", sample_dataset)


@needs_tensorflow_io
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_web_servers_are_read_as_folders_are(sample_dataset, tmp_path, scheme):
    certificate = make_certificate(tmp_path) if scheme == "https" else None
    with serve_folder(sample_dataset, certificate=certificate) as url:
        variables = {"SSL_CERT_FILE": str(certificate)} if certificate else {}
        done = run(READ, url, tmp_path / "read.npz", "sys.exit(3)", **variables)

    assert url.startswith(f"{scheme}://")
    assert done.returncode == 3, done.stderr
    assert_is_local_reading(tmp_path / "read.npz", sample_dataset)


# In one process, as starting TensorFlow is what takes time: an error a line.
REFUSE = """
import os, sys
from cbed_tf.errors import CbedError
from pipelines import load_dataset

for words in sys.argv[1:]:
    url, *variables = words.split()
    os.environ.update(variable.split("=", 1) for variable in variables)
    try:
        load_dataset(url, "train", 4)
    except CbedError as error:
        print(error)
"""


@needs_tensorflow_io
def test_s3_errors_name_url_and_reason_within_seconds(s3_server, s3_dataset, sample_dataset):
    endpoint = s3_server["S3_ENDPOINT"]
    put(f"{endpoint}/{BUCKET}/part/dataset.json", (sample_dataset / "dataset.json").read_bytes())
    start = time.monotonic()
    done = run(
        REFUSE,
        "s3://lab/nothing",
        "s3://other/shards",
        "s3://lab/part",
        "s3://lab/shards S3_ENDPOINT=127.0.0.1:80",
        "s3://lab/shards S3_ENDPOINT=http://127.0.0.1:9",
        **s3_server,
    )

    assert done.returncode == 0, done.stderr
    assert "terminate called" not in done.stderr
    messages = done.stdout.splitlines()
    assert messages[0] == (
        "s3://lab/nothing holds no finished data set: there is no s3://lab/nothing/dataset.json"
    )
    assert messages[1].startswith("s3://other/shards holds no finished data set")
    assert "4 shard(s) of the data set are missing: s3://lab/part/train-00000" in messages[2]
    assert "S3_ENDPOINT is '127.0.0.1:80', should start with http:// or https://" in messages[3]
    assert "s3://lab/shards: S3_ENDPOINT=http://127.0.0.1:9 cannot be reached" in messages[4]
    assert time.monotonic() - start < 60


@needs_tensorflow_io
def test_s3_without_credentials_says_so(s3_server, s3_dataset):
    nobody = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "")
    variables = {**s3_server, **nobody, "AWS_EC2_METADATA_DISABLED": "true"}
    done = run(REFUSE, s3_dataset, **variables)

    assert done.returncode == 0, done.stderr
    assert "s3://lab/shards/dataset.json cannot be read: access is denied" in done.stdout
    assert "AWS_ACCESS_KEY_ID" in done.stdout


@needs_tensorflow_io
def test_http_errors_name_url_and_reason(sample_dataset, tmp_path):
    (tmp_path / "dataset.json").write_bytes((sample_dataset / "dataset.json").read_bytes())
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "dataset.json").write_text("{")

    with (
        serve_folder(sample_dataset, ranges=False) as url,
        pytest.raises(CbedError, match=f"{url}/dataset.json does not answer Range requests"),
    ):
        load_dataset(url, "train", 4)
    with serve_folder(tmp_path) as url:
        with pytest.raises(CbedError, match=f"missing: {url}/train-00000-of-00004.tfrecord"):
            load_dataset(url, "train", 4)
        with pytest.raises(CbedError, match=f"there is no {url}/nothing/dataset.json"):
            load_dataset(f"{url}/nothing/", "train", 4)
        with pytest.raises(CbedError, match=f"{url}/damaged/dataset.json is no JSON"):
            load_dataset(f"{url}/damaged", "train", 4)
    with pytest.raises(CbedError, match=f"{url}/dataset.json cannot be read: .*refused"):
        load_dataset(url, "train", 4)


@needs_tensorflow_io
def test_a_shard_is_one_request_of_http(sample_dataset):
    """Of tensorflow-io's http://, each request keeps three file descriptors to the end."""
    requests = []
    with serve_folder(sample_dataset, log=requests) as url:
        dataset = load_dataset(url, "train", 4)
        before = len(requests)
        assert sum(1 for _ in dataset) == 12
    assert len(requests) - before == 4


TRAIN_AND_EVALUATE = """
import sys
from cbed_tf.__main__ import main

assert main(["train", *sys.argv[1:], "--epochs=1"]) == 0
sys.exit(main(["evaluate", *sys.argv[1:]]))
"""


@needs_tensorflow_io
def test_train_and_evaluate_take_a_url(s3_server, tmp_path, archive):
    convert_archive(archive, tmp_path / "toys", workers=1)
    put_folder(s3_server, tmp_path / "toys", "toys")
    words = ["--data_dir=s3://lab/toys", f"--run_dir={tmp_path / 'run'}", "--batch_size=4"]
    done = run(TRAIN_AND_EVALUATE, *words, **s3_server)

    assert done.returncode == 0, done.stderr
    assert "test: 4 samples" in done.stdout
    assert "--data_dir=s3://lab/toys\n" in (tmp_path / "run" / "run.flags").read_text()


@pytest.mark.skipif(HAS_TENSORFLOW_IO, reason=f"TensorFlow {tf.__version__} has tensorflow-io")
@pytest.mark.parametrize("scheme", ["s3", "az", "http", "https"])
def test_what_to_install_is_said_where_tensorflow_io_cannot_serve(scheme):
    with pytest.raises(CbedError) as caught:
        load_dataset(f"{scheme}://lab/shards", "train", 4)

    for part in (f"{scheme}://lab/shards: {scheme}:// needs tensorflow-io", "2.16 and 2.17 only"):
        assert part in str(caught.value)
    assert f"this is TensorFlow {tf.__version__}" in str(caught.value)
    assert "install 'cbed-tf[remote]'" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("ftp://lab/x", {}, "ftp://lab/x starts with ftp://, should with one of gs://, s3://"),
        ("s3://lab/x", {"reader": "gather"}, "needs local files, and s3://lab/x is a URL: copy"),
        ("s3://lab/x", {"balance": 1.0}, "need reader='gather'"),
    ],
)
def test_other_schemes_and_gather_are_refused(url, options, message):
    with pytest.raises(CbedError, match=message):
        load_dataset(url, "train", 4, **options)


def test_folders_are_no_urls(sample_dataset):
    assert not remote.is_url(sample_dataset)
    assert not remote.is_url("C:/shards")
    assert remote.is_url("gs://lab/shards")
    assert remote.load_manifest(sample_dataset).splits["train"].samples == 48
    assert len(remote.load_index(sample_dataset, "dev", ["energy_keV"])["energy_keV"]) == 12
