"""Kubernetes' CEL: one engine for the rules of custom resources and for admission policies. Pure values, no I/O.

    env = Environment({"self": kind_of(node), "oldSelf": "dyn"})
    program = env.compile("self.replicas >= oldSelf.replicas")     raises CompileError in cel-go's words
    program.evaluate({"self": …, "oldSelf": …})                    raises EvaluationError
    program.run(variables, limit)                                  the value or the error, and the cost

Expressions are parsed by Google's parser (`cel-expr-python`, the grammar and the syntax errors of cel-go; `tree.py`), checked against
types (`kind.py`, `unify.py`, `check.py`), and become closures on plain dictionaries that count their cost (`program.py`, `meter.py`).
That library's own checker and evaluator are not used: they have no costs, no macros of two variables, no constructed types, no
functions that answer optional values, and other words. `schema.py` gives schemas their types, `cost.py` estimates costs beforehand.
Known difference: durations are read as exact decimals, where Go rounds as it goes.
"""
from __future__ import annotations

from kubepy.api.cel.environment import CompileError, Environment, EvaluationError, Program

__all__ = ["CompileError", "Environment", "EvaluationError", "Program"]
