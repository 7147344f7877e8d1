"""Interactive charts of a run: plain functions from numbers to plotly figures, for W&B and for reports.

Figures hold plain lists, since the page of W&B does not read the packed arrays that plotly makes of numpy's. Text of
the user is escaped, since plotly would take it for HTML.
"""

from .layers import churn_heatmap, density_maps, flow_heatmap
from .values import histograms, spectrum

__all__ = ["churn_heatmap", "density_maps", "flow_heatmap", "histograms", "spectrum"]
