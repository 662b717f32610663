"""Inputs to outputs: find the sources, plan the jobs, run them, remember what is done."""

from rgt_cli.jobs.image import Recipe, VideoOptions
from rgt_cli.jobs.journal import Journal
from rgt_cli.jobs.plan import (
    DEFAULT_NAME,
    Existing,
    Job,
    output_folder,
    partition,
    plan_batch,
    plan_job,
)
from rgt_cli.jobs.run import Outcome, run_job, run_jobs
from rgt_cli.jobs.sources import Source, SourceScan, find_sources, read_list
from rgt_cli.jobs.watch import watch_jobs

__all__ = [
    "DEFAULT_NAME",
    "Existing",
    "Job",
    "Journal",
    "Outcome",
    "Recipe",
    "Source",
    "SourceScan",
    "VideoOptions",
    "find_sources",
    "output_folder",
    "partition",
    "plan_batch",
    "plan_job",
    "read_list",
    "run_job",
    "run_jobs",
    "watch_jobs",
]
