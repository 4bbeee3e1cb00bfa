"""`[[site.rule]]`: the TOML form of rules, and how it becomes the table.

All conditions of a rule must hold; a list in one of them means any of its items. What needs more than that (not, or,
nesting) is written as Python expressions: `edge.policy`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from edge import rule_table
from edge.rule_table import Action, Condition, Rule

__all__ = ["KeySettings", "RuleSettings"]

_TABLE = ConfigDict(strict=True, frozen=True, extra="forbid", populate_by_name=True)
_YEAR_MS = 365 * 86_400_000


def _listed(value: object) -> object:
    """One item stands for a list of one."""
    return value if isinstance(value, list) else [value]


def _cache_mode(value: object) -> object:
    if isinstance(value, bool):
        return "honour" if value else "bypass"
    if value != "force":
        raise ValueError(f'expected true, false or "force", got {value!r}')
    return value


def _tests(value: object) -> object:
    """A table of tests by name: a pattern, a list of patterns, true for present, false for absent."""
    if not isinstance(value, dict):
        return value
    tests = {name: _listed(test) for name, test in value.items()}
    for name, each in tests.items():
        if not isinstance(each, list) or not each or not all(isinstance(test, str | bool) for test in each):
            raise ValueError(f"expected for {name} a pattern, a list of patterns, true or false, got {value[name]!r}")
    return tests


def _each(check: Any) -> Any:
    """Run a check over every item of a list, keeping what it gives back."""
    return AfterValidator(lambda items: [check(item) for item in items])


def _header_table(values: dict[str, str]) -> dict[str, str]:
    for name, value in values.items():
        rule_table.edit("request-header", "set", name, value)
    return values


def _header_names(names: list[str]) -> list[str]:
    for name in names:
        rule_table.edit("request-header", "remove", name)
    return names


def _test_names(tests: dict[str, list[str | bool]]) -> dict[str, list[str | bool]]:
    for name in tests:
        rule_table.header_name(name)
    return tests


def _status_keys(values: dict[str, int]) -> dict[str, int]:
    for key, ms in values.items():
        rule_table.status_range(key)
        if not 0 <= ms <= _YEAR_MS:
            raise ValueError("expected durations of at most 365d")
    return values


Texts = Annotated[list[str], Field(min_length=1, max_length=1000), BeforeValidator(_listed)]
Statuses = Annotated[
    list[Annotated[Any, AfterValidator(rule_table.status_range)]],
    Field(min_length=1, max_length=100),
    BeforeValidator(_listed),
]
Tests = Annotated[
    dict[str, list[str | bool]], Field(max_length=100), BeforeValidator(_tests), AfterValidator(_test_names)
]
Headers = Annotated[dict[str, str], Field(max_length=100), AfterValidator(_header_table)]
HeaderNames = Annotated[Texts, AfterValidator(_header_names)]


class KeySettings(BaseModel):
    """What of a request takes part in the cache key, beside scheme, host and path."""

    model_config = _TABLE

    query: Literal["keep", "sort", "ignore"] | None = Field(
        None, description="The whole query: as it is, with its parameters sorted, or not at all."
    )
    query_allow: Texts | None = Field(None, description="Only these query parameters, sorted.")
    query_drop: Texts | None = Field(None, description="All query parameters but these, sorted.")
    headers: Annotated[Texts, _each(rule_table.header_name)] | None = Field(
        None, description="Request header fields whose values take part."
    )
    cookies: Annotated[Texts, _each(rule_table.cookie_name)] | None = Field(
        None, description="Cookies whose values take part."
    )
    body: bool | None = Field(
        None,
        description="Whether the body of POST and QUERY takes part, up to 64 KiB; their answers are then cached.",
    )

    @model_validator(mode="after")
    def _one_query_rule(self) -> Self:
        given = [name for name in ("query", "query_allow", "query_drop") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"expected one of query, query_allow and query_drop, got {' and '.join(given)}")
        if not given and self.headers is None and self.cookies is None and self.body is None:
            raise ValueError("expected one of query, query_allow, query_drop, headers, cookies and body")
        return self

    def actions(self) -> list[Action]:
        """The key's words of the table."""
        actions: list[Action] = []
        if self.query is not None:
            actions.append({"key-query": self.query})
        if self.query_allow is not None:
            actions.append({"key-query": {"allow": self.query_allow}})
        if self.query_drop is not None:
            actions.append({"key-query": {"drop": self.query_drop}})
        if self.headers is not None:
            actions.append({"key-headers": self.headers})
        if self.cookies is not None:
            actions.append({"key-cookies": self.cookies})
        if self.body is not None:
            actions.append({"key-body": self.body})
        return actions


