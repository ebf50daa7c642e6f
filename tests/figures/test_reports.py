"""Pictures and the numbers beside them, for few classes and many, and for names that break drawings."""

import matplotlib
import numpy as np
import pytest
from PIL import Image

from detkit.data.annotations import Annotations, Texts
from detkit.errors import UserError
from detkit.evaluation.coco import CocoMetric
from detkit.figures.canvas import DOTS, render
from detkit.figures.reports import draw_evaluation, draw_run, write_evaluation
from detkit.figures.tables import numbers, read_table
from detkit.figures.worst import draw_worst, write_worst
from tests.evaluation.test_coco import box, coco, found, random_case

PICTURES = {
    "precision_recall",
    "precision",
    "recall",
    "f1",
    "confusion",
    "confusion_normalised",
    "worst_missed",
    "worst_false",
}
ODD = ("$x_", "_hidden", "bad\nname " + "w" * 60)


def grey(path):
    return np.full((48, 64, 3), 128, np.uint8)


def columns(file):
    header, rows = read_table(file)
    return header, [numbers(column) for column in zip(*rows, strict=True)]


@pytest.fixture(scope="module")
def scored():
    """An evaluation of three classes, one of them without boxes."""
    truth, everything = random_case(np.random.default_rng(1), 8, 6, 20)
    for category, name in zip(truth["categories"], ODD, strict=True):
        category["name"] = name
    metric = CocoMetric(truth, ODD)
    metric.update(everything, range(10, 18))
    return metric.compute(), metric.diagnosis()


def test_the_tables_hold_the_numbers(scored, tmp_path):
    result, diagnosis = scored
    write_evaluation(tmp_path, result, diagnosis)
    assert {path.stem for path in tmp_path.iterdir()} == PICTURES | {"classes"}
    named = [name for name, item in result.classes.items() if item.boxes]
    header, (confidence, mean, *classes) = columns(tmp_path / "f1.csv")
    assert header == ["confidence", "all classes", *named] and len(named) == 2
    best = int(mean.argmax())
    assert (confidence[best], mean[best]) == (result.point.confidence, pytest.approx(result.point.f1, abs=1e-6))
    assert [values[best] for values in classes] == pytest.approx([result.classes[name].f1 for name in named], abs=1e-6)
    _, (_, mean, *classes) = columns(tmp_path / "precision_recall.csv")
    assert mean.mean() == pytest.approx(result.numbers["AP50"], abs=1e-6)
    _, rows = read_table(tmp_path / "confusion.csv")
    assert [[int(cell) for cell in row[1:]] for row in rows] == diagnosis.confusion.tolist()
    _, rows = read_table(tmp_path / "confusion_normalised.csv")
    sums = [np.nansum(numbers(row[1:])) for row in rows]
    assert sums == pytest.approx([1, 1, 0, 1] if diagnosis.names[2] not in named else sums, abs=1e-4)
    _, rows = read_table(tmp_path / "classes.csv")
    assert [row[0] for row in rows] == list(result.classes)
    assert [float(row[2]) for row in rows if row[2]] == pytest.approx([result.classes[n].ap for n in named], abs=1e-6)
    _, rows = read_table(tmp_path / "worst_missed.csv")
    first = diagnosis.missed[0]
    assert [row[1] for row in rows if row[0] == first.file] == list(first.verdicts)
    assert [float(cell) for cell in rows[0][4:]] == pytest.approx(first.boxes[0].tolist(), rel=1e-5)


def test_each_table_has_its_picture_and_nothing_of_matplotlib_stays(scored, tmp_path):
    before = dict(matplotlib.rcParams)
    write_evaluation(tmp_path, *scored)
    pictures = draw_evaluation(tmp_path, grey)
    assert set(pictures) == PICTURES == {path.stem for path in tmp_path.glob("*.png")}
    for stem, picture in pictures.items():
        assert np.array_equal(np.asarray(Image.open(tmp_path / f"{stem}.png")), picture)
        assert picture.dtype == np.uint8 and picture.std() > 5, f"{stem} is empty"
    assert pictures["f1"].shape == (5 * DOTS, 8 * DOTS, 3)
    assert dict(matplotlib.rcParams) == before


def test_images_that_cannot_be_read_are_left_out(scored, tmp_path):
    _, diagnosis = scored
    file, gone = tmp_path / "worst_missed.csv", {diagnosis.missed[0].file}

    def read(path):
        if path in gone:
            raise UserError("gone")
        return grey(path)

    write_worst(file, diagnosis.missed)
    rest = draw_worst(file, read)
    write_worst(file, diagnosis.missed[1:])
    assert np.array_equal(rest, draw_worst(file, grey)) and len(diagnosis.missed) > 1
    gone |= {image.file for image in diagnosis.missed}
    assert draw_worst(file, read) is None


