"""`report.html`: the demo's report as a page that needs nothing else, no script and no network."""
