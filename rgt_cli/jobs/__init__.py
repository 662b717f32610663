"""From many inputs to many outputs: find the inputs, plan the jobs, run them, remember what is done."""

from rgt_cli.jobs.folder_plan import plan_folder
from rgt_cli.jobs.job import Job, Outcome, RunContext
from rgt_cli.jobs.journal import History, Journal
from rgt_cli.jobs.options import (
    DEFAULT_NAME,
    Existing,
    ImageOptions,
    JobOptions,
    ModelOptions,
    OutputOptions,
    VideoOptions,
)
from rgt_cli.jobs.plan import output_folder, plan_one
from rgt_cli.jobs.resume import partition
from rgt_cli.jobs.run import process, run_jobs
from rgt_cli.jobs.source_list import Source, SourceList
from rgt_cli.jobs.sources import SourceFilter, SourceScan, find_sources, read_list
from rgt_cli.jobs.watch import watch_jobs

__all__ = [
    "DEFAULT_NAME",
    "Existing",
    "History",
    "ImageOptions",
    "Job",
    "JobOptions",
    "Journal",
    "ModelOptions",
    "Outcome",
    "OutputOptions",
    "RunContext",
    "Source",
    "SourceFilter",
    "SourceList",
    "SourceScan",
    "VideoOptions",
    "find_sources",
    "output_folder",
    "partition",
    "plan_folder",
    "plan_one",
    "process",
    "read_list",
    "run_jobs",
    "watch_jobs",
]
