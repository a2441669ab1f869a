"""Reports for people: figures of results, tables in Markdown, and plots."""
