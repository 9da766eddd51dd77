"""Images come in as the right picture or as a sentence, and go out and back unchanged."""

import contextlib
import io
import socket
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import toys
from PIL import Image, ImageFile
from torch.nn import functional
from torchvision import transforms

from labsupport.core import images
from labsupport.core.errors import BadImage, BadSetting, LabError
from labsupport.core.images import decoding


@pytest.fixture(autouse=True)
def _no_warning_and_pil_as_it_was():
    def state():
        return Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)

    before = state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert state() == before


def pixels(height: int = 6, width: int = 9, channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


WHOLE = {"lossless": True}  # WebP asks; the other formats do not know it


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def as_tensor(values: np.ndarray) -> torch.Tensor:
    """(H, W, 3) in 0 ... 255 -> (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(values.astype(np.float32) / 255).permute(2, 0, 1)[None]


def same(result: torch.Tensor, values: np.ndarray, tolerance: float = 1e-6) -> bool:
    wanted = as_tensor(values)
    assert result.dtype == torch.float32
    assert result.shape == wanted.shape
    return torch.allclose(result, wanted, atol=tolerance)


def png(height: int, width: int, bits: int, colour: int, body: bytes | None, see=b"") -> bytes:
    """A PNG file written by hand: pillow writes no 16-bit colours and no false claims. `see` is the
    colour that one sees through."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    data = (chunk(b"tRNS", see) if see else b"") + chunk(b"IDAT", zlib.compress(body or b""))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


def rows_of(values: np.ndarray) -> bytes:
    """Rows of big-endian numbers, each after a byte that says: not filtered."""
    return b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)


# The right picture


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_formats_keep_every_pixel(kind):
    for values in (pixels(), pixels(1, 1)):
        assert same(images.load(encoded(Image.fromarray(values), kind, **WHOLE)), values)


def test_files_by_path_bytes_in_every_wrapping_and_pil(tmp_path):
    values = pixels()
    data, file = encoded(Image.fromarray(values), "PNG"), tmp_path / "a picture.png"
    file.write_bytes(data)
    for source in (
        file,
        str(file),
        data,
        bytearray(data),
        memoryview(data),
        Image.fromarray(values),
    ):
        assert same(images.load(source), values)
    flat = np.full((16, 24, 3), (200, 90, 30), dtype=np.uint8)
    jpeg = encoded(Image.fromarray(flat), "JPEG", quality=95)
    assert same(images.load(jpeg), flat, 3 / 255)


def test_grey_becomes_three_equal_channels():
    grey = pixels(channels=1)[:, :, 0]
    result = images.load(encoded(Image.fromarray(grey), "PNG"))
    assert same(result, np.repeat(grey[:, :, None], 3, axis=2))
    bits = encoded(Image.fromarray(grey > 127), "PNG")
    assert same(images.load(bits), np.repeat((grey > 127)[:, :, None] * 255, 3, axis=2))


def test_sixteen_bits_keep_their_depth():
    deep = np.linspace(0, 65535, 54).astype(np.uint16).reshape(6, 9)
    picture = Image.fromarray(deep)
    files = [encoded(picture, "PNG"), encoded(picture, "TIFF"), png(6, 9, 16, 0, rows_of(deep))]
    for source in (*files, picture):
        result = images.load(source)
        assert torch.allclose(result[0, 1], torch.from_numpy(deep / np.float32(65535)), atol=1e-6)
        assert result.shape == (1, 3, 6, 9)
    colours = np.random.default_rng(1).integers(0, 65536, (6, 9, 3)).astype(np.uint16)
    result = images.load(png(6, 9, 16, 2, rows_of(colours.reshape(6, 27))))
    assert same(result, colours / 257, 1 / 255)


def test_transparency_goes_on_white():
    values = pixels(channels=4)
    alpha = values[:, :, 3:].astype(np.float64) / 255
    wanted = values[:, :, :3] * alpha + 255 * (1 - alpha)
    assert same(images.load(encoded(Image.fromarray(values), "PNG")), wanted, 1e-5)
    assert same(images.load(values), wanted, 1e-5)
    grey = encoded(Image.fromarray(values[:, :, 2:], "LA"), "PNG")
    assert same(images.load(grey), np.repeat(wanted[:, :, 2:], 3, axis=2), 1e-5)


