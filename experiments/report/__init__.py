"""A self-contained HTML file about one run or many: python -m experiments report RUN_DIR..."""
