"""The arithmetic between a measurement and the table."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from bench.floors import Work, data_sheet_peak
from bench.load import draw_by
from bench.orders import Order, from_line, like_default, mixed, to_line
from bench.pictures import digest
from bench.spans import Span, Traced, covered_s
from bench.split import parts_of
from bench.subject import Subject
from bench.table import Bar, markdown
from bench.timeline import draw, owned
from bench.ways import Seen
from bench.workers import rate, window
from shared.contract import JobBody
from shared.generation import Size

SSD_1B = Path(__file__).parents[2] / "ssd_1b_config"
NOON = 1_700_000_000.0


@pytest.fixture(scope="module")
def demo() -> Subject:
    return Subject.of("demo")


def job(created_s: float, started_s: float, completed_s: float) -> JobBody:
    at = {
        name: datetime.fromtimestamp(NOON + second, UTC)
        for name, second in (("created_at", created_s), ("started_at", started_s), ("completed_at", completed_s))
    }
    values: dict[str, Any] = dict.fromkeys(JobBody.model_fields) | at
    return JobBody.model_construct(**values)


def span(name: str, begun_s: float, ended_s: float, *jobs: str) -> Span:
    return Span(name, NOON + begun_s, NOON + ended_s, "thread", jobs)


def test_a_bar_is_a_lower_or_an_upper_limit() -> None:
    assert Bar(0.95).holds(0.95)
    assert not Bar(0.95).holds(0.94)
    assert not Bar(25, at_least=False).holds(26)
    assert Bar(25, at_least=False, unit=" ms").judge(26) == "**falls short**: at most 25 ms"


def test_a_table_shows_three_digits_and_leaves_what_is_unknown_empty() -> None:
    assert markdown(("way", "s"), [["a", 1.234], ["b", None], ["c", 123.4]]) == (
        "| way | s |\n|---|---|\n| a | 1.23 |\n| b |  |\n| c | 123 |"
    )


def test_time_that_spans_share_counts_once() -> None:
    spans = [span("step", 0, 10), span("decode", 8, 9), span("decode", 9.5, 12), span("step", 20, 21)]
    assert covered_s(spans) == pytest.approx(13)


def test_a_trace_that_is_still_being_written_is_read_up_to_its_last_line(tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    file.write_text(
        '{"name": "step", "begun_s": 1, "ended_s": 2, "thread": "t", "jobs": ["a"]}\n'
        '{"missing": "decode"}\n{"cuda_peak": 7}\n{"name": "st'
    )
    traced = Traced.read(file)
    assert [one.name for one in traced.spans] == ["step"]
    assert traced.missing == {"decode"}
    assert traced.cuda_peaks == (7,)
    assert traced.between(1, 2)
    assert not traced.between(1.5, 2)


def test_the_parts_of_a_jobs_time_add_up_to_what_its_user_waited(demo: Subject) -> None:
    (order,) = like_default(demo, 1)
    seen = Seen(order, job(0.01, 0.02, 1.0), NOON, NOON + 1.004, NOON + 1.01)
    spans = [
        span("step", 0.03, 0.5),
        span("step", 0.51, 0.9),
        span("decode", 0.8, 0.89),
        span("encode", 0.91, 0.93),
        span("upload", 0.93, 0.97),
    ]
    parts = parts_of(seen, spans)
    assert parts["engine: steps and decoding"] == pytest.approx(860, abs=0.1)
    assert parts["between steps"] == pytest.approx(10, abs=0.1)
    assert parts["asked to seen, without the engine"] == pytest.approx(144, abs=0.1)
    follow = list(parts.values())[: list(parts).index("fetched")]
    assert sum(follow) == pytest.approx(1004, abs=0.1)


def test_a_job_without_traced_steps_has_no_parts(demo: Subject) -> None:
    (order,) = like_default(demo, 1)
    assert parts_of(Seen(order, job(0, 0, 1), NOON, NOON, NOON), [span("upload", 0, 1)]) == {}


def test_a_job_that_lies_half_in_the_window_counts_half() -> None:
    jobs = [job(0, start, start + 2) for start in (0.0, 0.5, 2.0, 2.5, 4.0, 4.5)]
    begun_s, ended_s = window(jobs, workers=2)
    assert (begun_s - NOON, ended_s - NOON) == (0.5, 4.5)
    assert rate(jobs, begun_s, ended_s) == pytest.approx(1.0, rel=1e-3)


def test_a_rate_needs_a_time() -> None:
    with pytest.raises(ValueError, match="more jobs"):
        rate([job(0, 0, 1)], NOON, NOON)


def test_the_same_seed_gives_the_same_list_and_it_survives_a_pipe(demo: Subject) -> None:
    orders = mixed(demo, 12, seed=3)
    assert orders == mixed(demo, 12, seed=3)
    assert orders != mixed(demo, 12, seed=4)
    assert from_line(to_line(orders)) == orders
    assert len({order.seed for order in orders}) == 12
    assert {order.guidance_scale > 1 for order in mixed(demo, 40)} == {True, False}


def test_an_order_is_a_request_that_leaves_nothing_to_defaults(demo: Subject) -> None:
    (order,) = like_default(demo, 1)
    params = order.request().resolve(demo.card, drawn_seed=99)
    assert (params.seed, params.width, params.negative_prompt) == (order.seed, order.width, order.negative_prompt)
    assert not order.request().reuse


def test_each_picture_is_drawn_once_whoever_asks_for_it(demo: Subject) -> None:
    file = (Path(__file__).parents[3] / "docs" / "images" / "page.png").read_bytes()
    asked: list[Order] = []
    together = threading.Barrier(3, timeout=30)

    def user(order: Order) -> bytes:
        if order.seed < 3:  # the first three pictures are asked for at the same time
            together.wait()
        asked.append(order)
        return file

    orders = like_default(demo, 7)
    drawn = draw_by([user] * 3, orders)
    assert sorted(order.seed for order in asked) == list(range(7))
    assert set(drawn.digests) == set(orders)


def test_what_one_user_meets_ends_the_round(demo: Subject) -> None:
    def user(order: Order) -> bytes:
        raise RuntimeError(f"no picture {order.seed}")

    with pytest.raises(RuntimeError, match="no picture"):
        draw_by([user, user], like_default(demo, 4))


def test_pictures_are_compared_by_their_pixels_and_not_by_their_files(tmp_path: Path) -> None:
    picture = Image.linear_gradient("L").convert("RGB")
    picture.save(tmp_path / "a.png", compress_level=1)
    picture.save(tmp_path / "b.webp", lossless=True)
    assert digest(tmp_path / "a.png") == digest((tmp_path / "b.webp").read_bytes()) == digest(picture)
    assert digest(picture.transpose(Image.Transpose.ROTATE_90)) != digest(picture)


def test_counted_operations_are_those_that_are_known_of_ssd_1b() -> None:
    """1.96 T a guided step and 2.5 T decoding at 512x512."""
    work = Work.of(SSD_1B, Size(width=512, height=512))
    assert 2 * work.step == pytest.approx(1.96e12, rel=0.01)
    assert work.decode == pytest.approx(2.5e12, rel=0.01)
    guided, unguided = (Order("", "", 512, 512, 25, scale, 0) for scale in (9.0, 1.0))
    assert work.of_orders([guided]) == pytest.approx(50 * work.step + work.decode)
    assert work.of_orders([unguided]) == pytest.approx(25 * work.step + work.decode)


def test_a_device_that_no_data_sheet_was_read_for_has_no_peak() -> None:
    assert data_sheet_peak("NVIDIA H100 80GB HBM3") == 989e12
    assert data_sheet_peak("NVIDIA H100 PCIe") == 756e12
    assert data_sheet_peak("Some other device") is None


def test_the_timeline_is_a_picture_with_a_bar_for_each_job_of_a_span() -> None:
    svg = draw([span("step", 0, 1, "a", "b"), span("upload", 0.5, 2, "a"), span("claim", 2, 2.1)], "two <jobs>")
    bars = ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}rect")  # noqa: S314 (our own)
    fills = [bar.get("fill") for bar in bars][1:]
    assert len(fills) == 4
    assert len(set(fills)) == 3


def test_work_that_tells_no_owner_is_that_of_the_step_around_it_or_of_what_comes_next() -> None:
    spans = [span("step", 0, 2, "a"), span("decode", 1, 2), span("encode", 2, 3), span("upload", 3, 4, "b")]
    assert [list(one.jobs) for one in owned(spans)] == [["a"], ["a"], ["b"], ["b"]]
