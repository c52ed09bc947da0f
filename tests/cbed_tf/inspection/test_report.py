"""Reports as text, as a web page and as a picture."""

import base64
import re
from html.parser import HTMLParser

import h5py
import numpy as np
import pytest
from archives import write_archive

from cbed_tf.errors import CbedError
from cbed_tf.inspection import report
from cbed_tf.inspection.document import Heading, Paragraph, Table, as_html, as_text
from cbed_tf.inspection.sample import find_sample
from cbed_tf.inspection.survey import Overlap, SplitSurvey, Survey, survey_archive

PNG_START = b"\x89PNG\r\n\x1a\n"


class Page(HTMLParser):
    """Checks that tags are closed in order; keeps images, tables' rows and every address."""

    VOID = ("meta", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.addresses, self.words = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href"):
                self.addresses.append(value)
        if tag == "img":
            kind, data = re.fullmatch(r"data:image/(.*);base64,(.*)", dict(attrs)["src"]).groups()
            self.images.append((kind, base64.b64decode(data)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def archive_and_survey(tmp_path_factory):
    folder = write_archive(tmp_path_factory.mktemp("a<b>&") / "archive", train=6, dev=2, test=0)
    with h5py.File(folder / "batch_train_0.h5", "a") as file:
        file["sample_1_0"].attrs["formula"] = "<script>$"
        file["sample_2_1/cbed_stack"][0, 0, 0] = np.nan
    return folder, survey_archive(folder, workers=1)


def test_tables_are_aligned_with_numbers_to_the_right():
    table = Table(("name", "count"), (("a", "1,000"), ("long", "7")))

    assert as_text([table]) == "name  count\na     1,000\nlong      7"


def test_a_document_reads_the_same_in_both_forms():
    blocks = [
        Heading("Title", 1),
        Paragraph("a < b", warning=True),
        Table(("x",), (("<1>",),)),
        Table(("secret",), (("9",),), folded=True, summary="more"),
    ]

    assert as_text(blocks) == "Title\n=====\n\nWARNING: a < b\n\nx\n<1>"
    words = Page(as_html(blocks, "T & t")).words
    assert {"T & t", "Title", "a < b", "<1>", "more", "9"} <= set(words)


def test_the_text_tells_counts_and_reasons(archive_and_survey):
    folder, survey = archive_and_survey

    text = report.survey_text(survey, folder)

    assert "2 files" in text
    assert "6 sound samples of 4 materials, each 3 patterns of 24 x 32 pixels" in " ".join(
        text.split()
    )
    assert "WARNING: 2 samples or files would be rejected." in text
    assert re.search(r"^train +1 +4 +3 ", text, re.MULTILINE)
    assert re.search(r"batch_train_0.h5 +train/batch_train_0/sample_1_0 +formula '<script>", text)


def test_the_page_stands_alone_and_escapes_what_the_files_hold(archive_and_survey, tmp_path):
    folder, survey = archive_and_survey
    path = tmp_path / "report.html"

    report.write_survey(path, survey, folder)

    text = path.read_text()
    page = Page(text)
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert "http" not in text
    assert "<script" not in text
    assert any("formula '<script>$' cannot be read" in words for words in page.words)
    kinds = [kind for kind, _ in page.images]
    assert kinds == ["svg+xml"] * 2 + ["png"] * len(survey.examples)
    assert all(content.startswith(PNG_START) for kind, content in page.images if kind == "png")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_the_same_archive_gives_the_same_page(archive_and_survey, tmp_path):
    folder, survey = archive_and_survey

    for name in ("a.html", "b.html"):
        report.write_survey(tmp_path / name, survey, folder)

    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_leaks_are_a_warning_in_both_forms():
    survey = made_up(leaks=(Overlap("mp-1", {"train": 3, "dev": 1}),))

    text = report.survey_text(survey, "x")

    assert "WARNING: 1 material occurs in more than one split" in text
    assert re.search(r"^mp-1 +3 +1$", text, re.MULTILINE)


def test_long_lists_are_cut_and_say_so():
    overlaps = tuple(Overlap(f"mp-{k}", {"train": 1, "dev": 1}) for k in range(23))

    assert "… and 3 more" in report.survey_text(made_up(leaks=overlaps), "x")


def test_an_archive_without_a_sound_sample_has_a_page_and_no_picture(tmp_path):
    survey = made_up()

    report.write_survey(tmp_path / "x.html", survey, tmp_path)
    with pytest.raises(CbedError, match="no sample is left to draw"):
        report.write_survey(tmp_path / "x.png", survey, tmp_path)

    assert Page((tmp_path / "x.html").read_text()).images == []
    assert not (tmp_path / "x.png").exists()


def test_a_samples_report_compares_it_with_the_physics(archive_and_survey, tmp_path):
    folder, _ = archive_and_survey
    sample = find_sample(folder, "train/batch_train_0/sample_0_1")

    text = report.sample_text(sample)

    assert "Sound" in text
    assert text.count("agrees") == 6
    assert "lambda(100 keV) / 4 = 0.0092536 rad" in " ".join(text.split())
    report.write_sample(tmp_path / "x.html", sample)
    ((kind, content),) = Page((tmp_path / "x.html").read_text()).images
    assert kind == "png"
    assert content.startswith(PNG_START)


def test_a_contradiction_to_the_physics_is_told_view_by_view(archive):
    with h5py.File(archive / "batch_dev_0.h5", "a") as file:
        d_hkls = file["sample_4_0"].attrs["d_hkls_angstrom"]
        file["sample_4_0"].attrs["d_hkls_angstrom"] = d_hkls * [1, 1, 1.1]

    text = report.sample_text(find_sample(archive, "dev/batch_dev_0/sample_4_0"))

    assert "this sample would be rejected: d_hkls_angstrom is" in " ".join(text.split())
    assert text.count("DIFFERS by +10 %") == 2  # of the d-spacing, and of its product
    assert text.count("agrees") == 4


def made_up(**fields):
    empty = {
        "files": 2,
        "bytes": 0,
        "image_shape": (3, 4, 4),
        "splits": {name: split_without_samples() for name in ("train", "dev")},
        "through_hdf5": 0,
        "leaks": (),
        "shared_compositions": (),
        "rejected": (),
        "examples": (),
    }
    return Survey(**{**empty, **fields})


def split_without_samples():
    return SplitSurvey(1, 0, 0, {}, {}, None, None)
