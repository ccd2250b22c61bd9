import numpy as np
import pytest
import torch
from PIL import Image

from pyrovae.data import load_data
from pyrovae.data.images import read_image_folder

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (6, 4, 5), dtype=np.uint8)
COLOUR = RANDOM.integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)


def write(folder, arrays, ending=".png"):
    folder.mkdir(parents=True, exist_ok=True)
    for number, array in enumerate(arrays):
        Image.fromarray(array).save(folder / f"{number}{ending}")
    return folder


def read(folder):
    return read_image_folder(folder).train


@pytest.mark.parametrize("ending", [".png", ".bmp", ".PNG", ".tiff", ".pgm"])
def test_grey_images_have_one_channel(tmp_path, ending):
    folder = write(tmp_path / "faces", GREY, ending)
    assert torch.equal(read(folder).values, torch.from_numpy(GREY).float()[:, None] / 255)
    splits = load_data(folder)
    assert splits.data_shape == (1, 4, 5)
    assert splits.name == "faces"
    assert splits.variant == "pixels scaled to [0, 1]"
    assert splits.support == "unit_interval"
    assert splits.train_labels is None
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 6


def test_colour_images_have_three_channels(tmp_path):
    folder = write(tmp_path, COLOUR)
    expected = torch.from_numpy(np.moveaxis(COLOUR, -1, 1).copy()).float() / 255
    assert torch.equal(read(folder).values, expected)
    assert load_data(folder).data_shape == (3, 4, 5)


def test_one_colour_image_makes_all_of_them_colour(tmp_path):
    values = read(write(tmp_path, [GREY[0], COLOUR[1], GREY[2]])).values
    assert values.shape == (3, 3, 4, 5)
    assert torch.equal(values[0], torch.from_numpy(GREY[0]).float().expand(3, -1, -1) / 255)
    assert torch.equal(values[1], torch.from_numpy(COLOUR[1]).permute(2, 0, 1).float() / 255)


def test_black_and_white_images_are_binary(tmp_path):
    bits = GREY > 127
    folder = write(tmp_path, bits)
    assert torch.equal(read(folder).values, torch.from_numpy(bits)[:, None].float())
    assert load_data(folder).support == "binary"


@pytest.mark.parametrize("ending", [".png", ".tiff", ".pgm"])
def test_sixteen_bit_images(tmp_path, ending):
    deep = RANDOM.integers(0, 65536, (4, 4, 5), dtype=np.uint16)
    values = read(write(tmp_path, deep, ending)).values
    assert torch.equal(values, torch.from_numpy(deep.astype(np.float32))[:, None] / 65535)


def test_palettes_and_transparency_become_plain_colour(tmp_path):
    for number in range(3):
        image = Image.fromarray(COLOUR[number]).quantize(16)
        image.save(tmp_path / f"{number}.png", transparency=bytes([0, 128, 255]))
    opaque = Image.fromarray(COLOUR[3])
    opaque.putalpha(100)
    opaque.save(tmp_path / "3.png")
    values = read(tmp_path).values
    assert values.shape == (4, 3, 4, 5)
    assert torch.equal(values[3], torch.from_numpy(COLOUR[3]).permute(2, 0, 1).float() / 255)


def test_folders_are_classes(tmp_path):
    write(tmp_path / "dog", GREY[:2])
    write(tmp_path / "cat", GREY[2:])
    (tmp_path / "empty").mkdir()
    rows = read(tmp_path)
    expected = np.concatenate([GREY[2:], GREY[:2]])
    assert torch.equal(rows.values, torch.from_numpy(expected).float()[:, None] / 255)
    assert rows.labels.tolist() == [0, 0, 0, 0, 1, 1]
    splits = load_data(tmp_path)
    assert splits.train_labels.dtype == torch.int64
    assert splits.label_names == ("cat", "dog")
    assert splits.provenance()["label_names"] == ["cat", "dog"]
    assert load_data(write(tmp_path / "flat", GREY)).label_names == ()


def test_a_class_whose_name_is_no_text(tmp_path):
    write(tmp_path / "cat", GREY)
    write(tmp_path / "d\udcffg", GREY)
    with pytest.raises(ValueError, match=r"the name 'd\\udcffg' of a folder is not UTF-8.*rename it"):
        load_data(tmp_path)


