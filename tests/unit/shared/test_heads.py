"""Heads of files, those too that were made up to cost much: a reader that decodes all takes minutes and gigabytes."""

from __future__ import annotations

import struct
import zlib
from itertools import repeat

import pytest

from shared.heads import Head, NotAPicture, SaysTooMuch, read_head

MOST_PARTS = 10_000
SEGMENT = 65_533
"""Bytes of one segment of a JPEG, at most."""
UNDEFINED, LONG, RATIONAL = 7, 4, 5
COMMENT = b"UNICODE\0" + "a cat".encode("utf-16-be")
SCAN = b"\xff\xda\0\2pixels"
ORDERS = {"<": b"II\x2a\0", ">": b"MM\0\x2a"}
HEAD_BYTES = 8
"""Of a TIFF: its order, and where its first directory is."""

Entry = tuple[int, int, int, int]
"""Tag, type, count, and the value or where it is."""


def directory(order: str, *entries: Entry) -> bytes:
    return struct.pack(f"{order}H", len(entries)) + b"".join(struct.pack(f"{order}HHII", *entry) for entry in entries)


def tiff(order: str, body: bytes) -> bytes:
    return ORDERS[order] + struct.pack(f"{order}I", HEAD_BYTES) + body


def commented(order: str, *others: Entry, kind: int = UNDEFINED, count: int = len(COMMENT), start: int = 0) -> bytes:
    """EXIF with a comment beside `others`, whose offsets are their own affair."""
    at_second = HEAD_BYTES + len(directory(order, (0, 0, 0, 0)))
    at_comment = at_second + len(directory(order, (0, 0, 0, 0), *others))
    first = directory(order, (0x8769, LONG, 1, at_second))
    second = directory(order, *others, (0x9286, kind, count, start or at_comment))
    return tiff(order, first + second + COMMENT)


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content


def jpeg(*segments: bytes) -> bytes:
    return b"\xff\xd8" + b"".join(segments) + SCAN


def exif_jpeg(exif: bytes) -> bytes:
    return jpeg(segment(0xE1, b"Exif\0\0" + exif))


