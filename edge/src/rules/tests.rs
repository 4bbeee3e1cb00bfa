#![allow(clippy::unwrap_used)]
use std::net::IpAddr;

use http::Method;

use super::*;

fn base() -> Policy {
    Policy {
        mode: Mode::Honour,
        ttl: None,
        ttl_by_status: Arc::new([]),
        grace: None,
        stale_if_error: None,
        object_bytes_max: 1 << 20,
        honour_client_directives: false,
    }
}

fn compile(json: &str) -> Result<Rules, String> {
    Rules::compile(&serde_json::from_str::<Vec<RuleSettings>>(json).unwrap(), &base())
}

fn view<'a>(target: &'a [u8], fields: &'a HeaderMap) -> RequestView<'a, HeaderMap> {
    RequestView { method: &Method::GET, host: b"a", target, fields, client: IpAddr::from([127, 0, 0, 1]) }
}

#[test]
fn later_rules_win_and_what_does_not_match_changes_nothing() {
    let rules = compile(
        r#"[{"name":"all","when":"always","then":[{"ttl-ms":60000},{"grace-ms":1500}]},
            {"name":"img","when":{"path":{"prefix":"/img/"}},"then":[{"ttl-ms":86400000},{"cache":"force"}]}]"#,
    )
    .unwrap();
    let fields = HeaderMap::new();
    let (img, verdict) = rules.decide(&view(b"/img/a", &fields));
    assert_eq!(verdict, None);
    let policy = img.policy.as_deref().unwrap();
    assert_eq!((policy.ttl, policy.mode), (Some(DeltaSeconds::saturating(86_400)), Mode::Force));
    assert_eq!(policy.grace, Some(DeltaSeconds::saturating(2)));
    assert_eq!(rules.names(&img).collect::<Vec<_>>(), ["all", "img"]);
    let (other, _) = rules.decide(&view(b"/other", &fields));
    assert_eq!(other.policy.unwrap().mode, Mode::Honour);
}

#[test]
fn a_redirect_ends_the_list() {
    let rules = compile(
        r#"[{"name":"r","when":{"path":{"equals":"/old"}},"then":[{"redirect":{"status":301,"location":"/new"}}]},
            {"name":"d","when":"always","then":[{"deny":{"status":403}}]}]"#,
    )
    .unwrap();
    let fields = HeaderMap::new();
    let verdict = |target| rules.decide(&view(target, &fields)).1;
    assert_eq!(verdict(b"/old"), Some(Verdict::Redirect { status: 301, location: "/new" }));
    assert_eq!(verdict(b"/x"), Some(Verdict::Deny { status: 403 }));
}

#[test]
fn rules_on_the_response_wait_for_it_and_may_not_touch_what_is_past() {
    let rules = compile(
        r#"[{"name":"e","when":{"status":[[404,404]]},"then":[{"ttl-status-ms":{"from":404,"to":404,"ms":5000}}]}]"#,
    )
    .unwrap();
    let fields = HeaderMap::new();
    let request = view(b"/", &fields);
    let (mut decided, _) = rules.decide(&request);
    assert!(decided.policy.is_none());
    rules.decide_on_response(&mut decided, &request, &ResponseView { status: 404, headers: &fields });
    assert_eq!(decided.policy.unwrap().ttl_for(404), Some(DeltaSeconds::saturating(5)));

    let error = compile(r#"[{"name":"site[0].rule[0]","when":{"status":[[404,404]]},"then":[{"origin":"b"}]}]"#);
    assert_eq!(error.unwrap_err(), "site[0].rule[0]: the origin cannot depend on the response");
}

#[test]
fn what_no_rule_may_do_is_refused_with_its_place() {
    for (then, word) in [
        (r#"{"response-header":{"set":{"name":"Content-Length","value":"1"}}}"#, "frames the message"),
        (r#"{"request-header":{"set":{"name":"a b","value":"1"}}}"#, "is no header name"),
        (r#"{"response-header":{"add":{"name":"x","value":"a\nb"}}}"#, "is no header value"),
        (r#"{"redirect":{"status":200,"location":"/"}}"#, "no status to redirect with"),
        (r#"{"deny":{"status":200}}"#, "no status to deny with"),
        (r#"{"key-headers":["a b"]}"#, "is no header name"),
    ] {
        let error = compile(&format!(r#"[{{"name":"r1","when":"always","then":[{then}]}}]"#)).unwrap_err();
        assert!(error.starts_with("r1: ") && error.contains(word), "{error}");
    }
}

#[test]
fn keys_and_edits_come_from_the_rules_that_matched() {
    let rules = compile(
        r#"[{"name":"k","when":"always","then":[{"key-query":{"drop":["utm_*"]}},{"key-headers":["Accept-Language"]},
             {"request-header":{"set":{"name":"X-A","value":"1"}}},{"response-header":{"remove":{"name":"Server"}}}]}]"#,
    )
    .unwrap();
    let fields = HeaderMap::new();
    let (decided, _) = rules.decide(&view(b"/", &fields));
    assert!(decided.policy.is_none(), "nothing about caching was said");
    assert!(matches!(rules.key_query(&decided), Some(QueryPolicy::Drop(_))));
    assert_eq!(rules.key_headers(&decided).collect::<Vec<_>>(), ["accept-language"]);
    let mut headers: HeaderMap = [(http::header::SERVER, HeaderValue::from_static("x"))].into_iter().collect();
    assert!(rules.edits_response(&decided));
    rules.edit_response(&decided, &mut headers);
    rules.edit_request(&decided, &mut headers);
    assert_eq!(headers.len(), 1);
    assert_eq!(headers["x-a"], "1");
}

#[test]
fn a_stored_response_is_judged_without_changing_what_was_decided_on_the_request() {
    let rules = compile(
        r#"[{"name":"missing","when":{"status":[[404,404]]},"then":[{"grace-ms":1000},
            {"response-header":{"set":{"name":"x-missing","value":"1"}}}]}]"#,
    )
    .unwrap();
    let fields = HeaderMap::new();
    let request = view(b"/", &fields);
    let (decided, _) = rules.decide(&request);
    let with = |status| rules.decided_with(&decided, &request, &ResponseView { status, headers: &fields });
    let missing = with(404);
    assert!(rules.edits_response(&missing) && missing.policy(&base()).grace.is_some());
    assert!(!rules.edits_response(&with(200)) && !rules.edits_response(&decided));
}

#[test]
fn a_lifetime_holds_for_errors_only_where_its_rule_asks_for_their_status() {
    let rules = compile(
        r#"[{"name":"any","when":{"response-header":{"name":"x","test":"present"}},"then":[{"ttl-ms":1000}]},
            {"name":"some","when":{"all":[{"status":[[200,404]]},{"path":{"prefix":"/"}}]},"then":[{"ttl-ms":2000}]},
            {"name":"last","when":{"response-header":{"name":"x","test":"present"}},"then":[{"ttl-ms":3000}]}]"#,
    )
    .unwrap();
    let (fields, answered) =
        (HeaderMap::new(), HeaderMap::from_iter([(HeaderName::from_static("x"), "1".parse().unwrap())]));
    let view = view(b"/", &fields);
    let ttl = |status| {
        let (mut decided, _) = rules.decide(&view);
        rules.decide_on_response(&mut decided, &view, &ResponseView { status, headers: &answered });
        decided.policy.unwrap().ttl_for(status)
    };
    assert_eq!(ttl(200), Some(DeltaSeconds::saturating(3)), "the last word");
    assert_eq!(ttl(404), Some(DeltaSeconds::saturating(2)));
    assert_eq!(ttl(503), None);
}
