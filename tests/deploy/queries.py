"""PromQL checked against what a server exports: every metric, label and value a query names.

A query that names a metric which is not there is no error to Prometheus: it finds nothing, and an
alert on it stays silent for ever. The same holds for a label that is not there and for two sides
of an operator that have different labels.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import promql_parser as promql

# Labels of a series with the values seen; None where they are the deployment's to choose.
Labels = Mapping[str, frozenset[str] | None]


class WrongQuery(Exception):
    """A query that does not parse, or would find nothing."""


@dataclass(frozen=True)
class Exported:
    """The series there are; ``target_labels`` are what a scrape adds to each."""

    series: Mapping[str, Labels]
    target_labels: frozenset[str] = field(default=frozenset({"instance", "job"}))

    def labels_of(self, name: str) -> Labels:
        """Every label of a series by its name."""
        if name not in self.series:
            raise WrongQuery(f"no metric is called {name}")
        return {**self.series[name], **dict.fromkeys(self.target_labels)}

    def check(self, query: str) -> Labels | None:
        """The labels of what a query finds, None for a number; raises WrongQuery."""
        try:
            return self._of(promql.parse(query))
        except ValueError as error:
            raise WrongQuery(f"{query}: {error}") from error
        except WrongQuery as error:
            raise WrongQuery(f"{query}: {error}") from None

    def recording(self, name: str, query: str) -> "Exported":
        """These series and the one that a recording rule makes; raises WrongQuery."""
        found = self.check(query) or {}
        labels = {k: values for k, values in found.items() if k not in self.target_labels}
        return Exported({**self.series, name: labels}, self.target_labels)

    def _of(self, node: promql.Expr) -> Labels | None:
        match node:
            case promql.NumberLiteral() | promql.StringLiteral():
                return None
            case promql.VectorSelector():
                return self._selected(node)
            case promql.MatrixSelector():
                return self._selected(node.vector_selector)
            case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
                return self._of(node.expr)
            case promql.Call():
                return self._called(node)
            case promql.AggregateExpr():
                return self._aggregated(node)
            case promql.BinaryExpr():
                return self._combined(node)
        raise WrongQuery(f"{type(node).__name__} is not known to this check")

    def _selected(self, node: promql.VectorSelector) -> Labels:
        labels = self.labels_of(node.name)
        for matcher in node.matchers.matchers:
            if matcher.name not in labels:
                raise WrongQuery(f"{node.name} has no label {matcher.name}")
            _check_values(node.name, matcher, labels[matcher.name])
        return labels

    def _called(self, node: promql.Call) -> Labels:
        found: dict[str, frozenset[str] | None] = {}
        for argument in node.args:
            found |= self._of(argument) or {}
        if node.func.name == "histogram_quantile" and found.pop("le", None) is None:
            raise WrongQuery("histogram_quantile needs the label le")
        return {} if node.func.name == "absent" else found

    def _aggregated(self, node: promql.AggregateExpr) -> Labels:
        inner = self._of(node.expr) or {}
        named = set(node.modifier.labels) if node.modifier else set()
        if missing := named - set(inner):
            raise WrongQuery(f"aggregates by labels that are not there: {sorted(missing)}")
        if node.modifier and node.modifier.type == promql.AggModifierType.Without:
            named = set(inner) - named
        return {label: inner[label] for label in named}

    def _combined(self, node: promql.BinaryExpr) -> Labels | None:
        left, right = self._of(node.lhs), self._of(node.rhs)
        if left is None or right is None:
            return right if left is None else left
        matching = node.modifier.matching if node.modifier else None
        is_on = matching is not None and matching.type == promql.LabelModifierType.Include
        named = set(matching.labels) if matching else set()
        sides = [named if is_on else set(side) - named for side in (left, right)]
        if (is_on and not named <= set(left) & set(right)) or sides[0] != sides[1]:
            raise WrongQuery(f"no two series match: {sorted(left)} and {sorted(right)}")
        return left


def _check_values(name: str, matcher: promql.Matcher, values: frozenset[str] | None) -> None:
    """Every alternative of a matcher must fit a value that the label takes."""
    is_pattern = matcher.op in (promql.MatchOp.Re, promql.MatchOp.NotRe)
    wanted = matcher.value.split("|") if is_pattern else [matcher.value]
    for each in wanted if values is not None and matcher.value else []:
        pattern = each if is_pattern else re.escape(each)
        if not any(re.fullmatch(pattern, value) for value in values):
            raise WrongQuery(f'{name} is never {matcher.name}="{each}"; it is {sorted(values)}')
