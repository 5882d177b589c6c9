"""Reports: runs and summaries as text, in a terminal or on a page."""
