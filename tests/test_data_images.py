"""ImageNet's batches: each image once, the views of training and validation, MXNet's arithmetic."""
from runtime import UserError

import cv2
import mxnet as mx
import numpy as np
import pytest

from data.augment import generator, jitter, random_resized_box
from data.folders import ImageFolder
from data.images import MEAN, STD, ImageBatches, training_view, validation_view
from data.recordio import RecordFile
from tests.test_data_recordio import write_records


@pytest.fixture
def rec(record_folder):
    return str(record_folder / 'val.rec')


def whole_epoch(source, number=0, start=0):
    data, labels = zip(*source.epoch(number, start))
    return np.concatenate(data), np.concatenate(labels)


@pytest.mark.parametrize('batch_size', [1, 4, 7, 21, 64])
@pytest.mark.parametrize('workers', [0, 3])
def test_validation_yields_every_image_once_in_order_in_every_pass(rec, batch_size, workers):
    source = ImageBatches(RecordFile(rec), 10, batch_size, False, workers=workers, size=32)
    expected = [RecordFile(rec).label(row) for row in range(21)]
    for _ in range(3):
        data, labels = whole_epoch(source)
        assert list(labels) == expected and data.shape == (21, 3, 32, 32)


def test_both_paths_give_the_same_images(record_folder, rec):
    records = whole_epoch(ImageBatches(RecordFile(rec), 10, 8, False, size=32))
    folders = whole_epoch(ImageBatches(ImageFolder(str(record_folder), False), 10, 8, False, size=32))
    assert len(ImageFolder(str(record_folder), True)) == 48
    one, other = (sorted((label, image.tobytes()) for image, label in zip(*found)) for found in (records, folders))
    assert one == other and list(folders[1]) == sorted(records[1])


def test_validation_pixels_equal_those_of_mxnets_iterator(rec):
    """The arithmetic that the published numbers were measured with: resize, centre crop, mean and std."""
    iterator = mx.io.ImageRecordIter(
        path_imgrec=rec, path_imgidx=rec[:-3] + 'idx', data_shape=(3, 32, 32), batch_size=21, resize=37, shuffle=False,
        round_batch=False, mean_r=MEAN[0], mean_g=MEAN[1], mean_b=MEAN[2], std_r=STD[0], std_g=STD[1], std_b=STD[2])
    theirs = next(iterator).data[0].asnumpy()
    ours = whole_epoch(ImageBatches(RecordFile(rec), 10, 21, False, size=32))[0]
    np.testing.assert_allclose(ours, theirs, atol=1.01 * 2 / 57)  # two of 256 levels: rounding in two JPEG decoders
    assert np.abs(ours - theirs).mean() < 0.1 / 57


def test_training_epochs_are_a_function_of_seed_and_epoch_for_any_number_of_threads(rec):
    def source(seed=0, workers=0):
        return ImageBatches(RecordFile(rec), 10, 4, True, seed=seed, workers=workers, size=32)

    first = whole_epoch(source(), 3)
    for again in (whole_epoch(source(workers=2), 3), whole_epoch(source(workers=1), 3)):
        assert (again[0] == first[0]).all() and (again[1] == first[1]).all()
    rest = whole_epoch(source(workers=2), 3, start=2)
    assert (rest[0] == first[0][8:]).all()
    assert (whole_epoch(source(), 4)[0] != first[0]).any() and (whole_epoch(source(seed=1), 3)[0] != first[0]).any()
    assert sorted(first[1]) == sorted(RecordFile(rec).label(row) for row in range(21))


def test_a_training_view_is_a_random_box_mirrored_half_of_the_time_and_jittered():
    image = np.random.RandomState(0).randint(0, 256, (60, 50, 3)).astype('uint8')
    mirrored = 0
    for seed in range(20):
        random = generator(seed)
        top, left, height, width = random_resized_box(60, 50, random)
        expected = cv2.resize(image[top:top + height, left:left + width], (24, 24))
        if random.random() < 0.5:
            mirrored += 1
            expected = expected[:, ::-1].copy()
        expected = jitter(expected, random)
        found = training_view(image, 24, generator(seed)) * STD[:, None, None] + MEAN[:, None, None]
        np.testing.assert_allclose(found.transpose(1, 2, 0)[..., ::-1], expected, atol=1e-3)
    assert 5 < mirrored < 15


