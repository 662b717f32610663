"""Examine the machine and the installation: what works, what does not, and which command fixes it."""

from rgt_cli.doctor.check import Check, State
from rgt_cli.doctor.examination import Examination, examine

__all__ = ["Check", "Examination", "State", "examine"]