def test_palette_with_transparency():
    places = np.array([0, 1, 2, 0, 1, 2, 0, 1]).reshape(2, 4)
    picture = Image.new("P", (4, 2))
    picture.putpalette([255, 0, 0, 0, 0, 255, 0, 255, 0])
    picture.putdata(places.flatten().tolist())
    wanted = np.array([(255, 0, 0), (255, 255, 255), (0, 255, 0)])[places]
    for kind in ("PNG", "GIF"):
        assert same(images.load(encoded(picture, kind, transparency=1)), wanted)
    halves = encoded(picture, "PNG", transparency=bytes([255, 128, 0]))
    wanted = np.array([(255, 0, 0), (127, 127, 255), (255, 255, 255)])[places]
    assert same(images.load(halves), wanted, 0.51 / 255)


def test_a_colour_that_is_declared_transparent():
    deep = rows_of(np.array([[7711, 51400, 30840, 5140, 2570, 1285]]))  # 16 bits, 256 to a step
    for bits, body, see, shown in (
        (8, bytes([0, 10, 20, 30, 200, 100, 50]), (10, 20, 30), [(255,) * 3, (200, 100, 50)]),
        (16, deep, (7711, 51400, 30840), [(255,) * 3, (20, 10, 5)]),
        (16, deep[:5], (7711,), [(255,) * 3, (200,) * 3]),
        (8, bytes([0, 10, 100]), (10,), [(255,) * 3, (100,) * 3]),
        (4, bytes([0, 0x3A]), (3,), [(255,) * 3, (170,) * 3]),
        (2, bytes([0, 0b01100000]), (1,), [(255,) * 3, (170,) * 3]),
        (1, bytes([0, 0b01000000]), (0,), [(255,) * 3, (255,) * 3]),
    ):
        colours = struct.pack(f">{len(see)}H", *see)
        data = png(1, 2, bits, 2 if len(see) == 3 else 0, body, colours)
        assert same(images.load(data), np.array([shown])), (bits, see)
        assert decoding.decode(data, "").shape == (1, 4, 1, 2)


def test_cmyk_jpeg():
    ink = (30, 200, 90, 40)
    data = encoded(Image.new("CMYK", (16, 16), ink), "JPEG", quality=100)
    wanted = [(255 - colour) * (255 - ink[3]) / 255 for colour in ink[:3]]
    assert same(images.load(data), np.full((16, 16, 3), wanted), 3 / 255)


UPRIGHT = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).transpose(1, 0, 2),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_a_camera_held_in_every_way(orientation, kind):
    values = pixels()
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(values), kind, exif=exif, **WHOLE)
    assert same(images.load(data), UPRIGHT[orientation](values).copy())
    assert same(images.load(Image.open(io.BytesIO(data))), UPRIGHT[orientation](values).copy())


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "MPO"])
def test_the_first_picture_of_several_in_one_file(kind):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **WHOLE)
    red = np.full((16, 16, 3), (255, 0, 0))
    assert same(images.load(data), red, 4 / 255 if kind == "MPO" else 1e-6)


# Arrays


def test_arrays_of_each_kind():
    values = pixels()
    assert same(images.load(values), values)
    assert same(images.load(values.transpose(2, 0, 1)), values)
    assert same(images.load(values.astype(np.uint16) * 257), values)
    assert same(images.load(values / 255.0), values)
    assert same(images.load((values / 255).astype(np.float16)), values, 1e-3)
    assert same(images.load(values[:, :, 0] > 99),
                np.repeat((values[:, :, :1] > 99) * 255, 3, axis=2))  # fmt: skip
    assert same(images.load(values[:, :, :1]), np.repeat(values[:, :, :1], 3, axis=2))
    assert same(images.load(values[::-1, ::-1]), values[::-1, ::-1].copy())


