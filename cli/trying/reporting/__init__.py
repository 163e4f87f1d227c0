"""The report of a try: one object, and one page that needs nothing else."""
