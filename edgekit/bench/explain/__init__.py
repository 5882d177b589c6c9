"""Why int8 is not faster: two runs of one source, aligned operator by operator, and the cause in one line."""
