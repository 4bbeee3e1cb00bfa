//! A site's ordered list of rules, compiled from the snapshot: what VCL is to Varnish, as a table.
//!
//! Rules that look only at the request are applied when it is routed; those that look at the response as well are
//! applied when its head arrives, and may then still change caching and response headers. Later rules win over
//! earlier ones; a redirect or a refusal ends the list.

use std::borrow::Cow;
use std::sync::Arc;

use headland_cache::policy::{Mode, Policy};
use headland_cache::target::{QueryPolicy, apply_query};
use headland_cache::{DeltaSeconds, Fields, language};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use smallvec::SmallVec;

use crate::condition::{RequestView, ResponseView, Test, cookie};
use crate::edited::Edited;
use crate::settings::{Action, CacheMode, HeaderEdit, QuerySettings, RuleSettings};

/// How many rules one request remembers as matched; more are applied but not remembered inline.
const MATCHED_INLINE: usize = 8;

/// One compiled rule.
#[derive(Debug)]
pub struct Rule {
    pub name: Box<str>,
    test: Test,
    needs_response: bool,
    actions: Box<[Act]>,
    /// The site's policy as this rule alone changes it, made once: most requests meet one rule that does.
    policy: Option<Arc<Policy>>,
}

/// One compiled action.
#[derive(Debug)]
enum Act {
    Mode(Mode),
    Ttl(DeltaSeconds),
    TtlStatus(u16, u16, DeltaSeconds),
    Grace(DeltaSeconds),
    StaleIfError(DeltaSeconds),
    KeyQuery(QueryPolicy),
    KeyHeaders(Box<[Box<str>]>),
    /// Each name as it is written, and as its part of the key is called.
    KeyCookies(Box<[(Box<str>, Box<str>)]>),
    KeyBody(bool),
    Languages(Box<[Box<str>]>),
    RequestHeader(Edit),
    ResponseHeader(Edit),
    Redirect(u16, Box<str>),
    Deny(u16),
    Origin(Box<str>),
}

/// An edit of one header field.
#[derive(Debug, Clone)]
pub enum Edit {
    Set(HeaderName, HeaderValue),
    Add(HeaderName, HeaderValue),
    Remove(HeaderName),
}

impl Edit {
    pub fn apply(&self, headers: &mut HeaderMap) {
        match self {
            Edit::Set(name, value) => drop(headers.insert(name, value.clone())),
            Edit::Add(name, value) => drop(headers.append(name, value.clone())),
            Edit::Remove(name) => drop(headers.remove(name)),
        }
    }
}

/// What ends the list of rules before the cache is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'r> {
    Redirect { status: u16, location: &'r str },
    Deny { status: u16 },
}

/// What the rules decided for one request. Empty decisions allocate nothing.
#[derive(Debug, Default, Clone)]
pub struct Decided {
    /// The policy, when a rule changed the site's own.
    pub policy: Option<Arc<Policy>>,
    /// Numbers of the rules that matched, in order.
    matched: SmallVec<[u16; MATCHED_INLINE]>,
}

/// All rules of one site.
#[derive(Debug, Default)]
pub struct Rules {
    list: Box<[Rule]>,
    any_needs_response: bool,
    any_request_edit: bool,
    any_response_edit: bool,
    any_key_body: bool,
}

impl Decided {
    /// The policy that holds, where `base` is the site's own.
    pub fn policy<'p>(&'p self, base: &'p Policy) -> &'p Policy {
        self.policy.as_deref().unwrap_or(base)
    }
}