def test_tensors_are_channels_first_and_the_source_is_not_touched():
    values = pixels(3, 3)
    tensor = torch.from_numpy(values).permute(2, 0, 1)
    for source in (tensor, tensor[None], tensor / 255, (tensor / 255).requires_grad_()):
        assert same(images.load(source), values)
    assert same(images.load((tensor / 255).bfloat16()), values, 1e-2)
    for source in (np.full((4, 4), 0.5, dtype=np.float32), torch.full((1, 3, 4, 4), 0.5)):
        images.load(source).zero_()
        assert (source == 0.5).all()


NO_PICTURES = [
    (np.zeros((3, 5, 3), np.uint8), "Say which"),
    (np.zeros((5, 6, 7), np.uint8), "no axis"),
    (np.zeros((2, 3, 4, 5), np.uint8), r"\(H, W\)"),
    (np.zeros(7, np.uint8), r"\(H, W\)"),
    (np.zeros((0, 5), np.uint8), "no pixels"),
    (np.full((4, 4), 200.0), "Divide by 255"),
    (np.full((4, 4), -0.5), "Divide by 255"),
    (np.full((4, 4), np.nan), "NaN"),
    (np.zeros((4, 4), np.int64), "astype"),
    (np.zeros((4, 4), object), "astype"),
    (torch.zeros(2, 3, 4, 4), r"images\[:1\]"),
    (torch.zeros(5, 4, 3), r"\(C, H, W\)"),
    (torch.full((3, 4, 4), 255.0), "Divide by 255"),
    (None, "NoneType"),
    (7, "int"),
    (Image.new("LAB", (4, 5)), "Lab"),
    (Image.new("I", (4, 5), 70000), "beyond 16 bits"),
    (Image.new("F", (4, 5), 3.5), r"\[0, 1\]"),
    ("https://example.org/panda.png", "web address"),
    ("nul\0byte.png", "read"),
]
NO_PICTURE_FILES = [
    ("letter.png", b"Dear Sir,\nthis is no picture.", "it is text"),
    ("text.png", "Grüße, ein längerer Text. ".encode() * 99, "it is text"),
    ("empty.png", b"", "empty"),
    ("noise.jpg", bytes(range(256)) * 4, "not a picture"),
    ("page.png", b"%PDF-1.7 \x80\x90", "PDF"),
    ("drawing.png", b"<svg xmlns='x'></svg>", "SVG"),
    ("phone.jpg", b"\0\0\0\x18ftypheic\0\0\0\0heic\xff", "HEIC"),
    ("start.png", b"\x89PNG\r\n\x1a\n", "damaged"),
]


def test_what_is_no_picture_is_refused_in_words(tmp_path, monkeypatch):
    for name, data, words in NO_PICTURE_FILES:
        (tmp_path / name).write_bytes(data)
        refusal = toys.refusal(images.load, tmp_path / name)
        assert [one for one in ("BadImage", words, name) if one not in refusal] == []
    sources = [
        *NO_PICTURES,
        (tmp_path / "letters.png", "letter.png"),
        (tmp_path / "nowhere" / "panda.png", "folder does not exist"),
        (tmp_path, "images.folder"),
    ]
    toys.assert_refused(*((f"BadImage: .*{words}", images.load, one) for one, words in sources))
    monkeypatch.setattr("labsupport.core.images.decoding.PIXEL_LIMIT", 50)
    for large in (Image.new("RGB", (8, 7)), np.zeros((8, 7, 3), np.uint8)):
        toys.assert_refused(("BadImage: .*too large", images.load, large))
    assert images.load(Image.new("RGB", (10, 5))).shape == (1, 3, 5, 10)


# What is no picture


