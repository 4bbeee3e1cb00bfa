"""Rules as Python expressions, compiled at load time to the table that Rust evaluates.

    from edge.policy import always, request, response, when

    images = request.path.startswith("/img/") & ~request.header("cookie").present()
    rules = [
        when(images & (response.status == 200)).cache(ttl="1d", grace="1h"),
        when(request.method.is_in("POST", "PUT")).bypass(),
        when(request.path == "/old").redirect("https://www.example.com/new", status=301),
        when(always).key(query_drop=["utm_source", "utm_medium"]).set_header("x-pop", "fra"),
    ]

The names stand for a request that is not there yet, so an expression describes a test instead of making it: `&`, `|`
and `~` join conditions, and what would need the value now (`and`, `not`, `if`, `in`, comparing two fields) raises
`PolicyError` with the place. Rules are tried in order, and each that matches acts.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NoReturn

from edge import rule_table
from edge.rule_table import Action, Rule
from edge.units import duration_ms

__all__ = ["Condition", "PolicyError", "PolicyRule", "always", "load", "request", "response", "when"]

_RULES_MAX: Final = 10_000
_YEAR_MS: Final = 365 * 86_400_000


class PolicyError(Exception):
    """An expression that cannot become a rule; the text begins with the file and line where it stands."""


def _refuse(reason: str) -> NoReturn:
    raise PolicyError(f"{_place()}: {reason}")


def _place() -> str:
    """File and line of the nearest caller outside this module."""
    frame = sys._getframe(1)  # noqa: SLF001 - the supported way to the caller's line without building a traceback
    while frame.f_back is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def _constant(value: object) -> str:
    if isinstance(value, str):
        return value
    _refuse(f"only a constant text can be compared with, got {_kind(value)}")


def _kind(value: object) -> str:
    return "another field of the message" if isinstance(value, _Described) else f"{value!r}"


class _Described:
    """Something that has no value before a request is there; every attempt to take one is refused."""

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        _refuse("a condition has no value yet: join with & | ~ and parentheses, not with and, or, not, if")

    def __iter__(self) -> NoReturn:
        _refuse("a field of the message cannot be looped over")

    def __len__(self) -> int:
        _refuse("a field of the message has no length yet")

    def __contains__(self, item: object) -> bool:
        _refuse("`in` needs a value now: write .contains(...) or .is_in(...)")

    def __format__(self, spec: str) -> str:
        _refuse("a field of the message cannot be put into a text")

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        words = ", ".join(sorted(word for word in dir(type(self)) if not word.startswith("_")))
        _refuse(f"there is no {name} here; known are {words}")


class Condition(_Described):
    """A test of a request or its answer; joined by `&`, `|` and `~`."""

    def __init__(self, json: rule_table.Condition) -> None:
        self.json = json

    def __and__(self, other: object) -> Condition:
        """Both hold."""
        return Condition({"all": [*_members("all", self), *_members("all", _condition(other))]})

    def __or__(self, other: object) -> Condition:
        """At least one holds."""
        return Condition({"any": [*_members("any", self), *_members("any", _condition(other))]})

    def __invert__(self) -> Condition:
        """It does not hold."""
        return Condition({"not": self.json})

    def __repr__(self) -> str:
        return f"Condition({self.json!r})"


def _members(word: str, condition: Condition) -> list[rule_table.Condition]:
    """What a condition joins by this word; a long chain stays one flat list, because Rust bounds the nesting."""
    json = condition.json
    members: list[rule_table.Condition] = json[word] if isinstance(json, dict) and word in json else [json]
    return members


def _condition(value: object) -> Condition:
    if isinstance(value, Condition):
        return value
    if isinstance(value, _Text):
        _refuse("a field is no condition by itself: write .present() or compare it")
    _refuse(f"expected a condition, got {_kind(value)}; put parentheses around comparisons joined by & or |")


class _Text(_Described):
    """A text of the message: a path, a header's value."""

    def __init__(self, word: str, name: str | None = None) -> None:
        self._word = word
        self._name = name

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]
        return self._test({"equals": _constant(other)})

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]
        return ~(self == other)

    def startswith(self, *prefixes: str) -> Condition:
        """It begins with one of these."""
        return self._any("prefix", prefixes)

    def endswith(self, *suffixes: str) -> Condition:
        """It ends with one of these."""
        return self._any("suffix", suffixes)

    def contains(self, *parts: str) -> Condition:
        """One of these stands in it."""
        return self._any("contains", parts)

    def glob(self, *patterns: str) -> Condition:
        """One of these matches all of it: `*` is any run without a slash, `**` any run, `?` one character."""
        return self._any("glob", patterns)

    def matches(self, *expressions: str) -> Condition:
        """One of these regular expressions is found in it; anchor with `^` and `$`."""
        return self._any("regex", expressions)

    def is_in(self, *texts: str) -> Condition:
        """It is one of these."""
        return self._test({"one-of": [_constant(text) for text in texts]})

    def _any(self, word: str, texts: Sequence[str]) -> Condition:
        if not texts:
            _refuse("expected at least one text")
        tests = [self._test({word: _constant(text)}).json for text in texts]
        return Condition(tests[0] if len(tests) == 1 else {"any": tests})

    def _test(self, test: rule_table.Condition) -> Condition:
        return Condition({self._word: test})