impl Rules {
    /// Compiles a list for a site whose own policy is `base`; the error is one sentence that begins with the rule's name.
    pub fn compile(settings: &[RuleSettings], base: &Policy) -> Result<Self, String> {
        let rules: Box<[Rule]> = settings
            .iter()
            .map(|rule| Rule::compile(rule, base).map_err(|why| format!("{}: {why}", rule.name)))
            .collect::<Result<_, _>>()?;
        if rules.len() > usize::from(u16::MAX) {
            return Err(format!("more than {} rules", u16::MAX));
        }
        let any_needs_response = rules.iter().any(|rule| rule.needs_response);
        let any = |is: fn(&Act) -> bool| rules.iter().any(|rule| rule.actions.iter().any(is));
        let any_request_edit = any(Act::edits_request);
        let any_response_edit = any(|act| matches!(act, Act::ResponseHeader(_)));
        let any_key_body = any(|act| matches!(act, Act::KeyBody(_)));
        Ok(Rules { list: rules, any_needs_response, any_request_edit, any_response_edit, any_key_body })
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Applies the rules that look only at the request.
    pub fn decide<F: Fields>(&self, view: &RequestView<'_, F>) -> (Decided, Option<Verdict<'_>>) {
        let mut decided = Decided::default();
        for (number, rule) in self.list.iter().enumerate() {
            if rule.needs_response || !rule.test.holds(view, None::<&ResponseView<'_>>) {
                continue;
            }
            decided.matched.push(number as u16);
            if let Some(verdict) = rule.apply(&mut decided.policy) {
                return (decided, Some(verdict));
            }
        }
        (decided, None)
    }

    /// Applies the rules that look at the response, after [`Rules::decide`].
    pub fn decide_on_response<F: Fields, R: Fields>(
        &self,
        decided: &mut Decided,
        view: &RequestView<'_, F>,
        response: &ResponseView<'_, R>,
    ) {
        if !self.any_needs_response {
            return;
        }
        for (number, rule) in self.list.iter().enumerate() {
            if rule.needs_response && rule.test.holds(view, Some(response)) {
                decided.matched.push(number as u16);
                rule.apply(&mut decided.policy);
            }
        }
    }

    /// The same for a response that is not the request's last word, such as a stored one: what was decided on the request
    /// alone is kept for the next response.
    pub fn decided_with<'d, F: Fields, R: Fields>(
        &self,
        decided: &'d Decided,
        view: &RequestView<'_, F>,
        response: &ResponseView<'_, R>,
    ) -> Cow<'d, Decided> {
        let mut decided = Cow::Borrowed(decided);
        if self.any_needs_response {
            self.decide_on_response(decided.to_mut(), view, response);
        }
        decided
    }

    /// The names of the rules that matched.
    pub fn names<'r>(&'r self, decided: &'r Decided) -> impl Iterator<Item = &'r str> {
        self.matched(decided).map(|rule| &*rule.name)
    }

    fn matched<'r>(&'r self, decided: &'r Decided) -> impl Iterator<Item = &'r Rule> {
        decided.matched.iter().map(|number| &self.list[usize::from(*number)])
    }

    fn acts<'r>(&'r self, decided: &'r Decided) -> impl Iterator<Item = &'r Act> {
        self.matched(decided).flat_map(|rule| rule.actions.iter())
    }

    /// The query's part of the key, by the last rule that names it.
    pub fn key_query<'r>(&'r self, decided: &'r Decided) -> Option<&'r QueryPolicy> {
        self.acts(decided).filter_map(|act| if let Act::KeyQuery(it) = act { Some(it) } else { None }).last()
    }

    /// A canonical target as the rules key it.
    pub fn keyed(&self, decided: &Decided, target: &[u8]) -> Vec<u8> {
        let mut target = target.to_vec();
        if let Some(query) = self.key_query(decided) {
            apply_query(&mut target, query);
        }
        target
    }

    /// Request header fields that take part in the key, in the order of the rules.
    fn key_headers<'r>(&'r self, decided: &'r Decided) -> impl Iterator<Item = &'r str> {
        self.acts(decided)
            .filter_map(|act| if let Act::KeyHeaders(it) = act { Some(it) } else { None })
            .flat_map(|names| names.iter().map(|name| &**name))
    }

    /// Cookies that take part in the key: their names, and what their parts are called.
    fn key_cookies<'r>(&'r self, decided: &'r Decided) -> impl Iterator<Item = (&'r str, &'r str)> {
        self.acts(decided)
            .filter_map(|act| if let Act::KeyCookies(it) = act { Some(it) } else { None })
            .flat_map(|names| names.iter().map(|(name, part)| (&**name, &**part)))
    }

    /// The parts of the key that rules take from the fields of a request, in the order of the rules: headers, then cookies.
    pub fn key_parts<'r, F: Fields>(
        &'r self,
        decided: &'r Decided,
        fields: &'r F,
    ) -> impl Iterator<Item = (&'r str, Option<&'r [u8]>)> {
        let headers = self.key_headers(decided).map(|name| (name, fields.first(name)));
        headers.chain(self.key_cookies(decided).map(|(name, part)| (part, cookie(fields, name))))
    }

    /// The origin that a rule chose instead of the site's.
    pub fn origin<'r>(&'r self, decided: &'r Decided) -> Option<&'r str> {
        self.acts(decided).filter_map(|act| if let Act::Origin(it) = act { Some(&**it) } else { None }).last()
    }

    /// The names of all origins that rules may choose.
    pub fn origins(&self) -> impl Iterator<Item = &str> {
        self.list.iter().flat_map(|rule| rule.actions.iter()).filter_map(|act| match act {
            Act::Origin(name) => Some(&**name),
            _ => None,
        })
    }

    /// Whether the request's header needs editing at all.
    pub fn edits_request(&self, decided: &Decided) -> bool {
        self.any_request_edit && self.acts(decided).any(Act::edits_request)
    }

    pub fn edit_request(&self, decided: &Decided, headers: &mut HeaderMap) {
        for act in self.acts(decided) {
            match act {
                Act::RequestHeader(edit) => edit.apply(headers),
                Act::Languages(offered) => {
                    let best = language::best(offered, headers.named("accept-language"));
                    if let Ok(value) = HeaderValue::from_str(best) {
                        headers.insert(header::ACCEPT_LANGUAGE, value);
                    }
                }
                _ => {}
            }
        }
    }

    /// The request's fields as [`Rules::edit_request`] leaves them, without a copy.
    pub fn edited<'r, F: Fields>(&'r self, decided: &'r Decided, fields: &'r F) -> Edited<'r, F> {
        let mut edited = Edited::new(fields);
        if !self.any_request_edit {
            return edited;
        }
        for act in self.acts(decided) {
            match act {
                Act::RequestHeader(Edit::Set(name, value)) => edited.set(name.as_str(), value.as_bytes()),
                Act::RequestHeader(Edit::Add(name, value)) => edited.add(name.as_str(), value.as_bytes()),
                Act::RequestHeader(Edit::Remove(name)) => edited.remove(name.as_str()),
                Act::Languages(offered) => {
                    let best = language::best(offered, edited.named("accept-language"));
                    edited.set("accept-language", best.as_bytes());
                }
                _ => {}
            }
        }
        edited
    }

    /// Whether the request's body is part of its key.
    pub fn keys_body(&self, decided: &Decided) -> bool {
        let last =
            || self.acts(decided).filter_map(|act| if let Act::KeyBody(it) = act { Some(*it) } else { None }).last();
        self.any_key_body && last().unwrap_or(false)
    }

    /// Whether the answer's header needs editing at all.
    pub fn edits_response(&self, decided: &Decided) -> bool {
        self.any_response_edit && self.acts(decided).any(|act| matches!(act, Act::ResponseHeader(_)))
    }

    pub fn edit_response(&self, decided: &Decided, headers: &mut HeaderMap) {
        for act in self.acts(decided) {
            if let Act::ResponseHeader(edit) = act {
                edit.apply(headers);
            }
        }
    }
}

