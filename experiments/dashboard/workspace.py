"""The W&B workspace of a project: which panels show what the callbacks log."""

from __future__ import annotations

from typing import Any

import wandb_workspaces.workspaces as ws
from wandb_workspaces.expr import Metric
from wandb_workspaces.reports.v2 import interface as wr

from .metrics import STEP

NAME = "Sparse Lightning"
# section -> title of a panel -> what it shows
CURVES: dict[str, dict[str, list[str]]] = {
    "Accuracy": {
        "Validation accuracy": ["val/acc"],
        "PCK": ["val/pck@0.2", "val/pckh@0.5"],
        "Validation loss": ["val/loss"],
        "Training loss": ["train/loss"],
    },
    "Sparsity": {
        "Sparsity": ["sparsity/actual", "sparsity/target"],
        "Mask churn": ["sparsity/churn"],
        "Weights ever active": ["sparsity/explored"],
        "Units without connections": ["sparsity/dead_units"],
        "Updates put off": ["sparsity/deferred"],
    },
    "Gradient flow": {
        "Active gradient": ["grad_flow/active"],
        "Gradient hidden by the masks": ["grad_flow/inactive"],
        "Active gradient on the probe": ["grad_flow/probe"],
        "Change at mask updates": ["grad_flow/delta"],
        "Gradients that were not finite": ["grad_flow/not_finite"],
    },
    "Costs": {"Training FLOPs": ["sparsity/train_flops"]},
    "Hessian": {
        "Largest eigenvalue": ["hessian/largest"],
        "Smallest eigenvalue": ["hessian/smallest"],
        "Share of negative eigenvalues": ["hessian/negative_share"],
    },
    "Pictures": {},
}
PICTURES = {
    "Sparsity": ["charts/mask_density", "charts/mask_churn"],
    "Gradient flow": ["charts/gradient_flow", "charts/gradients"],
    "Hessian": ["charts/hessian"],
    "Pictures": ["charts/weights", "pictures/worst", "pictures/best", "pictures/heatmaps", "pictures/alphas"],
}
LOGARITHMIC = ("grad_flow/active", "grad_flow/inactive", "grad_flow/probe")
COLUMNS = ["summary:val/acc.max", "summary:val/pck@0.2.max", "summary:test/acc", "summary:sparsity/actual"]


def workspace(project: str, entity: str) -> ws.Workspace:
    """Return the workspace of a project, not yet saved: runs by study and method, and a section for every question.

    Args:
        project: the name of a W&B project.
        entity: the user or team that it belongs to.
    """
    axis = ws.SectionPanelSettings(x_axis=STEP)
    return ws.Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=[ws.Section(name=name, panels=_panels(name), is_open=True, panel_settings=axis) for name in CURVES],
        settings=ws.WorkspaceSettings(x_axis=STEP, max_runs=20),
        runset_settings=ws.RunsetSettings(
            groupby=[Metric("Group"), Metric("JobType")],
            pinned_columns=[*COLUMNS, "summary:sparsity/train_flops", "config:method", "config:seed"],
        ),
    )


def _panels(section: str) -> list[Any]:
    panels: list[Any] = [
        wr.LinePlot(title=title, x=STEP, y=[*keys], log_y=True if set(keys) & set(LOGARITHMIC) else None)
        for title, keys in CURVES[section].items()
    ]
    if section == "Accuracy":
        panels.append(wr.BarPlot(title="Test accuracy", metrics=["test/acc", "test/pck@0.2"]))
    if section == "Costs":
        panels.append(
            wr.ScatterPlot(
                title="Accuracy against training FLOPs", x="sparsity/train_flops", y="val/acc.max", log_x=True
            )
        )
    panels += [wr.MediaBrowser(title=key.partition("/")[2], media_keys=[key]) for key in PICTURES.get(section, [])]
    return panels