def webp(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(
        struct.pack("<4sI", kind, len(content)) + content + bytes(len(content) % 2)
        for kind, content in ((b"VP8X", bytes(10)), *chunks)
    )
    return struct.pack("<4sI4s", b"RIFF", 4 + len(body), b"WEBP") + body


def exif_webp(exif: bytes) -> bytes:
    return webp((b"EXIF", exif))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join((*chunks, chunk(b"IEND", b"")))


class TestExif:
    @pytest.mark.parametrize("order", ORDERS)
    def test_the_comment_is_read_in_either_order_of_bytes(self, order: str) -> None:
        exif = commented(order)

        assert read_head(exif_jpeg(exif)) == read_head(exif_webp(exif)) == Head(user_comment=COMMENT)

    @pytest.mark.parametrize("order", ORDERS)
    def test_entries_that_are_all_the_same_bytes_are_passed_over(self, order: str) -> None:
        rationals = [(tag, RATIONAL, 8_000, 0) for tag in range(1, 5_400)]

        assert read_head(exif_jpeg(commented(order, *rationals))).user_comment == COMMENT

    @pytest.mark.parametrize(
        "exif",
        [
            b"",
            b"II",
            b"XX\x2a\0" + bytes(20),
            tiff("<", b""),
            tiff("<", directory("<")),
            tiff("<", b"\xff\xff" + bytes(40)),
            tiff("<", directory("<", (0x8769, LONG, 1, 2**32 - 1))),
            tiff("<", directory("<", (0x8769, UNDEFINED, 1, HEAD_BYTES))),
            tiff("<", directory("<", (0x8769, LONG, 1, HEAD_BYTES))),  # a directory that is its own
            commented("<", count=len(COMMENT) + 1),
            commented("<", count=2**32 - 1),
            commented("<", start=2**32 - 1),
            commented("<", kind=RATIONAL),
            commented(">")[: -len(COMMENT) - 1],
        ],
    )
    def test_one_that_leads_nowhere_says_nothing(self, exif: bytes) -> None:
        assert read_head(exif_jpeg(exif)) == read_head(exif_webp(exif)) == Head()

    def test_a_directory_that_promises_too_much_is_read_as_far_as_it_goes(self) -> None:
        exif = commented("<")
        promising = exif[:HEAD_BYTES] + b"\xff\xff" + exif[HEAD_BYTES + 2 :]

        assert read_head(exif_jpeg(promising)).user_comment == COMMENT

    def test_one_longer_than_a_segment_is_refused(self) -> None:
        with pytest.raises(SaysTooMuch):
            read_head(exif_webp(commented("<") + bytes(2**16)))

    def test_of_a_jpeg_there_is_one(self) -> None:
        exif = segment(0xE1, b"Exif\0\0" + commented("<"))

        assert read_head(jpeg(exif) + jpeg(exif, exif)).user_comment == COMMENT
        with pytest.raises(SaysTooMuch):
            read_head(jpeg(exif, exif))


class TestJpeg:
    def test_a_second_pictures_index_is_passed_over(self) -> None:
        rationals = [(tag, RATIONAL, 8_000, 0) for tag in range(1, 5_400)]
        index = segment(0xE2, b"MPF\0" + tiff(">", directory(">", *rationals)))
        xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<said/>")

        assert read_head(jpeg(index, xmp)) == Head(xmp=b"<said/>")

    def test_as_many_segments_as_fit_into_32_mb_are_read(self) -> None:
        segments = repeat(segment(0xE2, bytes(SEGMENT)), 511)

        assert read_head(exif_jpeg(commented("<"))[: -len(SCAN)] + b"".join(segments) + SCAN).user_comment == COMMENT

    @pytest.mark.parametrize("part", [segment(0xE5, b""), b"\xff\xd0", segment(0xFE, b"said")])
    def test_segments_without_end_are_refused(self, part: bytes) -> None:
        with pytest.raises(SaysTooMuch):
            read_head(jpeg(part * 2**20))

    def test_padding_is_passed_over_at_one_go(self) -> None:
        exif = segment(0xE1, b"Exif\0\0" + commented("<"))

        assert read_head(jpeg(b"\xff" * 2**24, exif, b"\xff\0" * 2**23, b"junk")).user_comment == COMMENT

    @pytest.mark.parametrize("data", [b"\xff\xd8\xff", jpeg()[:3], jpeg(b"\xff\xe1\0\1"), jpeg(b"\xff\xe1\xff\xff")])
    def test_one_that_ends_before_its_pixels_is_none(self, data: bytes) -> None:
        with pytest.raises(NotAPicture, match="no PNG, JPEG or WebP"):
            read_head(data)


class TestWebp:
    def test_what_stands_behind_the_pixels_is_read(self) -> None:
        frames = [(b"ANMF", b"odd")] * 1_000

        assert read_head(webp(*frames, (b"EXIF", commented(">")), (b"XMP ", b"<said/>"))) == Head(
            user_comment=COMMENT, xmp=b"<said/>"
        )

    def test_the_first_of_each_counts(self) -> None:
        assert read_head(webp((b"XMP ", b"one"), (b"XMP ", b"two"))).xmp == b"one"

    def test_chunks_without_end_are_refused(self) -> None:
        with pytest.raises(SaysTooMuch):
            read_head(webp(*repeat((b"none", b""), 2**20)))

    @pytest.mark.parametrize(
        "data",
        [webp()[:-1], webp()[:14], webp((b"XMP ", b"<said/>"))[:-4], b"RIFF\x0c\0\0\0WEBPVP8 \xff\xff\xff\xff"],
    )
    def test_one_that_is_cut_short_is_none(self, data: bytes) -> None:
        with pytest.raises(NotAPicture, match="no PNG, JPEG or WebP"):
            read_head(data)


class TestPng:
    def test_texts_of_all_kinds_are_read(self) -> None:
        data = png(
            chunk(b"tEXt", b"plain\0caf\xe9"),
            chunk(b"zTXt", b"packed\0\0" + zlib.compress(b"caf\xe9")),
            chunk(b"iTXt", b"wide\0\0\0en\0breit\0" + "圆".encode()),
            chunk(b"iTXt", b"both\0\1\0\0\0" + zlib.compress("圆".encode())),
        )

        assert read_head(data).texts == {"plain": "café", "packed": "café", "wide": "圆", "both": "圆"}

    def test_what_is_no_text_of_its_kind_is_passed_over(self) -> None:
        data = png(chunk(b"iTXt", b"wide\0\0\0\0\0\xff"), chunk(b"tEXt", b"plain\0said"))

        assert read_head(data).texts == {"plain": "said"}

    def test_what_stands_behind_the_pixels_is_not_read(self) -> None:
        assert read_head(png(chunk(b"IDAT", b""), chunk(b"tEXt", b"plain\0said"))).texts == {}

    @pytest.mark.parametrize("kind", [b"none", b"tEXt", b"iCCP"])
    def test_chunks_without_end_are_refused(self, kind: bytes) -> None:
        with pytest.raises(SaysTooMuch):
            read_head(png(*repeat(chunk(kind, b""), 2**20)))

    def test_profiles_are_never_inflated(self) -> None:
        profile = chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(2**20)))

        assert read_head(png(*repeat(profile, MOST_PARTS // 2))).texts == {}

    @pytest.mark.parametrize("before", [b"packed\0\0", b"packed\0\1\0\0\0"], ids=["zTXt", "iTXt"])
    def test_texts_that_inflate_to_much_together_are_refused(self, before: bytes) -> None:
        kind = b"zTXt" if before.endswith(b"packed\0\0") else b"iTXt"
        text = chunk(kind, before + zlib.compress(bytes(2**20)))

        with pytest.raises(SaysTooMuch):
            read_head(png(*repeat(text, MOST_PARTS // 2)))

    def test_a_long_text_is_refused(self) -> None:
        with pytest.raises(SaysTooMuch):
            read_head(png(chunk(b"tEXt", b"plain\0" + bytes(2**24))))

    @pytest.mark.parametrize(
        "data",
        [
            png()[:-12],
            png(chunk(b"tEXt", b"plain\0said"))[:-20],
            png(chunk(b"tEXt", b"plain\0said").replace(b"said", b"sAid")),
            png(struct.pack(">I4s", 2**32 - 1, b"tEXt")),
            png(chunk(b"zTXt", b"packed\0\0never packed")),
        ],
        ids=["no end", "cut short", "damaged", "beyond its end", "not packed"],
    )
    def test_a_broken_one_is_none(self, data: bytes) -> None:
        with pytest.raises(NotAPicture, match="no PNG, JPEG or WebP"):
            read_head(data)