impl Rule {
    fn compile(settings: &RuleSettings, base: &Policy) -> Result<Self, String> {
        let test = Test::compile(&settings.when)?;
        let needs_response = test.needs_response();
        let mut actions: Vec<Act> = settings.then.iter().map(Act::compile).collect::<Result<_, _>>()?;
        // A lifetime is not meant for errors, unless its rule asks for their status.
        let ttl = actions.iter().find_map(|act| if let Act::Ttl(ttl) = act { Some(*ttl) } else { None });
        if let Some((ttl, statuses)) = ttl.zip(test.statuses()) {
            let errors = statuses.iter().filter(|(_, to)| *to >= 400);
            actions.extend(errors.map(|(from, to)| Act::TtlStatus(*from.max(&400), *to, ttl)));
        }
        if needs_response && let Some(act) = actions.iter().find(|act| !act.possible_on_response()) {
            return Err(format!("{} cannot depend on the response", act.what()));
        }
        let policy = actions.iter().any(Act::changes_policy).then(|| {
            let mut policy = base.clone();
            for act in &actions {
                act.change(&mut policy);
            }
            Arc::new(policy)
        });
        Ok(Rule { name: settings.name.as_str().into(), test, needs_response, actions: actions.into(), policy })
    }

    /// Changes the policy, or ends the list.
    fn apply(&self, policy: &mut Option<Arc<Policy>>) -> Option<Verdict<'_>> {
        match (policy.as_mut(), &self.policy) {
            (_, None) => {}
            (None, alone) => policy.clone_from(alone),
            (Some(before), _) => {
                let policy = Arc::make_mut(before);
                for act in &self.actions {
                    act.change(policy);
                }
            }
        }
        self.actions.iter().find_map(|act| match act {
            Act::Redirect(status, location) => Some(Verdict::Redirect { status: *status, location }),
            Act::Deny(status) => Some(Verdict::Deny { status: *status }),
            _ => None,
        })
    }
}