class _Named(_Text):
    """A header field or a cookie, which may be absent; an absent one fails every test."""

    def present(self) -> Condition:
        """It is there, even if empty."""
        return self._test("present")

    def _test(self, test: rule_table.Condition) -> Condition:
        return Condition(_checked(rule_table.named, self._word, self._name, test))


class _Method(_Described):
    """The request's method."""

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]
        return self.is_in(_constant(other))

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]
        return ~(self == other)

    def is_in(self, *methods: str) -> Condition:
        """It is one of these."""
        return Condition({"method": [_checked(rule_table.method, _constant(method)) for method in methods]})


class _Client(_Described):
    """The client's address."""

    def within(self, *networks: str) -> Condition:
        """It lies in one of these networks, such as `10.0.0.0/8`."""
        return Condition({"client": [_checked(rule_table.network, _constant(network)) for network in networks]})


class _Status(_Described):
    """The status of the origin's answer."""

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]
        return self.is_in(other)

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]
        return ~(self == other)

    def __ge__(self, other: int) -> Condition:
        return self.between(other, 999)

    def __gt__(self, other: int) -> Condition:
        return self.between(other + 1, 999)

    def __le__(self, other: int) -> Condition:
        return self.between(100, other)

    def __lt__(self, other: int) -> Condition:
        return self.between(100, other - 1)

    def between(self, first: int, last: int) -> Condition:
        """It lies in this range, both ends included."""
        return self.is_in(f"{first}-{last}")

    def is_in(self, *statuses: object) -> Condition:
        """It is one of these: 404, "200-299", "5xx"."""
        return Condition({"status": [list(_checked(rule_table.status_range, status)) for status in statuses]})


class _Request(_Described):
    """The client's request."""

    path = _Text("path")
    """The canonical path, without the query."""
    query = _Text("query")
    """The query without its question mark; empty when there is none."""
    host = _Text("host")
    """The host in lower case, with the port where it is not the scheme's own."""
    method = _Method()
    client = _Client()

    def header(self, name: str) -> _Named:
        """A header field by its name."""
        return _Named("request-header", _constant(name))

    def cookie(self, name: str) -> _Named:
        """A cookie by its name."""
        return _Named("cookie", _constant(name))


class _Response(_Described):
    """The origin's answer, known once its head is there."""

    status = _Status()

    def header(self, name: str) -> _Named:
        """A header field by its name."""
        return _Named("response-header", _constant(name))