class RuleSettings(BaseModel):
    """One rule: conditions, which must all hold, and what then happens."""

    model_config = _TABLE

    name: str | None = Field(None, min_length=1, max_length=200, description="Shown by explain and in messages.")

    path: Texts | None = Field(
        None, description="When the path matches: * is any run without a slash, ** any run, ? one character."
    )
    path_prefix: Texts | None = Field(None, description="When the path begins with one of these.")
    path_suffix: Texts | None = Field(None, description="When the path ends with one of these.")
    path_regex: Texts | None = Field(
        None, description="When one of these expressions is found in the path; anchor with ^ and $."
    )
    query: Texts | None = Field(None, description="When the query, without its question mark, matches; * is any run.")
    host: Texts | None = Field(
        None, description="When the host, with a port that is not the scheme's own, matches; * is any run."
    )
    method: Annotated[Texts, _each(rule_table.method)] | None = Field(
        None, description="When the method is one of these."
    )
    header: Tests | None = Field(
        None,
        description="When request header fields match: a pattern, a list of them, true (present) or false (absent).",
    )
    cookie: Tests | None = Field(None, description="When cookies match, as header does.")
    client: Annotated[Texts, _each(rule_table.network)] | None = Field(
        None, description="When the client's address lies in one of these networks."
    )
    status: Statuses | None = Field(
        None,
        description='When the origin answers with one of these statuses: 404, "200-299", "5xx".',
        json_schema_extra={"kind": "list of statuses"},
    )
    response_header: Tests | None = Field(None, description="When the origin's header fields match, as header does.")

    cache: Annotated[Literal["honour", "force", "bypass"], BeforeValidator(_cache_mode)] | None = Field(
        None,
        description='true: by the origin\'s words; false: neither read nor stored; "force": by ttl, whatever it says.',
        json_schema_extra={"kind": 'true, false or "force"'},
    )
    ttl_ms: int | None = Field(None, alias="ttl", ge=0, le=_YEAR_MS, description="How long an answer is fresh.")
    ttl_status_ms: Annotated[dict[str, int], AfterValidator(_status_keys)] | None = Field(
        None, alias="ttl_status", description='How long answers of a status are fresh: { "404" = "1m", "5xx" = "2s" }.'
    )
    grace_ms: int | None = Field(
        None,
        alias="grace",
        ge=0,
        le=_YEAR_MS,
        description="How long past its freshness an answer is served while a new one is fetched.",
    )
    stale_if_error_ms: int | None = Field(
        None,
        alias="stale_if_error",
        ge=0,
        le=_YEAR_MS,
        description="How long past its freshness an answer is served when the origin fails.",
    )
    key: KeySettings | None = Field(None, description="What takes part in the cache key.")
    languages: Annotated[Texts, _each(rule_table.language)] | None = Field(
        None,
        description="Accept-Language becomes the one of these that the client likes best, else the first.",
    )
    set_request_header: Headers | None = Field(None, description="Request header fields set towards the origin.")
    remove_request_header: HeaderNames | None = Field(None, description="Request header fields kept from the origin.")
    set_header: Headers | None = Field(None, description="Response header fields set towards the client.")
    add_header: Headers | None = Field(None, description="Response header fields added towards the client.")
    remove_header: HeaderNames | None = Field(None, description="Response header fields kept from the client.")
    redirect: Annotated[str, AfterValidator(rule_table.location)] | None = Field(
        None, description="Where the client is sent instead."
    )
    redirect_status: Literal[301, 302, 303, 307, 308] | None = Field(
        None, description="The status of the redirect; 302 when it is not given."
    )
    deny: int | None = Field(None, ge=400, le=599, description="The status that the client gets instead, such as 403.")
    origin: str | None = Field(None, description="The origin that is asked instead of the site's.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.redirect_status is not None and self.redirect is None:
            raise ValueError("redirect_status needs redirect")
        if self.redirect is not None and self.deny is not None:
            raise ValueError("expected one of redirect and deny, got both")
        actions = self._actions()
        if not actions:
            raise ValueError("the rule does nothing: expected an action such as cache, ttl, key, set_header or deny")
        rule_table.check_phase(self._condition(), actions)
        return self

    def compiled(self, place: str) -> Rule:
        """The rule of the table; `place` names it where it has no name of its own."""
        return Rule(name=self.name or place, when=self._condition(), then=tuple(self._actions()))

    def _condition(self) -> Condition:
        conditions: list[Condition] = []
        conditions += _any("path", self.path, rule_table.glob)
        conditions += _any("path", self.path_prefix, lambda text: {"prefix": text})
        conditions += _any("path", self.path_suffix, lambda text: {"suffix": text})
        conditions += _any("path", self.path_regex, lambda text: {"regex": text})
        conditions += _any("query", self.query, rule_table.pattern)
        conditions += _any("host", self.host, rule_table.pattern)
        conditions += [{"method": self.method}] if self.method else []
        conditions += _named("request-header", self.header)
        conditions += _named("cookie", self.cookie)
        conditions += [{"client": self.client}] if self.client else []
        conditions += [{"status": [list(pair) for pair in self.status]}] if self.status else []
        conditions += _named("response-header", self.response_header)
        return rule_table.all_of(conditions)

    def _actions(self) -> list[Action]:
        actions: list[Action] = []
        for word in ("ttl_ms", "grace_ms", "stale_if_error_ms", "cache", "origin"):
            value = getattr(self, word)
            actions += [{word.replace("_", "-"): value}] if value is not None else []
        for status, ms in (self.ttl_status_ms or {}).items():
            first, last = rule_table.status_range(status)
            actions.append({"ttl-status-ms": {"from": first, "to": last, "ms": ms}})
        actions += self.key.actions() if self.key else []
        actions += [{"languages": self.languages}] if self.languages else []
        actions += self._edits()
        if self.redirect is not None:
            actions.append({"redirect": {"status": self.redirect_status or 302, "location": self.redirect}})
        if self.deny is not None:
            actions.append({"deny": {"status": self.deny}})
        return actions

    def _edits(self) -> list[Action]:
        edits: list[Action] = []
        request, response = "request-header", "response-header"
        edits += [rule_table.edit(request, "remove", name) for name in self.remove_request_header or []]
        edits += [rule_table.edit(request, "set", *pair) for pair in (self.set_request_header or {}).items()]
        edits += [rule_table.edit(response, "remove", name) for name in self.remove_header or []]
        edits += [rule_table.edit(response, "set", *pair) for pair in (self.set_header or {}).items()]
        edits += [rule_table.edit(response, "add", *pair) for pair in (self.add_header or {}).items()]
        return edits


def _any(word: str, texts: list[str] | None, test: Any) -> list[Condition]:
    """One condition that holds when any of the texts matches; none without texts."""
    if not texts:
        return []
    return [_either([{word: test(text)} for text in texts])]


def _named(word: str, tests: dict[str, list[str | bool]] | None) -> list[Condition]:
    return [_either([_one_named(word, name, test) for test in each]) for name, each in (tests or {}).items()]


def _one_named(word: str, name: str, test: str | bool) -> Condition:
    if isinstance(test, bool):
        present = rule_table.named(word, name, "present")
        return present if test else {"not": present}
    return rule_table.named(word, name, rule_table.pattern(test))


def _either(conditions: list[Condition]) -> Condition:
    return conditions[0] if len(conditions) == 1 else {"any": conditions}
