"""Decoding against Pillow: the same pixels, and fewer of them where fewer are enough.

Every test runs with either library that decodes JPEG files.
"""

import io
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_images

from sesemi_like.data.sources import decoding
from sesemi_like.data.sources.decoding import decode, shrink

PHOTOGRAPH = Image.fromarray(load_sample_images().images[0])  # 640 x 427


@pytest.fixture(autouse=True, params=["simplejpeg", "Pillow"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The library that decodes JPEG files."""
    name = str(request.param)
    if name == "simplejpeg":
        pytest.importorskip("simplejpeg", reason="simplejpeg is not installed")
    monkeypatch.setattr(decoding, "jpeg_decoder", lambda: name)
    return name


def encode(image: Image.Image, kind: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("RGB", "JPEG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "PNG"), ("RGBA", "PNG"),
     ("P", "PNG"), ("RGB", "WEBP"), ("L", "BMP")],
)  # fmt: skip
def test_every_format_gives_pillows_pixels(mode: str, kind: str) -> None:
    content = encode(PHOTOGRAPH.convert(mode), kind)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    assert np.array_equal(decode(content), expected)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_images_of_16_bits_keep_their_upper_8(kind: str) -> None:
    ramp = np.arange(0, 2**16, 16, dtype=np.uint16).reshape(64, 64)
    pixels = decode(encode(Image.fromarray(ramp), kind))
    assert np.array_equal(pixels, np.stack([ramp // 256] * 3, axis=2))


def encode_oriented(
    kind: str, orientation: int, image: Image.Image = PHOTOGRAPH, **settings: Any
) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(image, kind, exif=exif, **settings)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_rotated_as_their_exif_says(kind: str, orientation: int) -> None:
    content = encode_oriented(kind, orientation)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    assert np.array_equal(decode(content), np.asarray(expected))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_of_other_modes_are_rotated_as_well(orientation: int) -> None:
    for mode, kind in (("CMYK", "JPEG"), ("L", "JPEG"), ("P", "PNG"), ("I;16", "PNG")):
        image = PHOTOGRAPH.convert("L").convert("I;16") if mode == "I;16" else PHOTOGRAPH
        content = encode_oriented(kind, orientation, image.convert(mode))
        plain = decode(encode_oriented(kind, 1, image.convert(mode)))
        expected = ImageOps.exif_transpose(with_orientation(Image.fromarray(plain), orientation))
        assert np.array_equal(decode(content), np.asarray(expected))


def with_orientation(image: Image.Image, orientation: int) -> Image.Image:
    image.getexif()[0x0112] = orientation
    return image


@pytest.mark.parametrize("orientation", range(1, 9))
def test_rotated_images_are_decoded_no_larger_than_needed(orientation: int) -> None:
    large = PHOTOGRAPH.resize((2560, 1708))
    pixels = decode(encode_oriented("JPEG", orientation, large), least=400)
    assert pixels.shape == ((427, 640, 3) if orientation < 5 else (640, 427, 3))
    assert pixels.flags.c_contiguous
    small = with_orientation(large.reduce(4), orientation)
    expected = np.asarray(ImageOps.exif_transpose(small)).astype(float)
    error = ((pixels - expected) ** 2).mean()
    assert 10 * np.log10(255**2 / error) > 35


def test_orientation_is_found_behind_other_notes_and_in_xmp() -> None:
    """Segments before EXIF may hold any bytes, those that end the header among them."""
    content = encode_oriented("JPEG", 6)
    segment = b"\xff\xed" + (2 + 8).to_bytes(2, "big") + b"\xff\xda\xff\xd9\xff\xe1ab"
    assert decode(content[:2] + segment + content[2:]).shape == (640, 427, 3)
    note = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta tiff:Orientation="8"></x:xmpmeta>'
    segment = b"\xff\xe1" + (2 + len(note)).to_bytes(2, "big") + note
    plain = encode(PHOTOGRAPH, "JPEG")
    assert np.array_equal(decode(plain[:2] + segment + plain[2:]), np.rot90(decode(plain)))


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_orientations_that_do_not_exist_change_nothing(value: int) -> None:
    assert decode(encode_oriented("JPEG", value)).shape == (427, 640, 3)


@pytest.mark.filterwarnings("error")
def test_damaged_exif_is_no_reason_not_to_read_an_image() -> None:
    content = encode_oriented("JPEG", 6)
    start = content.index(b"Exif\0\0") + 6
    for damage in (b"\xff" * 12, b"II*\0\xff\xff\xff\x7f", b"MM\0*\0\0\0\0", b""):
        broken = content[:start] + damage + content[start + len(damage) :]
        assert decode(broken).size == 427 * 640 * 3


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, 255, 256, 65535]], np.uint16), [0, 0, 1, 255]),
        (np.array([[0, 7, 255]], np.uint8), [0, 7, 255]),
        (np.array([[False, True]]), [0, 255]),
    ],
)
def test_the_values_of_tiff_files_are_scaled_by_their_type(
    values: NDArray[Any], expected: list[int]
) -> None:
    pixels = decode(encode(Image.fromarray(values), "TIFF"))
    assert pixels[0].tolist() == [[value] * 3 for value in expected]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([[0, 1.01]], np.float32), "floats from 0 to 1.01"),
        (np.array([[-0.5, 1]], np.float32), "floats from -0.5 to 1"),
        (np.array([[0, np.nan]], np.float32), "floats from nan"),
        (np.array([[0, np.inf]], np.float32), "floats from 0 to inf"),
        (np.array([[0, 70000]], np.int32), "32 bits"),
        (np.array([[0, 200]], np.int32), "32 bits"),
    ],
)
def test_values_whose_range_is_not_known_are_refused(values: NDArray[Any], words: str) -> None:
    with pytest.raises(OSError, match=words):
        decode(encode(Image.fromarray(values), "TIFF"))


def composite_on_white(color: list[int] | tuple[int, int, int], alpha: int) -> list[int]:
    """What is seen of a color over white."""
    return [round(c * alpha / 255 + 255 - alpha) for c in color]


@pytest.mark.parametrize("alpha", [0, 51, 255])
def test_transparent_images_are_laid_over_white(alpha: int) -> None:
    color = (10, 60, 200)
    image = Image.new("RGBA", (3, 2), (*color, alpha))
    for kind in ("PNG", "WEBP", "TIFF"):
        settings = {"lossless": True, "exact": True} if kind == "WEBP" else {}
        found = decode(encode(image, kind, **settings))
        assert np.abs(found.astype(int) - composite_on_white(color, alpha)).max() <= 1, kind
    gray = decode(encode(Image.new("LA", (3, 2), (10, alpha)), "PNG"))
    assert np.abs(gray.astype(int) - composite_on_white([10] * 3, alpha)).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palettes_with_transparency_are_laid_over_white(kind: str) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    pixels = decode(encode(image, kind, transparency=0))
    assert pixels.tolist() == [[[255, 255, 255], [40, 50, 60]]]
    assert decode(encode(image, kind)).tolist() == [[[10, 20, 30], [40, 50, 60]]]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (4, 3), color) for color in ("red", "lime", "blue")]
    settings = {"lossless": True} if kind == "WEBP" else {}
    content = encode(frames[0], kind, save_all=True, append_images=frames[1:], **settings)
    with Image.open(io.BytesIO(content)) as image:
        assert image.n_frames == 3
    assert np.abs(decode(content).astype(int) - [255, 0, 0]).max() <= 2


@pytest.mark.filterwarnings("error")
def test_a_large_image_is_read_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encode(Image.new("1", (30, 50)), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert decode(content).shape == (50, 30, 3)


def test_an_image_of_absurd_size_is_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encode(Image.new("1", (300, 200)), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(OSError, match="decompression bomb"):
        decode(content)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_large_jpeg_files_are_decoded_no_larger_than_needed(mode: str, decoder: str) -> None:
    large = PHOTOGRAPH.resize((2560, 1708)).convert(mode)
    content = encode(large, "JPEG", quality=95)
    pixels = decode(content, least=400)
    assert pixels.shape == (427, 640, 3)  # a quarter; an eighth would be too small
    three_eighths, half = (641, 960, 3), (854, 1280, 3)
    larger = three_eighths if decoder == "simplejpeg" else half
    assert decode(content, least=428).shape == larger
    assert decode(content, least=1500).shape == decode(content).shape == (1708, 2560, 3)
    expected = np.asarray(large.reduce(4).convert("RGB")).astype(float)
    error = ((pixels - expected) ** 2).mean()
    assert 10 * np.log10(255**2 / error) > 35  # decibel


def test_scaled_decoding_and_resizing_stay_close_to_resizing_every_pixel() -> None:
    content = encode(PHOTOGRAPH.resize((2560, 1708)), "JPEG", quality=95)
    whole = np.asarray(
        Image.open(io.BytesIO(content)).resize((336, 224), Image.Resampling.BILINEAR)
    )
    scaled = Image.fromarray(decode(content, least=448)).resize(
        (336, 224), Image.Resampling.BILINEAR
    )
    error = ((np.asarray(scaled).astype(float) - whole) ** 2).mean()
    assert 10 * np.log10(255**2 / error) > 35


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (b"", "the file is empty"),
        (b"<!DOCTYPE html>", r"no image of a known format \(it begins with b'<!DOCTYPE"),
        (b"\xff\xd8\xff" + b"x" * 50, "no image of a known format"),
        (encode(PHOTOGRAPH, "JPEG")[:20000], "truncated"),
        (encode(PHOTOGRAPH, "JPEG")[:-2000], "truncated"),
        (encode(PHOTOGRAPH, "PNG")[:20000], "truncated"),
        (encode(PHOTOGRAPH, "GIF")[:20000], "truncated"),
        (encode(PHOTOGRAPH, "BMP")[:20000], "truncated"),
        (encode(PHOTOGRAPH, "WEBP")[:20000], "."),
        (encode(PHOTOGRAPH, "TIFF")[:20000], "."),
    ],
)
def test_broken_files_say_so(broken: bytes, words: str) -> None:
    with pytest.raises(OSError, match=words) as caught:
        decode(broken)
    assert "object at 0x" not in str(caught.value)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
def test_whatever_is_damaged_the_error_is_one_that_is_known(kind: str) -> None:
    content = encode(PHOTOGRAPH.resize((40, 30)), kind)
    generator = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(content)
        for place in generator.integers(0, min(len(content), 400), 5):
            damaged[place] = generator.integers(256)
        try:
            pixels = decode(bytes(damaged))
        except OSError as error:
            assert str(error) and "object at 0x" not in str(error)
        else:
            assert pixels.dtype == np.uint8
            assert pixels.shape[2:] == (3,)


def test_shrinking_agrees_with_pillow_and_leaves_small_images_alone() -> None:
    pixels = np.asarray(PHOTOGRAPH)
    small = shrink(pixels, 100)
    expected = np.asarray(PHOTOGRAPH.resize((150, 100), Image.Resampling.BILINEAR)).astype(int)
    assert small.shape == (100, 150, 3)
    assert np.abs(small - expected).max() <= 1
    assert shrink(small, 100) is small


def test_a_jpeg_file_that_memory_does_not_hold_is_left_to_pillow(
    monkeypatch: pytest.MonkeyPatch, decoder: str
) -> None:
    if decoder == "Pillow":
        pytest.skip("it is Pillow's already")

    def raise_memory_error(*_: object, **__: object) -> None:
        raise MemoryError

    content = encode(PHOTOGRAPH, "JPEG")
    monkeypatch.setattr("simplejpeg.decode_jpeg", raise_memory_error)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(OSError, match="decompression bomb"):
        decode(content)


def test_the_libraries_decode_the_same_pixels(
    decoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = [
        encode(PHOTOGRAPH.resize(size), "JPEG", quality=quality, subsampling=subsampling)
        for size in ((32, 32), (33, 17), (640, 427))
        for quality, subsampling in ((95, "4:4:4"), (75, "4:2:0"), (30, "4:2:2"))
    ]
    pixels = [decode(content) for content in contents]
    other = {"simplejpeg": "Pillow", "Pillow": "simplejpeg"}[decoder]
    monkeypatch.setattr(decoding, "jpeg_decoder", lambda: other)
    pytest.importorskip("simplejpeg", reason="simplejpeg is not installed")
    assert all(map(np.array_equal, pixels, map(decode, contents)))


def test_without_simplejpeg_pillow_decodes() -> None:
    program = """
import sys
from importlib.machinery import PathFinder

class Without:
    def find_spec(self, name, path=None, target=None):
        return None if name == "simplejpeg" else PathFinder.find_spec(name, path, target)

sys.meta_path = [finder for finder in sys.meta_path if finder is not PathFinder] + [Without()]
from sesemi_like.data.sources.decoding import decode, jpeg_decoder
print(jpeg_decoder(), decode(sys.stdin.buffer.read()).shape)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, input=encode(PHOTOGRAPH, "JPEG"), capture_output=True)
    assert done.stdout.decode().strip() == "Pillow (427, 640, 3)", done.stderr.decode()
