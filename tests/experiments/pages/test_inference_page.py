"""The page of sparse inference takes numbers of one run, and says where others are faster."""

from __future__ import annotations

from pathlib import Path

from experiments.bench.inference.rows import COLUMNS
from experiments.bench.inference.sparse_trained import COLUMNS as TRAINED_COLUMNS
from experiments.pages.inference_page import inference_page, inference_table
from experiments.run.rows import write_rows

SOURCE = {"seed": 0, "data": "random", "minutes": 1, "commit": "abc", "versions": "torch 2", "machine": "one"}


def row(what: str, value: float, run: str = "2", unit: str = "ms", **more: object) -> dict[str, object]:
    case = {"network": "ResNet50", "image": "3x224x224", "batch": 1, "sparsity": 0.9}
    return {
        **dict.fromkeys(COLUMNS, ""),
        **SOURCE,
        **case,
        "run": run,
        "what": what,
        "value": value,
        "unit": unit,
        **more,
    }


def test_a_line_has_what_was_measured_together(tmp_path: Path) -> None:
    fact = {"image": "", "batch": ""}
    rows = [
        row("SparseModel", 99.0, run="1", error="1e-3"),  # of an earlier run
        row("SparseModel", 12.0, error="3e-07"),
        row("eager torch", 60.0),
        row("eager torch, channels last", 48.0),
        row("ONNX Runtime", 27.0),
        row("OpenVINO bf16", 8.0),
        row("SparseModel", 14.0, batch=16, error="2e-07"),
        row("eager torch", 28.0, batch=16),
        row("save_sparse", 12.9, run="1", unit="MB", **fact),
        row("save_sparse", 11.9, unit="MB", **fact),
    ]
    write_rows(tmp_path / "rows.csv", rows)
    table = inference_table(tmp_path / "rows.csv")
    assert "| network | images | sparsity | SparseModel, ms | eager torch | ONNX Runtime | OpenVINO bf16 |" in table
    assert "| ResNet50, 3 x 224 x 224 | 1 | 0.9 | 12 | 48 | 27 | 8 | 4.00 | 2.25 |" in table
    assert "| ResNet50, 3 x 224 x 224 | 16 | 0.9 | 14 | 28 |  |  | 2.00 | 2.00 |" in table
    assert table.endswith("Where others are faster:\n\n- ResNet50, 3 x 224 x 224, sparsity 0.9, 12 ms: OpenVINO bf16 8")
    page = inference_page(tmp_path / "rows.csv", tmp_path / "none.csv")
    assert "| ResNet50, sparsity 0.9: save_sparse | 11.9 MB |" in page
    assert "12.9" not in page
    assert "is 3e-07 of the largest output" in page
    assert "Trained" not in page


def test_a_case_that_is_measured_again_keeps_its_place(tmp_path: Path) -> None:
    runs = [("1", 1, 12.0), ("1", 16, 150.0), ("2", 1, 11.0)]
    names = ("SparseModel", "eager torch")
    write_rows(tmp_path / "rows.csv", [row(name, ms, run, batch=batch) for run, batch, ms in runs for name in names])
    table = inference_table(tmp_path / "rows.csv")
    assert table.index("| 1 | 0.9 | 11 |") < table.index("| 16 | 0.9 | 150 |")
    assert "| 12 |" not in table


def test_trained_networks_have_a_line_each(tmp_path: Path) -> None:
    trained = dict.fromkeys(TRAINED_COLUMNS, "0") | SOURCE
    trained |= {
        "config": "resnet20_rigl_90",
        "steps": 3910,
        "sparsity": "0.900",
        "score": "test/acc",
        "test_images": 10000,
    }
    trained |= {"dense_score": "0.7761", "sparse_score": "0.7762", "dense_bytes": 1114000, "sparse_bytes": 148000}
    write_rows(tmp_path / "rows.csv", [row("SparseModel", 12.0, error="3e-07"), row("eager torch", 48.0)])
    write_rows(tmp_path / "trained.csv", [trained | {"dense_ms": 6.8, "sparse_ms": 0.5}])
    page = inference_page(tmp_path / "rows.csv", tmp_path / "trained.csv")
    line = "| `resnet20_rigl_90` | 3910 | 0.900 | acc 0.7761 (10000) | 0.7762 | 1,114 | 148 | 6.8 | 0.5 |"
    assert line in page


def test_without_rows_nothing_is_claimed(tmp_path: Path) -> None:
    assert inference_table(tmp_path / "none.csv") == "Not measured yet."
