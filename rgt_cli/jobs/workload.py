"""The amount of work in the jobs of a run, for the estimate of the remaining time."""

from __future__ import annotations

import threading
from collections.abc import Collection

from rgt_cli.jobs.job import Job
from rgt_cli.media import decoded_bytes, frames_in


def work_of(job: Job) -> int:
    """Return the size of the decoded input of a job in bytes, by its header; 0 if that is unknown."""
    if job.images:
        return decoded_bytes(job.source) * len(job.images)
    if not job.is_video:
        return decoded_bytes(job.source)
    from rgt_cli.media.video.probe import probe  # imports libraries that images do not need

    try:
        video = probe(job.source)
    except Exception:  # the job itself will report what is wrong
        return 0
    return 3 * video.size.width * video.size.height * (video.frames or 0)


class Workload:
    """The work of many jobs, which a thread adds up during the run.

    The work of a job is proportional to the pixels of its input. Jobs whose headers have not been read
    yet count as much as the average of the others.
    """

    def __init__(self, jobs: Collection[Job]) -> None:
        self._jobs = jobs
        self._videos: dict[Job, int] = {}
        """The work of the videos whose headers have been read; that takes longer than for images."""
        self._sum, self._count = 0, 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Workload:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        for job in self._jobs:
            if self._ended.is_set():
                return
            work = work_of(job)
            if job.is_video:
                self._videos[job] = work
            self._sum, self._count = self._sum + work, self._count + 1

    def of(self, job: Job) -> float:
        """Return the work of a job, or the average if it is a video whose header is not read yet."""
        return self._videos.get(job, self._mean) if job.is_video else work_of(job)

    def has_frames(self, job: Job) -> bool:
        """Return whether the input of a job has several frames or pages."""
        return job.is_video or frames_in(job.source) > 1

    @property
    def _mean(self) -> float:
        return self._sum / self._count if self._count else 1.0

    @property
    def total(self) -> float:
        """The work of all jobs."""
        return self._sum + self._mean * (len(self._jobs) - self._count)
