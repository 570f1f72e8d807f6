"""What the templates of Compare show: the models that can be chosen, and the matrix."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from dmrc.capture.summary import model_name
from dmrc.comparison.matrix import CellKind, MatrixCell, regressions_first
from dmrc.errors import InvalidReferenceError
from dmrc.gateway.comparing.jobs import AskedRequest, ColumnProgress, ComparisonJob
from dmrc.project import ModelDeclaration
from dmrc.reference import Reference
from dmrc.store import StoredModel

KINDS: Mapping[CellKind, tuple[str, str]] = {
    "error": ("Error", "failed"),
    "schema": ("Schema broken", "failed"),
    "tools": ("Other tool calls", "failed"),
    "cut": ("Cut off", "failed"),
    "refusal": ("Refused", "failed"),
    "longer": ("Longer", "cancelled"),
    "slower": ("Slower", "cancelled"),
    "text": ("Other words", "other"),
    "same": ("Same", "done"),
}
"""What a kind of difference is called, and the class of its badge."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """One model that can be asked."""

    value: str
    """Its reference; of a project's model, the key there."""
    project: str
    """Project that declares it; "" for one of the store."""
    label: str
    """As people read it: `smollm2:360M-Q8_0 · Q8_0`."""


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """A request with what each target answered."""

    asked: AskedRequest
    """The request."""
    cells: Sequence[tuple[MatrixCell | None, str]]
    """Of each column; in place of an answer, why there is none."""
    is_regression: bool
    """Whether one of the answers is worse."""


@dataclass(frozen=True, slots=True)
class MatrixTable:
    """The matrix of a comparison."""

    job: ComparisonJob
    """What it is of."""
    columns: Sequence[ColumnProgress]
    """What answers."""
    rows: Sequence[MatrixRow]
    """Regressions first."""
    kinds: Mapping[CellKind, tuple[str, str]]
    """`KINDS`."""

    @property
    def regressions(self) -> int:
        """Return in how many rows an answer is worse."""
        return sum(row.is_regression for row in self.rows)


def choices(
    names: Sequence[tuple[str, StoredModel | None]],
    declared: Sequence[tuple[str, ModelDeclaration]],
    references: Collection[str],
) -> list[tuple[str, list[ModelChoice]]]:
    """Return the models of the store and those of upstreams and other machines, in groups with their titles.

    `references` answered the chosen requests: other quantizations of these come first.
    """
    sources = [(tag, model) for tag, model in names if tag in references]
    near: list[ModelChoice] = []
    others: list[ModelChoice] = []
    for tag, model in sorted(names):
        is_near = any(_is_other_quantization(tag, model, *source) for source in sources)
        (near if is_near else others).append(ModelChoice(tag, "", _label(tag, model)))
    far = [
        ModelChoice(one.key, project, f"{one.key} · {_place(one)}, of project {project}") for project, one in declared
    ]
    groups = [
        ("Other quantizations of the same model", near),
        ("In the store", others),
        ("Upstreams, other machines", far),
    ]
    return [(title, group) for title, group in groups if group]


def table(job: ComparisonJob) -> MatrixTable:
    """Return the matrix of what is compared so far."""
    found = [column.found for column in job.columns if column.found is not None]
    rows = []
    for id in regressions_first(list(job.rows), found):
        cells = [_cell(column, id) for column in job.columns]
        rows.append(MatrixRow(job.rows[id], cells, any(cell is not None and cell.is_regression for cell, _ in cells)))
    return MatrixTable(job, job.columns, rows, KINDS)


def recent(job: ComparisonJob) -> dict[str, object]:
    """Return what the list of comparisons shows of one."""
    found = [column.found for column in job.columns if column.found is not None]
    return {
        "job": job,
        "labels": [column.target.label for column in job.columns],
        "worse": sum(one.worse for one in found) if found else None,
    }


def _cell(column: ColumnProgress, id: str) -> tuple[MatrixCell | None, str]:
    if column.found is None:
        return None, "not sent" if column.state in ("failed", "cancelled") else ""
    cell = column.found.cells.get(id)
    return cell, "" if cell is not None else column.found.unread.get(id, "not sent")


def _label(tag: str, model: StoredModel | None) -> str:
    name = model_name(tag)
    quantization = "" if model is None else model.config.quantization or ""
    return name if not quantization or quantization.lower() in name.lower() else f"{name} · {quantization}"


def _place(declared: ModelDeclaration) -> str:
    upstream = declared.options.upstream
    return f"{upstream.model} at {upstream}" if upstream is not None else f"on {declared.options.host}"


def _is_other_quantization(tag: str, model: StoredModel | None, source: str, source_model: StoredModel | None) -> bool:
    if model is None or source_model is None or model.digest == source_model.digest:
        return False
    one, other = model.config, source_model.config
    try:
        same_place = Reference.parse(tag).repository == Reference.parse(source).repository
    except InvalidReferenceError:
        return False
    return same_place and one.parameters == other.parameters and one.quantization != other.quantization
