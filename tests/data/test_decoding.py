"""Decoding against Pillow: the same pixels, and fewer of them where fewer will do."""

import io

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from sesemi_like.data.decoding import decode, shrink

PHOTOGRAPH = Image.fromarray(load_sample_images().images[0])  # 640 x 427


def encoded(image, kind, **settings):
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("RGB", "JPEG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "PNG"), ("RGBA", "PNG"),
     ("P", "PNG"), ("RGB", "WEBP"), ("L", "BMP")],
)  # fmt: skip
def test_every_format_gives_pillows_pixels(mode, kind):
    content = encoded(PHOTOGRAPH.convert(mode), kind)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    assert np.array_equal(decode(content), expected)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_pictures_of_16_bits_keep_their_upper_8(kind):
    ramp = np.arange(0, 2**16, 16, dtype=np.uint16).reshape(64, 64)
    pixels = decode(encoded(Image.fromarray(ramp), kind))
    assert np.array_equal(pixels, np.stack([ramp // 256] * 3, axis=2))


def test_a_picture_of_absurd_size_is_unreadable(monkeypatch):
    content = encoded(Image.new("1", (300, 200)), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(OSError, match="decompression bomb"):
        decode(content)


def test_large_jpeg_files_are_decoded_no_larger_than_needed():
    large = PHOTOGRAPH.resize((2560, 1708))
    content = encoded(large, "JPEG", quality=95)
    pixels = decode(content, least=400)
    assert pixels.shape == (427, 640, 3)  # a quarter; an eighth would be too small
    assert decode(content, least=428).shape == (641, 960, 3)  # three eighths
    assert decode(content).shape == (1708, 2560, 3)
    expected = np.asarray(large.reduce(4)).astype(float)
    error = ((pixels - expected) ** 2).mean()
    assert 10 * np.log10(255**2 / error) > 35  # decibel


def test_scaled_decoding_and_resizing_stay_close_to_resizing_every_pixel():
    content = encoded(PHOTOGRAPH.resize((2560, 1708)), "JPEG", quality=95)
    whole = np.asarray(
        Image.open(io.BytesIO(content)).resize((336, 224), Image.Resampling.BILINEAR)
    )
    scaled = Image.fromarray(decode(content, least=448)).resize(
        (336, 224), Image.Resampling.BILINEAR
    )
    error = ((np.asarray(scaled).astype(float) - whole) ** 2).mean()
    assert 10 * np.log10(255**2 / error) > 35


def test_broken_files_say_so():
    content = encoded(PHOTOGRAPH, "JPEG")
    for broken in (b"", b"no picture", content[: len(content) // 2], b"\xff\xd8\xff" + b"x" * 50):
        with pytest.raises(OSError, match=r"."):
            decode(broken)


def test_shrinking_agrees_with_pillow_and_leaves_small_pictures_alone():
    pixels = np.asarray(PHOTOGRAPH)
    small = shrink(pixels, 100)
    expected = np.asarray(PHOTOGRAPH.resize((150, 100), Image.Resampling.BILINEAR)).astype(int)
    assert small.shape == (100, 150, 3)
    assert np.abs(small - expected).max() <= 1
    assert shrink(small, 100) is small
