"""Inputs to outputs: plan the jobs, and run them."""

from rgt_cli.batch.plan import Job, plan_job
from rgt_cli.batch.run import run_job

__all__ = ["Job", "plan_job", "run_job"]
