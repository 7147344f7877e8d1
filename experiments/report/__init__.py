"""Reports: a self-contained HTML file about one run or many."""
