"""What a job came to: its pictures, or the error that says why there are none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared.contract import ImageBody, JobBody
from shared.errors import GenerationFailed, JobCanceled, leaf_of
from shared.jobs import JobId, JobStatus, image_file_name


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a finished job."""

    job_id: JobId
    info: ImageBody
    data: bytes

    @property
    def file_name(self) -> str:
        """A name that no other picture has."""
        return image_file_name(self.job_id, self.info.index, self.info.output_format)


@dataclass(frozen=True, slots=True)
class Result:
    """A job that succeeded, and its pictures."""

    job: JobBody
    pictures: tuple[Picture, ...]

    def save(self, path: str | Path) -> tuple[Path, ...]:
        """Write the pictures and say where.

        One picture goes to `path` itself, unless that is a folder; several go into the folder
        `path`, which is made if need be.
        """
        target = Path(path)
        if len(self.pictures) == 1 and not target.is_dir():
            target.write_bytes(self.pictures[0].data)
            return (target,)
        target.mkdir(parents=True, exist_ok=True)
        saved: list[Path] = []
        for picture in self.pictures:
            saved.append(target / picture.file_name)
            saved[-1].write_bytes(picture.data)
        return tuple(saved)


def failure_of(job: JobBody) -> GenerationFailed:
    """Say as an exception why an ended job has no pictures."""
    if job.status is JobStatus.CANCELED and job.error is None:
        return JobCanceled(f"Job {job.id} was canceled.")
    if job.error is None:
        return GenerationFailed(f"Job {job.id} ended without pictures: {job.status}.")
    leaf = leaf_of(job.error.code)
    kind = leaf if leaf is not None and issubclass(leaf, GenerationFailed) else GenerationFailed
    return kind.quoted(job.error.message)