def test_a_claim_of_too_many_pixels_is_refused_before_decoding(monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("it was decoded"))
    for size in ((20000, 20000), (10000, 10000), (10000, 5001)):
        with pytest.raises(BadImage, match="at most 50 million pixels"):
            images.load(png(*size, 8, 2, None))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_a_file_that_was_cut_off_is_no_picture(kind, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # somebody else's choice
    data = encoded(Image.fromarray(pixels(64, 64)), kind)
    for part in (0.1, 0.5, 0.9):
        with pytest.raises(BadImage):
            images.load(data[: int(len(data) * part)])
    assert ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM"])
def test_damaged_bytes_give_an_image_or_a_sentence(kind):
    data = encoded(Image.fromarray(pixels(24, 24)), kind)
    random = np.random.default_rng(0)
    for _ in range(120):
        damaged = bytearray(data)
        for place in random.integers(0, len(data), 3):
            damaged[place] = random.integers(0, 256)
        with contextlib.suppress(BadImage):
            images.check(images.load(bytes(damaged)))


def test_notes_of_a_camera_that_make_no_sense():
    values = pixels()
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(values), "WEBP", exif=exif, lossless=True)
    for header in (b"II*\0\x08", b"MM\0*\0"):
        data = data.replace(header, b"broken"[: len(header)])
    with pytest.raises(SyntaxError):
        Image.open(io.BytesIO(data)).getexif()
    assert same(images.load(data), values)


@pytest.mark.parametrize("kind", [SyntaxError, TypeError, IndexError, struct.error, MemoryError])
def test_whatever_a_decoder_raises_becomes_a_sentence(kind, monkeypatch):
    def broken(_self: ImageFile.ImageFile) -> None:
        raise kind("deep inside")

    monkeypatch.setattr(ImageFile.ImageFile, "load", broken)
    with pytest.raises(BadImage, match="deep inside"):
        images.load(encoded(Image.new("RGB", (4, 4)), "PNG"))


def test_pil_pictures_of_32_bits_are_read_as_8_where_none_is_above_255():
    for values, top in (([0, 128, 255], 255), ([0, 128, 256], 65535)):
        picture = Image.fromarray(np.array([values], dtype=np.int32))
        for source in (picture, encoded(picture, "TIFF")):
            assert torch.allclose(images.load(source)[0, 0], torch.tensor([values]) / top)
    dark = images.load(b"P5 2 1 65535\n" + struct.pack(">2H", 100, 255))  # it says how deep it is
    assert torch.allclose(dark[0, 0], torch.tensor([[100.0, 255.0]]) / 65535)


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "CMYK", "RGBa", "La", "PA", "F", "I", "1", "L"])
def test_pil_pictures_of_every_mode(mode):
    shown = np.full((5, 4, 3), 255)  # white is white in all of them
    white = {"F": 1.0, "I": 65535, "YCbCr": (255, 128, 128), "HSV": (0, 0, 255),
             "CMYK": (0, 0, 0, 0), "RGBa": (255,) * 4, "La": (255, 255)}  # fmt: skip
    pale = Image.new("LA", (4, 5), (255, 255)).convert("PA")
    picture = pale if mode == "PA" else Image.new(mode, (4, 5), white.get(mode, 255))
    assert same(images.load(picture), shown, 1.01 / 255)


def test_many_threads_at_once():
    values = pixels(40, 40)
    data = encoded(Image.fromarray(values), "PNG")
    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(lambda _: same(images.load(data), values), range(120)))


# Checking, resizing, preparing


def test_check_says_what_is_no_image():
    good = torch.rand(3, 3, 5, 7)
    images.check(good)
    images.check(good[:1], one=True)
    bad_pixel = good.clone()
    bad_pixel[2, 1, 4, 6] = float("nan")
    refused = [
        (np.zeros((1, 3, 4, 4)), "images.load"),
        (good[0], r"image\[None\]"),
        (torch.zeros(1, 4, 4, 4), r"\(N, 3, H, W\)"),
        (torch.zeros(1, 3, 0, 4), "empty"),
        (torch.zeros(0, 3, 4, 4), "empty"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), "float"),
        (bad_pixel, "NaN"),
        (torch.full((1, 3, 4, 4), float("inf")), "infinity"),
        (torch.full((1, 3, 4, 4), 1.01), "clamp"),
        (torch.full((1, 3, 4, 4), -0.01), "clamp"),
    ]
    toys.assert_refused(
        *((f"BadImage: .*{words}", images.check, one) for one, words in refused),
        ("BadImage: .*one image at a time: .*a batch of 3", images.check, good, {"one": True}),
        ("BadImage: .*not an", images.check, None, {"one": True}),
    )


