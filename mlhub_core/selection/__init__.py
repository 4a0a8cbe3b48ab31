"""What to download: filters, the query over the index, and the plan."""
