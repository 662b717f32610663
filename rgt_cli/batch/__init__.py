"""Inputs to outputs: find the sources, plan the jobs, run them, remember what is done."""

from rgt_cli.batch.journal import Journal
from rgt_cli.batch.plan import (
    DEFAULT_NAME,
    Existing,
    Job,
    output_folder,
    plan_batch,
    plan_job,
    sort_out,
)
from rgt_cli.batch.recipe import FilmRecipe, Recipe
from rgt_cli.batch.run import Outcome, run_job, run_jobs
from rgt_cli.batch.sources import Found, Source, find_sources, read_list
from rgt_cli.batch.watch import rounds

__all__ = [
    "DEFAULT_NAME",
    "Existing",
    "FilmRecipe",
    "Found",
    "Job",
    "Journal",
    "Outcome",
    "Recipe",
    "Source",
    "find_sources",
    "output_folder",
    "plan_batch",
    "plan_job",
    "read_list",
    "rounds",
    "run_job",
    "run_jobs",
    "sort_out",
]
