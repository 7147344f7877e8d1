"""Pages and tables of Markdown, made from the committed rows of results."""