impl Act {
    fn compile(action: &Action) -> Result<Self, String> {
        Ok(match action {
            Action::Cache(CacheMode::Honour) => Act::Mode(Mode::Honour),
            Action::Cache(CacheMode::Force) => Act::Mode(Mode::Force),
            Action::Cache(CacheMode::Bypass) => Act::Mode(Mode::Bypass),
            Action::TtlMs(ms) => Act::Ttl(seconds(*ms)),
            Action::TtlStatusMs { from, to, ms } => Act::TtlStatus(*from, *to, seconds(*ms)),
            Action::GraceMs(ms) => Act::Grace(seconds(*ms)),
            Action::StaleIfErrorMs(ms) => Act::StaleIfError(seconds(*ms)),
            Action::KeyQuery(query) => Act::KeyQuery(query_policy(query)),
            Action::KeyHeaders(names) => Act::KeyHeaders(names.iter().map(|n| lower(n)).collect::<Result<_, _>>()?),
            // No header field has a colon in its name: a cookie's part cannot be taken for a field's.
            Action::KeyCookies(names) => Act::KeyCookies(
                names.iter().map(|name| (name.as_str().into(), format!("cookie:{name}").into())).collect(),
            ),
            Action::KeyBody(keyed) => Act::KeyBody(*keyed),
            Action::Languages(names) if names.is_empty() => return Err("no language is named".to_owned()),
            Action::Languages(names) => Act::Languages(names.iter().map(|name| name.as_str().into()).collect()),
            Action::RequestHeader(edit) => Act::RequestHeader(compile_edit(edit)?),
            Action::ResponseHeader(edit) => Act::ResponseHeader(compile_edit(edit)?),
            Action::Redirect { status, location } => Act::Redirect(redirect_status(*status)?, location.as_str().into()),
            Action::Deny { status } if (400..600).contains(status) => Act::Deny(*status),
            Action::Deny { status } => return Err(format!("{status} is no status to deny with (400 to 599)")),
            Action::Origin(name) => Act::Origin(name.as_str().into()),
        })
    }