def test_no_sheet_of_an_earlier_evaluation_stays(tmp_path):
    metric = CocoMetric(coco(1, [box(1, 10, 7, (20, 100, 60, 60))]), ("cat", "dog", "鸟"))
    metric.update([found([[20, 100, 80, 160]], [0.9], [0])], [10])
    (tmp_path / "worst_missed.png").touch()
    write_evaluation(tmp_path, metric.compute(), metric.diagnosis())
    assert not {"worst_missed", "worst_false"} & set(draw_evaluation(tmp_path, grey))
    assert not (tmp_path / "worst_missed.png").exists()


def test_verdicts_have_their_colours(tmp_path):
    """A missed box on the left, a false one in the middle, a right one on the right, of an image as large as its tile."""
    truth = coco(1, [box(1, 10, 7, (20, 100, 60, 60)), box(2, 10, 7, (260, 100, 60, 60))])
    metric = CocoMetric(truth, ("cat", "dog", "鸟"))
    metric.update([found([[140, 100, 200, 160], [260, 100, 320, 160]], [0.9, 0.8], [0, 0])], [10])
    metric.compute()
    write_worst(tmp_path / "worst.csv", metric.diagnosis().missed)
    picture = draw_worst(tmp_path / "worst.csv", lambda path: np.full((270, 360, 3), 128, np.uint8))
    row = picture[24 + 4 + 20 + 130].astype(int)  # legend, gap, caption
    for left, color in ((20, (240, 160, 30)), (140, (225, 50, 50)), (260, (60, 175, 80))):
        assert np.abs(row[4 + left] - color).max() < 60
    above = picture[24 + 4 + 20 + 78 : 24 + 4 + 20 + 98]
    assert (above[:, 4 + 20 : 4 + 60] != 128).any(), "what is wrong is named"
    assert (above[:, 4 + 260 : 4 + 320] == 128).all(), "what is right is not"


def test_eighty_classes(tmp_path):
    names = [f"class {number}" for number in range(80)]
    truth = coco(1, [box(1, 10, 3, (0, 0, 50, 50))], names, range(80))
    metric = CocoMetric(truth, names)
    metric.update([found([[0, 0, 50, 50], [100, 0, 150, 50]], [0.9, 0.8], [3, 50])], [10])
    write_evaluation(tmp_path, metric.compute(), metric.diagnosis())
    pictures = draw_evaluation(tmp_path, grey)
    assert max(pictures["confusion"].shape) <= 14 * DOTS
    assert read_table(tmp_path / "f1.csv")[0] == ["confidence", "all classes", "class 3"]


def annotations(boxes, labels, crowds):
    count = len(boxes)
    return Annotations(
        names=ODD,
        category_ids=np.arange(3),
        paths=Texts(["a.jpg", "b.jpg"]),
        image_ids=np.arange(2),
        sizes=np.array([[50, 100], [200, 200]]),
        starts=np.array([0, count - 1, count]) if count else np.zeros(3, np.int64),
        boxes=np.array(boxes, np.float64).reshape(-1, 4),
        labels=np.array(labels, np.int64),
        crowds=np.array(crowds, bool),
        areas=np.ones(count),
        annotation_ids=np.arange(count),
    )


def test_labels_and_epochs(tmp_path):
    train = annotations([[0, 0, 100, 50], [0, 0, 10, 10], [90, 0, 10, 50], [50, 50, 100, 100]], [0, 1, 0, 2], [0, 1, 0, 0])
    rows = [{"epoch": 1, "loss": 2.0, "loss_box": 1.0, "lr": 0.1}, {"epoch": 2, "loss": 1.0, "loss_box": 0.5, "AP": 0.25}]
    pictures = draw_run(tmp_path, rows, train)
    stems = {"labels", "label_centres", "label_sizes", "losses", "scores"}
    assert set(pictures) == stems == {path.stem for path in tmp_path.glob("*.csv")} == {p.stem for p in tmp_path.glob("*.png")}
    assert [row[1:] for row in read_table(tmp_path / "labels.csv")[1]] == [["2", "1"], ["0", "0"], ["1", "1"]]
    assert read_table(tmp_path / "label_centres.csv")[1] == [["0.51", "0.51", "2"], ["0.95", "0.51", "1"]]
    assert read_table(tmp_path / "label_sizes.csv")[1] == [["0.11", "0.99", "1"], ["0.51", "0.51", "1"], ["0.99", "0.99", "1"]]
    assert read_table(tmp_path / "losses.csv") == (["epoch", "loss", "loss_box"], [["1", "2", "1"], ["2", "1", "0.5"]])
    assert read_table(tmp_path / "scores.csv") == (["epoch", "AP"], [["1", ""], ["2", "0.25"]])


def test_a_run_that_has_nothing_to_show_yet(tmp_path):
    assert set(draw_run(tmp_path, [], annotations([], [], []))) == {"labels", "label_centres", "label_sizes"}


def test_the_users_own_settings_of_matplotlib_are_not_used():
    def paint(figure):
        figure.add_subplot().plot([0, 1])

    plain = render(paint, 2, 2)
    with matplotlib.rc_context({"figure.facecolor": "red", "text.usetex": True}):
        assert np.array_equal(render(paint, 2, 2), plain)
