"""Data sets behind URLs: gs:// by TensorFlow itself; s3://, az://, http(s):// by tensorflow-io.

Owns what a URL needs before TensorFlow can read from it, the errors that say what is wrong with it
instead of a traceback, and manifest and index of a data set wherever it lies. Reading the shards is
the business of `stream`.
"""

import contextlib
import ctypes
import functools
import os
import resource
import socket
import ssl
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf

from cbed_tf.dataset import manifest as local
from cbed_tf.dataset.manifest import MANIFEST_NAME, Manifest, Shard
from cbed_tf.errors import CbedError

_WEB = ("http", "https")
_BY_TENSORFLOW_IO = ("s3", "az", *_WEB)
SCHEMES = ("gs", *_BY_TENSORFLOW_IO)
# The ops of tensorflow-io 0.37.1, its last release, load on these.
_TENSORFLOW_VERSIONS = ("2.16", "2.17")
_CREDENTIALS = {
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION",
    "az": "TF_AZURE_STORAGE_KEY",
}
_TIMEOUT_SECONDS = 10
_REQUESTS_AT_ONCE = 16
_COPY_BYTES = 2**24
# What TensorFlow takes for s3:// by itself. Each request costs http:// three file descriptors.
_LARGEST_READ_BYTES = 127 * 2**20


def is_url(data_dir: str | os.PathLike) -> bool:
    """Returns whether a data set lies behind a URL, not in a folder."""
    return "://" in os.fspath(data_dir)


def load_manifest(data_dir: str | os.PathLike) -> Manifest:
    """Reads the manifest of a data set in a folder or behind a URL.

    Raises:
      CbedError: As `cbed_tf.dataset.manifest.load_manifest`, or the URL cannot be read.
    """
    if not is_url(data_dir):
        return local.load_manifest(data_dir)
    with _copied(data_dir, MANIFEST_NAME) as folder:
        return local.load_manifest(folder)


def load_index(
    data_dir: str | os.PathLike, split: str, columns: Iterable[str] | None = None
) -> dict[str, np.ndarray]:
    """Reads columns of a split's index, in a folder or behind a URL.

    Raises:
      CbedError: As `cbed_tf.dataset.manifest.load_index`, or the URL cannot be read.
    """
    if not is_url(data_dir):
        return local.load_index(data_dir, split, columns)
    with _copied(data_dir, local.index_path("", split).name) as folder:
        return local.load_index(folder, split, columns)


def shard_urls(url: str, shards: Sequence[Shard]) -> list[str]:
    """Returns the shards' URLs, ready for TensorFlow.

    Raises:
      CbedError: One is missing, or cannot be asked for.
    """
    _prepare(url)
    listed = _list_names(url)
    urls = [_join(url, shard.name) for shard in shards]
    unsure = [place for place in urls if place.rpartition("/")[2] not in listed]
    with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
        found = list(pool.map(_exists, unsure))
    missing = [place for place, is_there in zip(unsure, found, strict=True) if not is_there]
    if missing:
        raise CbedError(f"{len(missing)} shard(s) of the data set are missing: {missing[0]}")
    return urls


def read_bytes(data_dir: str | os.PathLike, shards: Sequence[Shard]) -> int | None:
    """Returns how much of a shard to ask for at a time; None leaves it to TensorFlow.

    Behind a URL, whole shards if they are not too large: one request each.
    """
    if not is_url(data_dir):
        return None
    return min(_LARGEST_READ_BYTES, max(shard.bytes for shard in shards) + 1)


# ---- What a scheme needs


def _prepare(url: str) -> str:
    """Makes TensorFlow ready to read from a URL; returns its scheme.

    Raises:
      CbedError: Nothing here can read such a URL; says what to install or to set.
    """
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES:
        raise CbedError(
            f"{url} starts with {scheme}://, should with one of "
            + ", ".join(f"{known}://" for known in SCHEMES)
        )
    if scheme == "s3":
        _check_s3_endpoint(url)
    if scheme in _BY_TENSORFLOW_IO:
        _load_tensorflow_io(url, scheme)
    if scheme == "s3":
        _leave_without_destructors()
    if scheme in _WEB:
        _allow_many_files()
    return scheme


def _load_tensorflow_io(url: str, scheme: str) -> None:
    needed = (
        f"{url}: {scheme}:// needs tensorflow-io, which works with TensorFlow "
        f"{' and '.join(_TENSORFLOW_VERSIONS)} only; this is TensorFlow {tf.__version__}"
    )
    remedy = "install 'cbed-tf[remote]' in an environment of its own, or copy the data set here"
    if not tf.__version__.startswith(tuple(f"{version}." for version in _TENSORFLOW_VERSIONS)):
        raise CbedError(f"{needed}: {remedy}")
    try:
        import tensorflow_io  # noqa: F401  its import registers the schemes
    except ImportError as error:
        raise CbedError(f"{needed}, without tensorflow-io ({error}): {remedy}") from error
    if scheme not in tf.io.gfile.get_registered_schemes():
        raise CbedError(f"{needed}, whose tensorflow-io does not load: {remedy}")
    # It looks for certificates where Debian has them: elsewhere, then, let it use Python's.
    certificates = ssl.get_default_verify_paths().cafile
    if certificates:
        os.environ.setdefault("CURL_CA_BUNDLE", certificates)
        os.environ.setdefault("S3_CA_FILE", certificates)


