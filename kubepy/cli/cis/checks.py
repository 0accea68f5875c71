"""How controls look at facts: the checks that several of them share."""
from __future__ import annotations

from kubepy.cli.cis.control import Check
from kubepy.cli.cis.facts import Facts


def given(part: str, *names: str) -> Check:
    """All these flags are given."""
    def check(facts: Facts) -> str:
        missing = [name for name in names if not facts.flag(part, name)]
        return f"{part} runs without --{', --'.join(missing)}" if missing else ""
    return check


def absent(part: str, *names: str) -> Check:
    def check(facts: Facts) -> str:
        found = [name for name in names if facts.flag(part, name)]
        return f"{part} runs with --{', --'.join(found)}" if found else ""
    return check


def equals(part: str, name: str, wanted: str, *, default: str = "") -> Check:
    """A flag has a value, which may be its default."""
    def check(facts: Facts) -> str:
        found = facts.flag(part, name)
        seen = default if found is None else found
        return "" if seen == wanted else f"{part} runs with --{name}={seen}"
    return check


def at_least(part: str, name: str, least: int) -> Check:
    def check(facts: Facts) -> str:
        found = facts.flag(part, name) or ""
        return "" if found.isdigit() and int(found) >= least else f"{part} runs with --{name}={found or '(not set)'}, less than {least}"
    return check


def lists(part: str, name: str, *, has: str = "", lacks: str = "") -> Check:
    """A list in a flag holds a word, or does not."""
    def check(facts: Facts) -> str:
        words = (facts.flag(part, name) or "").split(",")
        if has and has not in words:
            return f"--{name} of {part} lacks {has}"
        return f"--{name} of {part} holds {lacks}" if lacks and lacks in words else ""
    return check


def mode(most: int, *patterns: str, needed: bool = True) -> Check:
    """Files with this path (or this ending, when it begins with a dot) have no more rights than `most` and belong to root."""
    endings = tuple(pattern for pattern in patterns if pattern.startswith("."))

    def check(facts: Facts) -> str:
        found = {path: seen for path, seen in facts.files.items() if path in patterns or (endings and path.endswith(endings))}
        if not found and needed:
            return f"there is no {' or '.join(patterns)}"
        wide = [f"{path} is {seen.bits:o}" for path, seen in found.items() if seen.bits & ~most]
        strange = [f"{path} belongs to user {seen.owner}" for path, seen in found.items() if seen.owner != 0]
        return ", ".join(wide + strange)
    return check


def answers(name: str, *codes: int) -> Check:
    """A request without rights got one of these answers; 0 stands for no connection."""
    def check(facts: Facts) -> str:
        found = facts.answers.get(name, -1)
        return "" if found in codes else f"{name}: answered {found}"
    return check


def strong(server: str) -> Check:
    """Nothing before TLS 1.2 and no cipher without forward secrecy is spoken."""
    return lambda facts: f"{server} speaks {facts.weak[server]}" if facts.weak.get(server) else ""


def every(*checks: Check) -> Check:
    return lambda facts: "; ".join(filter(None, (check(facts) for check in checks)))