@pytest.mark.parametrize("shape", [(300, 451), (451, 300), (100, 100), (33, 500), (257, 256)])
def test_standard_of_every_shape_and_of_a_batch(shape):
    values = [pixels(*shape, seed=seed) for seed in (0, 1)]
    for size in (224, 227, 299):
        shorter = size * 256 // 224
        steps = [transforms.Resize(shorter), transforms.CenterCrop(size), transforms.ToTensor()]
        wanted = [transforms.Compose(steps)(Image.fromarray(one)) for one in values]
        batch = torch.cat([images.load(one) for one in values])
        assert torch.equal(images.standard(batch, size), torch.stack(wanted)), size


def test_resize_sizes_crops_and_gradients():
    coffee = images.photos()["coffee"]
    result = images.resize(coffee.image, 256, 224)
    assert float((result - images.standard(coffee)).abs().max()) < 1.5 / 255  # Pillow's
    images.check(result)
    image = torch.rand(2, 3, 30, 45, requires_grad=True)
    assert images.resize(image, 20).shape == (2, 3, 20, 30)
    assert images.resize(image, (7, 9)).shape == (2, 3, 7, 9)
    assert images.resize(image, 30, (10, 20)).shape == (2, 3, 10, 20)
    middle = images.resize(image, (30, 45), 10)
    assert torch.equal(middle, transforms.functional.center_crop(image, [10, 10]))
    assert torch.equal(images.resize(image, 30), image)
    (gradient,) = torch.autograd.grad(images.resize(image, 20).sum(), image)
    assert float(gradient.min()) > 0
    wanted = functional.interpolate(image, (60, 90), mode="bilinear", antialias=True)
    assert torch.allclose(images.resize(image, 60), wanted, atol=1e-6)


def test_sizes_that_cannot_be():
    image, wide = torch.rand(1, 3, 12, 1), torch.rand(1, 3, 1, 1111)
    toys.assert_refused(
        *(
            ("BadSetting", images.resize, image, *one)
            for one in ((0,), ((5, -1),), (10, 11), (10, 0))
        ),
        ("BadSetting", images.resize, image, 10**6),
        *(("BadSetting", images.standard, *row) for row in ((image, 0), (wide, 2000))),
    )


# Saving


def test_png_keeps_every_8_bit_value_and_the_settings(tmp_path):
    values = pixels(13, 17)
    settings = {"lab": "05", "window": 32, "fill": "mean", "box": [1, 2, 3, 4], "ü": "Grüße"}
    file = images.save(images.load(values), tmp_path / "map.png", settings)
    assert file == tmp_path / "map.png"
    assert np.array_equal(np.asarray(Image.open(file)), values)
    assert same(images.load(file), values)
    assert images.saved_settings(file) == settings
    # values between two steps are rounded, not cut
    image = torch.tensor([0.4, 0.6, 1.5, 254.6]).div(255).view(1, 1, 1, 4).expand(1, 3, 1, 4)
    old = file.stat().st_ino
    images.save(image, file)
    assert file.stat().st_ino != old  # a new file takes the old one's place in one step
    assert np.asarray(Image.open(file))[0, :, 0].tolist() == [0, 1, 2, 255]


def test_jpeg_keeps_the_settings_and_strangers_files_have_none(tmp_path):
    values = np.full((16, 16, 3), (200, 90, 30), dtype=np.uint8)
    file = images.save(images.load(values), tmp_path / "x.JPG", {"step": 3, "wort": "größer"})
    assert same(images.load(file), values, 2 / 255)
    assert images.saved_settings(file) == {"step": 3, "wort": "größer"}
    with pytest.raises(BadSetting, match="png"):
        images.save(images.load(values), tmp_path / "y.jpg", {"long": "x" * 70_000})
    assert not (tmp_path / "y.jpg").exists()
    exif = Image.Exif()
    exif[0x010E] = "my holidays"
    Image.new("RGB", (9, 9)).save(tmp_path / "a.jpg", exif=exif)
    Image.new("RGB", (9, 9)).save(tmp_path / "b.png")
    assert images.saved_settings(tmp_path / "a.jpg") == {}
    assert images.saved_settings(tmp_path / "b.png") == {}