def test_the_ranges_are_those_of_the_authors_recipe():
    asked = []

    class Asked:
        permutation = staticmethod(range)

        def uniform(self, *limits):
            asked.append(limits)
            return limits[0]

        def normal(self, *scale):
            asked.append(scale)
            return np.zeros(3)

        def integers(self, *limits):
            return limits[0]

    random_resized_box(100, 100, Asked())
    jitter(np.zeros((2, 2, 3), 'uint8'), Asked())
    assert asked == [(0.08, 1), pytest.approx(np.log([3 / 4, 4 / 3])), *[(-0.4, 0.4)] * 3, (0, 0.1, 3)]


class Draws:
    """A generator that replays fixed draws: an order of steps, their strengths, and the weights of the lighting."""

    def __init__(self, order, strengths, lighting):
        self.order, self.strengths, self.lighting = order, iter(strengths), lighting

    def permutation(self, _):
        return self.order

    def uniform(self, *_):
        return next(self.strengths)

    def normal(self, *_):
        return np.array(self.lighting)


def test_the_jitter_is_its_steps_one_after_the_other():
    """Contrast, saturation, brightness, lighting; each rounds, and ends at 0 and 255."""
    beyond = []

    def levels(values):
        beyond.append([(values < -0.5).mean(), (values > 255.5).mean()])
        return np.clip(np.rint(values), 0, 255)

    image = np.random.RandomState(0).randint(0, 256, (40, 50, 3)).astype('uint8')
    luma = np.array([0.299, 0.587, 0.114])
    expected = image.astype('float64')
    expected = levels(1.3 * expected - 0.3 * (expected @ luma).mean())
    expected = levels(0.8 * expected + 0.2 * levels(expected @ luma)[..., None])
    expected = levels(1.35 * expected)
    eigenvectors = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
    expected = levels(expected + eigenvectors @ (np.array([55.46, 4.794, 1.148]) * [0.1, -0.2, 0.05]))
    found = jitter(image[..., ::-1].copy(), Draws([1, 2, 0], [0.3, -0.2, 0.35], [0.1, -0.2, 0.05]))[..., ::-1]
    assert np.max(beyond, axis=0).min() > 0.05
    assert abs(found - expected).max() <= 2 and (found == expected).mean() > 0.95


@pytest.mark.parametrize('step', [0, 1, 2])
def test_steps_of_the_jitter_end_where_those_of_the_iterator_end(step, tmp_path):
    """MXNet's iterator on pictures of two greys (as it takes red for blue): none of its steps goes beyond 0 and 255."""
    grey = np.full((8, 8, 3), 240, 'uint8')
    grey[:4] = 10
    found = [jitter(grey, Draws([step], [strength], [0.0] * 3)) for strength in (-0.4, 0.4)]
    path = write_records(tmp_path / 'x.rec', [(0, cv2.imencode('.png', grey)[1].tobytes())] * 300)
    iterator = mx.io.ImageRecordIter(path_imgrec=path, path_imgidx=path[:-3] + 'idx', data_shape=(3, 8, 8),
                                     batch_size=300, preprocess_threads=1,
                                     **{('brightness', 'contrast', 'saturation')[step]: 0.4})
    theirs = next(iterator).data[0].asnumpy()
    assert (theirs == np.rint(theirs)).all()
    strength = theirs.mean((1, 2, 3)) if step == 0 else theirs.std((1, 2, 3))
    for ours, picture in zip(found, (theirs[strength.argmin()], theirs[strength.argmax()])):
        assert abs(int(ours.min()) - picture.min()) <= 2 and abs(int(ours.max()) - picture.max()) <= 3
    assert step == 2 or found[1].max() == theirs.max() == 255


def test_random_boxes_lie_inside_and_keep_area_and_aspect():
    for trial in range(300):
        top, left, height, width = random_resized_box(50, 70, generator(trial))
        assert 0 <= top <= 50 - height and 0 <= left <= 70 - width
        assert 0.07 * 3500 < height * width <= 3500 and 0.7 < width / height < 1.4
    assert random_resized_box(10, 1000, generator(0)) == (0, 493, 10, 13)


def test_a_picture_is_not_enlarged_beyond_all_bounds():
    with pytest.raises(UserError, match='a picture of 30x3000 is too large once its shorter side is 4096'):
        validation_view(np.zeros((3000, 30, 3), 'uint8'), 4096, 4096)


def test_a_batch_is_rgb():
    blue = np.zeros((40, 40, 3), 'uint8')
    blue[..., 0] = 255  # opencv's order is BGR
    view = validation_view(blue, 32, 36)
    np.testing.assert_allclose(view[:, 0, 0], (np.array([0, 0, 255]) - MEAN) / STD, rtol=1e-5)
