// What an expression of PromQL names, by Prometheus' own grammar: metrics with their matchers, and the calls around them.
import type { SyntaxNode } from "@lezer/common";
import { parser } from "@prometheus-io/lezer-promql";

export interface Selector {
  readonly metric: string;
  /** Names of labels that it matches. */
  readonly labels: readonly string[];
  /** Functions and aggregations around it, innermost first. */
  readonly within: readonly string[];
  /** Text of its range, as `[5m]`; "" = an instant. */
  readonly range: string;
}

export interface Division {
  readonly divisor: string;
  /** It can't be 0: a number, or compared with it. */
  readonly guarded: boolean;
}

export interface Expression {
  readonly selectors: readonly Selector[];
  readonly divisions: readonly Division[];
}

/** Grafana's variables, as something that parses. */
function withoutVariables(expr: string): string {
  return expr.replaceAll("$__rate_interval", "4m").replaceAll(/\$\w+/g, "x");
}

/** @throws Error where the text is no expression */
export function readExpression(expr: string): Expression {
  const text = withoutVariables(expr);
  const selectors: Selector[] = [];
  const divisions: Division[] = [];
  parser.parse(text).iterate({
    enter(cursor) {
      const node = cursor.node;
      if (node.type.isError) throw new Error(`no PromQL at ${JSON.stringify(text.slice(node.from, node.from + 40))}`);
      if (node.name === "VectorSelector") selectors.push(selectorOf(node, text));
      if (node.name === "BinaryExpr" && node.getChild("Div") !== null) {
        const divisor = node.lastChild;
        if (divisor !== null) {
          const shown = text.slice(divisor.from, divisor.to);
          divisions.push({ divisor: shown, guarded: /^[\d.e-]+$/.test(shown) || /> 0\s*\)$/.test(shown) });
        }
      }
    },
  });
  return { selectors, divisions };
}

function selectorOf(node: SyntaxNode, text: string): Selector {
  const name = node.getChild("Identifier");
  const labels: string[] = [];
  const matchers = node.getChild("LabelMatchers");
  for (const matcher of matchers?.getChildren("UnquotedLabelMatcher") ?? []) {
    const label = matcher.getChild("LabelName");
    if (label !== null) labels.push(text.slice(label.from, label.to));
  }
  const within: string[] = [];
  let range = "";
  for (let outer = node.parent; outer !== null; outer = outer.parent) {
    if (outer.name === "MatrixSelector" && range === "") range = text.slice(node.to, outer.to);
    if (outer.name !== "FunctionCall" && outer.name !== "AggregateExpr") continue;
    within.push(/^\w+/.exec(text.slice(outer.from))?.[0] ?? "");
  }
  return { metric: name === null ? "" : text.slice(name.from, name.to), labels, within, range };
}