def test_saving_that_cannot_work_leaves_nothing(tmp_path):
    (tmp_path / "full.png").mkdir()
    one, file = torch.rand(1, 3, 4, 4), tmp_path / "x.png"
    toys.assert_refused(
        ("BadSetting: .*must end in", images.save, one, tmp_path / "x.gif"),
        ("BadSetting: .*must end in", images.save, one, tmp_path / "x"),
        ("BadSetting: .*no folder", images.save, one, tmp_path / "nowhere/x.png"),
        ("BadSetting: .*Settings", images.save, one, file, {"f": print}, {}),
        ("BadSetting: .*cannot be written", images.save, one, tmp_path / "full.png"),
        (r"BadImage: .*images\[:1\]", images.save, torch.rand(2, 3, 4, 4), file),
    )
    assert [file.name for file in tmp_path.iterdir()] == ["full.png"]


# A student's folder, torchvision's sets


def test_a_folder_of_pictures(tmp_path):
    with pytest.raises(BadImage, match="No pictures"):
        images.folder(tmp_path)
    for name in ("cats/tom.PNG", "cats/kit_ty.jpg", "dogs/rex.webp", "top.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 6), "white").save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "cats" / ".hidden.png").write_text("no picture")
    result = images.folder(tmp_path)
    assert result.names == ["cats/kit_ty", "cats/tom", "dogs/rex", "top"]
    assert result.labels == ["cats", "cats", "dogs", tmp_path.name]
    assert result["cats/tom"].image.shape == (1, 3, 6, 8)
    assert result["cats/kit_ty"].title == "kit ty"
    with pytest.raises(BadSetting, match="cats/tom"):
        result["tom"]
    with pytest.raises(BadImage, match=r"images\.load"):
        images.folder(tmp_path / "top.png")


def test_sets_that_cannot_be_had_say_what_to_do(tmp_path, monkeypatch):
    def offline(*_: object, **__: object) -> None:
        raise OSError("network is unreachable")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    for name in ("Imagenette", "CIFAR10", "MNIST"):
        way_out = r"(?s)cannot be downloaded.*images\.photos\(\).*folder="
        with pytest.raises(LabError, match=way_out):
            images.torchvision_set(name, folder=tmp_path)
    assert socket.getdefaulttimeout() is None
    for name, settings in (("CIFAR-10", {}), ("MNIST", {"split": "val"}), ("MNIST", {"count": 0})):
        with pytest.raises(BadSetting):
            images.torchvision_set(name, folder=tmp_path, **settings)


def test_mnist_that_is_there_already(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    digits = pixels(40, 28 * 28, 1)[:, :, 0]
    labels = np.arange(40, dtype=np.uint8) % 10
    for part in ("train", "t10k"):
        image_head = struct.pack(">IIII", 2051, 40, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(image_head + digits.tobytes())
        label_head = struct.pack(">II", 2049, 40)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(label_head + labels.tobytes())
    result = images.torchvision_set("MNIST", split="test", count=4, folder=tmp_path)
    assert result.labels.tolist() == [0, 3, 6, 9]
    assert result.categories == tuple("0123456789")
    wanted = torch.from_numpy(digits[[0, 13, 26, 39]] / np.float32(255)).view(4, 1, 28, 28)
    assert torch.allclose(result.images, wanted.expand(-1, 3, -1, -1))


def test_imagenette_that_is_there_already(tmp_path):
    for wnid, colour in (("n01440764", "red"), ("n03888257", "blue")):
        folder = tmp_path / "imagenette2-320" / "val" / wnid
        folder.mkdir(parents=True)
        for place in range(3):
            Image.new("RGB", (400, 320), colour).save(folder / f"{place}.JPEG", quality=95)
    result = images.torchvision_set("Imagenette", split="test", count=99, folder=tmp_path)
    assert result.images.shape == (6, 3, 224, 224)
    names = [result.categories[label] for label in result.labels]
    assert names == ["tench"] * 3 + ["parachute"] * 3
    assert float(result.images[0, 0].mean()) > 0.95 > 0.05 > float(result.images[5, 0].mean())


def test_importing_images_brings_no_torchvision():
    code = "import sys, labsupport.core.images; assert 'torchvision' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
