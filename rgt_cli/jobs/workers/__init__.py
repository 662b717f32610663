"""Run jobs on several devices and machines, in workers that Ray keeps alive."""