request = _Request()
response = _Response()
always = Condition("always")


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """A condition with its actions, in order; every method gives a new rule with one more."""

    condition: Condition
    place: str
    actions: tuple[Action, ...] = ()
    name: str = ""

    def named(self, name: str) -> PolicyRule:
        """Give it a name for explain and messages."""
        return replace(self, name=_constant(name))

    def cache(
        self,
        ttl: str | None = None,
        *,
        ttl_status: dict[int | str, str] | None = None,
        grace: str | None = None,
        stale_if_error: str | None = None,
        force: bool = False,
    ) -> PolicyRule:
        """Cache by the origin's words, or by `ttl` whatever it says with `force`; durations as in "10s"."""
        actions = _durations(("ttl-ms", ttl), ("grace-ms", grace), ("stale-if-error-ms", stale_if_error))
        for status, text in (ttl_status or {}).items():
            first, last = _checked(rule_table.status_range, status)
            actions.append({"ttl-status-ms": {"from": first, "to": last, "ms": _duration(text)}})
        return self._with(*actions, {"cache": "force" if force else "honour"})

    def bypass(self) -> PolicyRule:
        """Neither answer from the cache nor store."""
        return self._with({"cache": "bypass"})

    def key(
        self,
        *,
        query: str | None = None,
        query_allow: Sequence[str] | None = None,
        query_drop: Sequence[str] | None = None,
        headers: Sequence[str] | None = None,
        cookies: Sequence[str] | None = None,
        body: bool | None = None,
    ) -> PolicyRule:
        """What takes part in the cache key: as the table `key` in TOML."""
        queries = {"query": query, "query_allow": query_allow, "query_drop": query_drop}
        settings = {**queries, "headers": headers, "cookies": cookies, "body": body}
        return self._with(*_checked(_key_actions, settings))

    def languages(self, *offered: str) -> PolicyRule:
        """Reduce Accept-Language to the one of these that the client likes best, else the first."""
        if not offered:
            _refuse("expected at least one language")
        return self._with({"languages": [_checked(rule_table.language, tag) for tag in offered]})

    def set_request_header(self, name: str, value: str) -> PolicyRule:
        """Set a header field of the request towards the origin."""
        return self._edit("request-header", "set", name, value)

    def remove_request_header(self, name: str) -> PolicyRule:
        """Keep a header field of the request from the origin."""
        return self._edit("request-header", "remove", name)

    def set_header(self, name: str, value: str) -> PolicyRule:
        """Set a header field of the answer."""
        return self._edit("response-header", "set", name, value)

    def add_header(self, name: str, value: str) -> PolicyRule:
        """Add a header field to the answer."""
        return self._edit("response-header", "add", name, value)

    def remove_header(self, name: str) -> PolicyRule:
        """Keep a header field of the answer from the client."""
        return self._edit("response-header", "remove", name)

    def redirect(self, location: str, *, status: int = 302) -> PolicyRule:
        """Send the client elsewhere."""
        if status not in {301, 302, 303, 307, 308}:
            _refuse(f"expected a status of a redirect (301, 302, 303, 307, 308), got {status!r}")
        return self._with({"redirect": {"status": status, "location": _checked(rule_table.location, location)}})

    def deny(self, status: int = 403) -> PolicyRule:
        """Answer with an error."""
        if not 400 <= status <= 599:
            _refuse(f"expected a status from 400 to 599, got {status!r}")
        return self._with({"deny": {"status": status}})

    def origin(self, name: str) -> PolicyRule:
        """Ask another origin than the site's."""
        return self._with({"origin": _constant(name)})

    def compiled(self) -> Rule:
        """The rule of the table; raises `PolicyError` when it does nothing."""
        if not self.actions:
            raise PolicyError(
                f"{self.place}: the rule does nothing: add .cache(...), .bypass(), .deny() or another action"
            )
        return Rule(name=self.name or self.place, when=self.condition.json, then=self.actions)

    def _edit(self, word: str, how: str, name: str, value: str | None = None) -> PolicyRule:
        return self._with(_checked(rule_table.edit, word, how, name, value))

    def _with(self, *actions: Action) -> PolicyRule:
        _checked(rule_table.check_phase, self.condition.json, actions)
        return replace(self, actions=(*self.actions, *actions))


def when(condition: Condition) -> PolicyRule:
    """Begin a rule; it does nothing before an action is added."""
    return PolicyRule(_condition(condition), _place())


def load(file: Path) -> list[Rule]:
    """Run a policy file and compile its `rules`; raises `PolicyError` with place and reason for whatever fails."""
    try:
        source = file.read_bytes()
    except OSError as error:
        raise PolicyError(f'"{file.name}" cannot be read: {error.strerror}') from error
    names: dict[str, Any] = {"__name__": "headland_policy", "__file__": str(file)}
    try:
        exec(compile(source, str(file), "exec", dont_inherit=True), names)  # noqa: S102 - the operator's own file, as a VCL would be
    except PolicyError:
        raise
    except SyntaxError as error:
        raise PolicyError(f"{file.name}:{error.lineno}: not Python: {error.msg}") from error
    except Exception as error:  # a policy file may fail in any way that Python knows
        raise PolicyError(f"{_failed_at(error, file)}: {type(error).__name__}: {error}") from error
    rules = names.get("rules")
    if not isinstance(rules, list) or len(rules) > _RULES_MAX:
        raise PolicyError(f"{file.name}: expected a list named rules, of at most {_RULES_MAX} rules")
    for index, rule in enumerate(rules):
        if not isinstance(rule, PolicyRule):
            raise PolicyError(f"{file.name}: rules[{index}]: expected a rule that begins with when(...), got {rule!r}")
    return [rule.compiled() for rule in rules]


def _failed_at(error: BaseException, file: Path) -> str:
    """The last line of the policy file that led to an error."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(file):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"{file.name}:{line}" if line else file.name


def _durations(*pairs: tuple[str, str | None]) -> list[Action]:
    return [{word: _duration(text)} for word, text in pairs if text is not None]


def _duration(text: str) -> int:
    try:
        ms = duration_ms(_constant(text))
    except ValueError as error:
        _refuse(f"{error}, got {text!r}")
    if ms > _YEAR_MS:
        _refuse(f'expected a duration of at most "365d", got {text!r}')
    return ms


def _key_actions(settings: dict[str, Any]) -> list[Action]:
    from pydantic import ValidationError  # noqa: PLC0415 - a policy without keys does not pay for the models

    from edge.rules import KeySettings  # noqa: PLC0415

    given = {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}
    try:
        return KeySettings.model_validate({name: value for name, value in given.items() if value is not None}).actions()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(first["msg"].removeprefix("Value error, ")) from error


def _checked(check: Any, *arguments: Any) -> Any:
    """Call a check of the table and put the place in front of what it refuses."""
    try:
        return check(*arguments)
    except (ValueError, TypeError) as error:
        _refuse(str(error))
