"""Text in plotly figures, which interpret some HTML and, between dollars, TeX."""

from __future__ import annotations

import html


def escaped(text: str) -> str:
    """Return what plotly shows as exactly ``text``, for titles, labels and names of categories.

    Example:
        >>> escaped("<b>$x$")
        '&lt;b&gt;&#36;x&#36;'
    """
    return html.escape(text, quote=False).replace("$", "&#36;")