    fn edits_request(&self) -> bool {
        matches!(self, Act::RequestHeader(_) | Act::Languages(_))
    }

    fn changes_policy(&self) -> bool {
        matches!(self, Act::Mode(_) | Act::Ttl(_) | Act::TtlStatus(..) | Act::Grace(_) | Act::StaleIfError(_))
    }

    fn possible_on_response(&self) -> bool {
        self.changes_policy() || matches!(self, Act::ResponseHeader(_))
    }

    fn change(&self, policy: &mut Policy) {
        match self {
            Act::Mode(mode) => policy.mode = *mode,
            Act::Ttl(ttl) => policy.ttl = Some(*ttl),
            Act::TtlStatus(from, to, ttl) => {
                let mut table = policy.ttl_by_status.to_vec();
                table.insert(0, (*from..=*to, *ttl));
                policy.ttl_by_status = Arc::from(table);
            }
            Act::Grace(grace) => policy.grace = Some(*grace),
            Act::StaleIfError(window) => policy.stale_if_error = Some(*window),
            _ => {}
        }
    }

    fn what(&self) -> &'static str {
        match self {
            Act::KeyQuery(_) | Act::KeyHeaders(_) | Act::KeyCookies(_) | Act::KeyBody(_) => "the cache key",
            Act::RequestHeader(_) | Act::Languages(_) => "a request header",
            Act::Redirect(..) => "a redirect",
            Act::Deny(_) => "a refusal",
            Act::Origin(_) => "the origin",
            _ => "the action",
        }
    }
}

fn seconds(ms: u64) -> DeltaSeconds {
    DeltaSeconds::saturating(ms.div_ceil(1000))
}

fn query_policy(query: &QuerySettings) -> QueryPolicy {
    let names = |list: &[String]| list.iter().map(|name| name.as_bytes().into()).collect();
    match query {
        QuerySettings::Keep => QueryPolicy::Keep,
        QuerySettings::Sort => QueryPolicy::Sort,
        QuerySettings::Ignore => QueryPolicy::Ignore,
        QuerySettings::Allow(list) => QueryPolicy::Allow(names(list)),
        QuerySettings::Drop(list) => QueryPolicy::Drop(names(list)),
    }
}

fn redirect_status(status: u16) -> Result<u16, String> {
    matches!(status, 301 | 302 | 303 | 307 | 308)
        .then_some(status)
        .ok_or_else(|| format!("{status} is no status to redirect with (301, 302, 303, 307, 308)"))
}

fn lower(name: &str) -> Result<Box<str>, String> {
    HeaderName::from_bytes(name.as_bytes())
        .map(|name| name.as_str().into())
        .map_err(|_| format!("\"{name}\" is no header name"))
}

/// Fields that frame or route a message, which no rule may touch.
const UNTOUCHABLE: [&str; 8] =
    ["connection", "content-length", "transfer-encoding", "upgrade", "keep-alive", "te", "trailer", "proxy-connection"];

fn compile_edit(edit: &HeaderEdit) -> Result<Edit, String> {
    let name = |name: &str| match HeaderName::from_bytes(name.as_bytes()) {
        Ok(name) if UNTOUCHABLE.contains(&name.as_str()) => {
            Err(format!("\"{name}\" frames the message; no rule may touch it"))
        }
        Ok(name) => Ok(name),
        Err(_) => Err(format!("\"{name}\" is no header name")),
    };
    let value = |value: &str| HeaderValue::from_str(value).map_err(|_| format!("{value:?} is no header value"));
    Ok(match edit {
        HeaderEdit::Set { name: n, value: v } => Edit::Set(name(n)?, value(v)?),
        HeaderEdit::Add { name: n, value: v } => Edit::Add(name(n)?, value(v)?),
        HeaderEdit::Remove { name: n } => Edit::Remove(name(n)?),
    })
}

#[cfg(test)]
mod tests;
