"""Kubernetes' CEL: one wrapper for the rules of custom resources and for admission policies. Pure values, no I/O.

    env = Environment({"self": type_of(node), "oldSelf": type_of(node)})
    program = env.compile("self.replicas >= oldSelf.replicas")     raises CompileError in cel-go's words
    program.evaluate({"self": …, "oldSelf": …})                    raises EvaluationError

The engine is Google's C++ implementation (`cel-expr-python`): of the three libraries it is the only one with cel-go's type checker and
its words, and the fastest by far (an evaluation is about 10 µs; `cel-python` needs some 500, and neither it nor
`common-expression-language` checks types). Expressions are checked against declared types (`types.py`) and evaluated on plain
dictionaries. Kubernetes' own functions are in `library.py`; costs are estimated from the checked tree (`cost.py`).
Known differences: lists that are sets or maps compare in order; runtime cost is bounded by the estimate and the size of objects,
not metered.
"""
from __future__ import annotations

from kubepy.api.cel.environment import CompileError, Environment, EvaluationError, Program

__all__ = ["CompileError", "Environment", "EvaluationError", "Program"]
