"""Write pages for a browser that work offline: comparisons of images, and reports of runs."""

from rgt_cli.pages.comparison import Comparison, Scene, View, write_page
from rgt_cli.pages.sheet import contact_sheet

__all__ = ["Comparison", "Scene", "View", "contact_sheet", "write_page"]