def _check_s3_endpoint(url: str) -> None:
    """Refuses a server that is not there: the AWS library would try for minutes."""
    endpoint = os.environ.get("S3_ENDPOINT")
    if endpoint is None:
        return
    parts = urllib.parse.urlsplit(endpoint)
    if parts.scheme not in _WEB or not parts.hostname:
        raise CbedError(
            f"{url}: S3_ENDPOINT is {endpoint!r}, should start with http:// or https://"
        )
    if urllib.request.getproxies():
        return
    address = (parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))
    try:
        socket.create_connection(address, _TIMEOUT_SECONDS).close()
    except OSError as error:
        raise CbedError(f"{url}: S3_ENDPOINT={endpoint} cannot be reached: {error}") from error


@functools.cache
def _leave_without_destructors() -> None:
    """Lets the process end with its exit code, once s3:// is in use.

    A static object of the AWS library writes a log line in its destructor when the logger is gone
    already: "pure virtual method called", exit code 134 in place of the true one. What runs at the
    very end, after Python has finished, runs in reverse order. So from here on that is: writing out
    what C streams hold, then ending at once with the exit code that is being ended with. Python's
    own atexit handlers come before, as ever.
    """
    libc = ctypes.CDLL(None)
    libc.on_exit(libc._exit, None)
    libc.__cxa_atexit(libc.fflush, None, None)


@functools.cache
def _allow_many_files() -> None:
    """Raises the number of open files to the most that is allowed.

    tensorflow-io closes no connection of http(s):// before the program ends: each request, of up to
    127 MiB, keeps three file descriptors.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


# ---- Reading from it


@contextlib.contextmanager
def _copied(url: str, name: str) -> Iterator[Path]:
    """Yields a folder with a copy of one file, while it is needed; errors name the URL."""
    scheme = _prepare(url)
    place = _join(url, name)
    with tempfile.TemporaryDirectory(prefix="cbed-") as folder:
        with _errors_that_name(place, scheme):
            content = _read_web(place) if scheme in _WEB else _read(place)
        if content is not None:
            (Path(folder) / name).write_bytes(content)
        try:
            yield Path(folder)
        except CbedError as error:
            raise CbedError(str(error).replace(folder, url.rstrip("/"))) from error


def _read(url: str) -> bytes | None:
    """Returns a small file, None if there is none."""
    try:
        # Not read(): that asks for the size first, and is told "not found" whatever is the matter.
        with tf.io.gfile.GFile(url, "rb") as file:
            parts = [file.read(_COPY_BYTES)]
            while len(parts[-1]) == _COPY_BYTES:
                parts.append(file.read(_COPY_BYTES))
    except tf.errors.NotFoundError:
        return None
    return b"".join(parts)


def _read_web(url: str, byte_range: str = "0-") -> bytes | None:
    """The same from a web server, which must answer Range requests."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={byte_range}"})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
            if response.status != 206:
                raise CbedError(
                    f"the server of {url} does not answer Range requests (status "
                    f"{response.status} where 206 is due): shards cannot be read from it"
                )
            return response.read()
    except urllib.error.HTTPError as error:
        if error.code in (404, 410):
            return None
        raise


def _list_names(url: str) -> set[str]:
    """Returns the names below a URL; none where it cannot be listed, which proves nothing."""
    try:
        return set(tf.io.gfile.listdir(url))
    except (tf.errors.OpError, RuntimeError):
        return set()


def _exists(url: str) -> bool:
    scheme = url.partition("://")[0]
    with _errors_that_name(url, scheme):
        if scheme in _WEB:
            return _read_web(url, "0-0") is not None
        return tf.io.gfile.exists(url)


@contextlib.contextmanager
def _errors_that_name(url: str, scheme: str) -> Iterator[None]:
    """Turns what TensorFlow and urllib raise into one sentence about a URL."""
    try:
        yield
    except (tf.errors.OpError, RuntimeError, OSError) as error:
        if isinstance(error, _DENIED) or getattr(error, "code", None) in (401, 403):
            names = _CREDENTIALS.get(scheme)
            reason = f"access is denied{f'; are {names} right?' if names else ''}"
        else:
            reason = str(getattr(error, "reason", error)).strip().partition("\n")[0] or repr(error)
        raise CbedError(f"{url} cannot be read: {reason}") from error


_DENIED = (tf.errors.PermissionDeniedError, tf.errors.UnauthenticatedError)


def _join(url: str, name: str) -> str:
    return f"{url.rstrip('/')}/{name}"