def test_other_files_are_passed_over(tmp_path):
    write(tmp_path, GREY)
    (tmp_path / "README.txt").write_text("faces")
    (tmp_path / "._0.png").write_bytes(b"not an image")
    assert len(read(tmp_path)) == 6


def test_images_of_different_sizes(tmp_path):
    write(tmp_path, [GREY[0], GREY[1], GREY[2, :3]])
    with pytest.raises(ValueError, match=r"0\.png is 5 x 4 and .*2\.png is 5 x 3 pixels .*one size"):
        load_data(tmp_path)


@pytest.mark.parametrize("kept", [0, 20, 60])
def test_an_unreadable_image(tmp_path, kept):
    write(tmp_path, GREY)
    damaged = tmp_path / "3.png"
    damaged.write_bytes(damaged.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"3\.png cannot be read as an image \(.*\); repair or remove it"):
        load_data(tmp_path)


@pytest.mark.parametrize(
    ("pixels", "wrong"),
    [
        (np.ones((4, 5), np.float32), "its pixels are floats"),
        (np.full((4, 5), 70000, np.int32), "more than 16 bits a pixel"),
        (np.full((4, 5), -1, np.int32), "more than 16 bits a pixel"),
    ],
)
def test_images_of_unknown_range(tmp_path, pixels, wrong):
    write(tmp_path, [pixels] * 3, ".tiff")
    with pytest.raises(ValueError, match=rf"0\.tiff cannot be read as an image \(.*{wrong}.*save it with 8 or 16"):
        load_data(tmp_path)


@pytest.mark.parametrize("ending", [".jpg", ".png", ".tif"])
def test_photos_are_turned_as_their_camera_noted(tmp_path, ending):
    """As a viewer shows them: the sizes differed, or those of a square lay on their sides."""
    colours = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
    upright = colours.repeat(16, 0).repeat(24, 1)
    for name, lying, orientation in [("a", upright, 1), ("b", np.rot90(upright), 6), ("c", upright[::-1, ::-1], 3)]:
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(np.ascontiguousarray(lying)).save(tmp_path / f"{name}{ending}", exif=exif, quality=100)
    rows = read(tmp_path).values
    assert rows.shape == (3, 3, 32, 48)
    assert (rows - torch.from_numpy(upright).movedim(-1, 0) / 255).abs().mean() < 0.02


def test_a_file_of_several_pictures(tmp_path):
    """The first alone was read."""
    first, *others = map(Image.fromarray, GREY)
    for ending in (".tif", ".gif"):
        folder = write(tmp_path / ending, GREY)
        first.save(folder / f"stack{ending}", save_all=True, append_images=others)
        with pytest.raises(ValueError, match=rf"stack{ending} .*it holds 6 pictures.*save each as a file of its own"):
            load_data(folder)


@pytest.mark.parametrize("beside", ["", "cat"])
def test_images_in_folders_inside_of_folders(tmp_path, beside):
    """They were left out without a word."""
    write(tmp_path / beside, GREY)
    write(tmp_path / "cat" / "2020" / "may", GREY)
    with pytest.raises(ValueError, match=r"folders inside of folders \(cat.2020.may.0\.png\), which are not read; put"):
        load_data(tmp_path)


def test_a_folder_without_images(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ValueError, match=r"holds no image; expected files ending in .*\.png.* for every class"):
        load_data(tmp_path)


def test_images_beside_class_folders(tmp_path):
    write(tmp_path, GREY)
    write(tmp_path / "cat", GREY)
    with pytest.raises(ValueError, match=r"both directly \(0\.png\) and in folders \(cat\)"):
        load_data(tmp_path)


def test_too_few_images(tmp_path):
    with pytest.raises(ValueError, match=r"2 rows cannot be split .*at least 3 rows"):
        load_data(write(tmp_path, GREY[:2]))


def test_hidden_folders_are_no_classes(tmp_path):
    write(tmp_path / "faces", GREY)
    write(tmp_path / ".thumbnails", GREY)
    rows = read(tmp_path)
    assert len(rows.values) == 6
    assert rows.labels is not None
    assert set(rows.labels.tolist()) == {0}
