"""Write pages for a browser that work offline: comparisons of images, and reports of runs."""
