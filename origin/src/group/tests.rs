#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use super::*;
use crate::settings::{
    Balance, ConcurrencySettings, DeadlineSettings, EjectionSettings, HashKey, HashSettings, HedgeSettings, Http2,
    RetrySettings, ServerSettings, TlsSettings, TlsVersion,
};

/// Settings of a plain group of the given servers, as a starting point for tests.
pub(crate) fn settings(urls: &[&str]) -> GroupSettings {
    GroupSettings {
        name: "app".into(),
        servers: urls
            .iter()
            .map(|&url| ServerSettings { url: url.into(), weight: 1, backup: false, priority: 0, zone: None })
            .collect(),
        balance: Balance::RoundRobin,
        hash: HashSettings { by: HashKey::Url, header: None, load_percent: 125 },
        sticky_cookie: None,
        slow_start_ms: 0,
        zone: None,
        tls: TlsSettings {
            ca_pem: None,
            server_name: None,
            verify: false,
            version_min: TlsVersion::V12,
            early_data: false,
            client_cert_pem: None,
            client_key_pem: None,
        },
        public_only: false,
        http2: Http2::Auto,
        deadlines: DeadlineSettings {
            connect_ms: 2_000,
            first_byte_ms: 10_000,
            between_bytes_ms: 10_000,
            total_ms: 60_000,
        },
        pool: PoolSettings {
            connections_max: 64,
            idle_max: 16,
            idle_ms: 30_000,
            lifetime_ms: 3_600_000,
            queue_max: 64,
            queue_ms: 1_000,
            warm: 0,
            warm_ms: 60_000,
        },
        ejection: EjectionSettings {
            failures: 2,
            base_ms: 1_000,
            max_percent: 50,
            error_percent: 50,
            latency_factor: 0,
        },
        retries: RetrySettings { attempts: 2, budget_percent: 20, statuses: vec![503] },
        hedge: HedgeSettings { percent: 0, delay_min_ms: 10 },
        concurrency: ConcurrencySettings { requests_max: 0, adaptive: false },
        response_header_bytes_max: 65_536,
        response_body_bytes_max: 0,
    }
}

/// The transport failed; whether the server is ejected by that.
fn fails(group: &Group, place: usize, now: Instant) -> bool {
    group.note(place, Showed::Failure, Duration::ZERO, now).is_some()
}

fn refusal(edit: impl FnOnce(&mut GroupSettings)) -> String {
    let mut settings = settings(&["http://10.0.0.1:80"]);
    edit(&mut settings);
    Group::compile(&settings, None).err().unwrap().field
}

#[test]
fn a_refusal_names_the_field() {
    assert_eq!(refusal(|s| s.servers.clear()), "servers");
    assert_eq!(refusal(|s| s.servers[0].url = "nonsense".into()), "servers[0].url");
    assert_eq!(refusal(|s| s.servers[0].weight = 0), "servers[0].weight");
    assert_eq!(refusal(|s| s.deadlines.connect_ms = 0), "deadlines.connect_ms");
    assert_eq!(refusal(|s| s.pool.lifetime_ms = u64::MAX), "pool.lifetime_ms");
    assert_eq!(refusal(|s| s.pool.connections_max = 0), "pool.connections_max");
    assert_eq!(refusal(|s| s.retries.attempts = 0), "retries.attempts");
    assert_eq!(refusal(|s| s.retries.budget_percent = 101), "retries.budget_percent");
    let secure = |s: &mut GroupSettings| s.servers[0].url = "https://10.0.0.1".into();
    let without_roots = |s: &mut GroupSettings| {
        secure(s);
        s.tls.verify = true;
        s.tls.ca_pem = Some("no certificate".into());
    };
    assert_eq!(refusal(without_roots), "tls.ca_pem");
    let without_key = |s: &mut GroupSettings| {
        secure(s);
        s.tls.client_cert_pem = Some(String::new());
    };
    assert_eq!(refusal(without_key), "tls.client_key_pem");
}

#[test]
fn a_reload_keeps_the_state_of_unchanged_servers_and_of_no_other() {
    let now = Instant::now();
    let before = Group::compile(&settings(&["http://10.0.0.1", "http://10.0.0.2"]), None).unwrap();
    assert!(!fails(&before, 0, now));
    assert!(fails(&before, 0, now));
    let load = before.begin(0);
    let mut changed = settings(&["http://10.0.0.3", "http://10.0.0.1"]);
    changed.servers[1].weight = 5;
    let after = Group::compile(&changed, Some(&before)).unwrap();
    let status = after.servers(now);
    assert!(!status[0].ejected && status[1].ejected);
    assert_eq!(status[1].in_flight, 1);
    drop(load);
    assert_eq!(after.servers(now)[1].in_flight, 0);

    let mut other = settings(&["http://10.0.0.1"]);
    other.http2 = Http2::PriorKnowledge;
    assert!(!Group::compile(&other, Some(&before)).unwrap().servers(now)[0].ejected, "another identity");
}

#[test]
fn a_reload_keeps_tls_sessions_while_the_identity_is_unchanged() {
    let before = Group::compile(&settings(&["https://a.example"]), None).unwrap();
    let after = Group::compile(&settings(&["https://a.example:8443"]), Some(&before)).unwrap();
    let tls = |group: &Group| group.servers[0].site.tls.clone().unwrap();
    assert!(Arc::ptr_eq(&tls(&before), &tls(&after)));
}

#[test]
fn whatever_differs_in_the_identity_no_connection_is_shared() {
    let certificate = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let (one, other) = (certificate("one.test"), certificate("other.test"));
    let base = || {
        let mut settings = settings(&["https://127.0.0.1"]);
        settings.tls.ca_pem = Some(one.cert.pem());
        settings.tls.client_cert_pem = Some(one.cert.pem());
        settings.tls.client_key_pem = Some(one.signing_key.serialize_pem());
        settings
    };
    let edits: [&dyn Fn(&mut GroupSettings); 9] = [
        &|s| s.servers[0].url = "https://127.0.0.2".into(),
        &|s| s.servers[0].url = "https://127.0.0.1:8443".into(),
        &|s| s.servers[0].url = "http://127.0.0.1:443".into(),
        &|s| s.tls.server_name = Some("name.test".into()),
        &|s| s.tls.verify = true,
        &|s| s.tls.version_min = TlsVersion::V13,
        &|s| s.tls.ca_pem = Some(other.cert.pem()),
        &|s| {
            s.tls.client_cert_pem = Some(other.cert.pem());
            s.tls.client_key_pem = Some(other.signing_key.serialize_pem());
        },
        &|s| s.http2 = Http2::Never,
    ];
    let endpoint = |settings: &GroupSettings| {
        let group = Group::compile(settings, None).unwrap();
        let server = group.server(0);
        server.endpoint(server.site.address.unwrap(), false).0
    };
    let shared = endpoint(&base());
    assert_eq!(endpoint(&base()), shared, "equal settings share, whoever wrote them");
    for (place, edit) in edits.iter().enumerate() {
        let mut settings = base();
        edit(&mut settings);
        assert_ne!(endpoint(&settings), shared, "edit {place}");
    }
}

#[test]
fn what_may_be_shared_follows_settings_and_experience() {
    let address = "127.0.0.1:443".parse().unwrap();
    let group = |url: &str, http2| {
        let mut settings = settings(&[url]);
        settings.http2 = http2;
        Group::compile(&settings, None).unwrap()
    };
    let secure = group("https://a.example", Http2::Auto);
    let server = secure.server(0);
    assert!(server.endpoint(address, false).1);
    assert!(!server.endpoint(address, true).1, "an upgrade needs a connection of its own");
    assert_ne!(server.endpoint(address, true).0, server.endpoint(address, false).0);
    server.state.speaks(Protocol::H1);
    assert!(!server.endpoint(address, false).1);
    server.state.speaks(Protocol::H2);
    assert!(server.endpoint(address, false).1);

    assert!(!group("https://a.example", Http2::Never).server(0).endpoint(address, false).1);
    assert!(!group("http://a.example", Http2::Auto).server(0).endpoint(address, false).1);
    let (endpoint, sharing) = group("http://a.example", Http2::PriorKnowledge).server(0).endpoint(address, false);
    assert!(sharing && endpoint.prior_knowledge);
}

#[test]
fn the_share_of_ejected_servers_stays_within_its_bound() {
    let now = Instant::now();
    let group = Group::compile(&settings(&["http://10.0.0.1", "http://10.0.0.2", "http://10.0.0.3"]), None).unwrap();
    let ejected: Vec<bool> = (0..3).flat_map(|place| [fails(&group, place, now), fails(&group, place, now)]).collect();
    assert_eq!(ejected.iter().filter(|&&ejected| ejected).count(), 1);
    assert!((0..20).all(|_| group.choose(&Tried::new(), Affinity::default(), now).unwrap().0 != 0));
    let later = now + Duration::from_secs(2);
    assert!(
        (0..3).any(|_| group.choose(&Tried::new(), Affinity::default(), later).unwrap().0 == 0),
        "it is tried again"
    );
}

fn group_of_three(edit: impl FnOnce(&mut GroupSettings)) -> Arc<Group> {
    let mut settings = settings(&["http://10.0.0.1", "http://10.0.0.2", "http://10.0.0.3"]);
    edit(&mut settings);
    Group::compile(&settings, None).unwrap()
}

#[test]
fn a_server_that_answers_with_errors_is_ejected_if_the_others_do_not() {
    const TIME: Duration = Duration::from_millis(2);
    let mut now = Instant::now();
    let group = group_of_three(|_| {});
    let mut cause = None;
    for _ in 0..6 {
        assert_eq!(group.note(1, Showed::Answer, TIME, now), None);
        assert_eq!(group.note(2, Showed::Answer, TIME, now), None);
        cause = cause.or(group.note(0, Showed::Error, TIME, now));
    }
    assert_eq!(cause, Some(Cause::Errors));
    // It comes back, and its first error is enough.
    now += Duration::from_secs(1);
    assert_eq!(group.note(0, Showed::Error, TIME, now), Some(Cause::Errors));
    now += Duration::from_secs(2);
    assert_eq!(group.note(0, Showed::Answer, TIME, now), None);
    assert_eq!(group.note(0, Showed::Error, TIME, now), None, "its probation was over");

    let broken_page = group_of_three(|_| {});
    for place in (0..30).map(|turn| turn % 3) {
        assert_eq!(broken_page.note(place, Showed::Error, TIME, now), None);
    }
}

#[test]
fn a_server_that_is_far_slower_than_the_others_is_ejected_where_that_is_wanted() {
    let now = Instant::now();
    for (factor, expected) in [(0, None), (4, Some(Cause::Latency))] {
        let group = group_of_three(|settings| settings.ejection.latency_factor = factor);
        let mut cause = None;
        for _ in 0..6 {
            group.note(1, Showed::Answer, Duration::from_millis(30), now);
            group.note(2, Showed::Answer, Duration::from_millis(30), now);
            cause = cause.or(group.note(0, Showed::Answer, Duration::from_millis(500), now));
        }
        assert_eq!(cause, expected);
    }
}

#[test]
fn checks_take_a_server_out_and_bring_it_back() {
    let now = Instant::now();
    let group = group_of_three(|_| {});
    assert!(group.checked("http://10.0.0.2", true, now));
    assert!(!group.checked("http://10.0.0.9", true, now));
    assert!(group.servers(now)[1].down);
    assert!((0..20).all(|_| group.choose(&Tried::new(), Affinity::default(), now).unwrap().0 != 1));
    // With two of three out, checks are not believed any more.
    group.checked("http://10.0.0.1", true, now);
    assert!((0..20).any(|_| group.choose(&Tried::new(), Affinity::default(), now).unwrap().0 == 1));
    group.checked("http://10.0.0.2", false, now);
    assert!((0..20).any(|_| group.choose(&Tried::new(), Affinity::default(), now).unwrap().0 == 1));
}

#[test]
fn a_server_that_has_enough_to_do_is_passed_over_and_when_all_have_the_request_is_refused() {
    let now = Instant::now();
    let group = group_of_three(|settings| settings.concurrency.requests_max = 2);
    let choose = || group.choose(&Tried::new(), Affinity::default(), now);
    let mut at_work: Vec<_> = (0..6).map(|_| choose().unwrap()).collect();
    let mut places: Vec<_> = at_work.iter().map(|(place, _)| *place).collect();
    places.sort_unstable();
    assert_eq!(places, [0, 0, 1, 1, 2, 2]);
    let error = choose().err().unwrap();
    assert_eq!((error.fault.clone(), error.is_overload()), (Fault::Overloaded, true));
    let (place, done) = at_work.swap_remove(3);
    drop(done);
    assert_eq!(choose().unwrap().0, place);
    assert_eq!(group.servers(now)[0].requests_max, 2);
}

#[test]
fn an_adaptive_bound_follows_what_the_server_can_do() {
    let now = Instant::now();
    let group = group_of_three(|settings| settings.concurrency.adaptive = true);
    let at_first = group.servers(now)[0].requests_max;
    for _ in 0..50 {
        group.note(0, Showed::Failure, Duration::from_secs(1), now);
    }
    assert!(group.servers(now)[0].requests_max < at_first);
    assert_eq!(group.servers(now)[1].requests_max, at_first);
}

#[test]
fn a_request_is_hedged_after_what_is_usual_for_its_server_and_within_a_budget() {
    let now = Instant::now();
    let hedged = group_of_three(|settings| settings.hedge.percent = 5);
    assert_eq!(hedged.hedges_after(0), None, "nothing is known yet");
    for _ in 0..40 {
        hedged.took(0, Duration::from_millis(40));
        hedged.took(1, Duration::from_micros(50));
    }
    assert!(hedged.hedges_after(0).unwrap() >= Duration::from_millis(40));
    assert_eq!(hedged.hedges_after(1), Some(Duration::from_millis(10)), "never sooner than the least");
    let second = || hedged.choose_second(0, &Tried::new(), now).map(|(place, _)| place);
    let seconds: Vec<_> = std::iter::from_fn(second).collect();
    assert!(seconds.len() == 10 && !seconds.contains(&0), "{seconds:?}");
    (0..20).for_each(|_| hedged.pay_in());
    assert!(second().is_some() && second().is_none(), "one in twenty");
}

#[test]
fn servers_that_lose_against_others_again_and_again_are_ejected() {
    let now = Instant::now();
    let group = group_of_three(|settings| settings.ejection.failures = 3);
    for _ in 0..5 {
        group.note(1, Showed::Answer, Duration::from_millis(2), now);
    }
    let lost: Vec<_> = (0..3).map(|_| group.note(0, Showed::Lost, Duration::from_millis(20), now)).collect();
    assert_eq!(lost, [None, None, Some(Cause::Latency)]);
}

#[test]
fn a_peak_of_requests_is_remembered_for_a_minute_at_least_and_two_at_most() {
    let group = Group::compile(&settings(&["http://a.example"]), None).unwrap();
    let state = &group.server(0).state;
    assert_eq!(state.wanted(9), 2, "one, and a spare one");
    let at_work: Vec<_> = (0..4).map(|_| group.begin(0)).collect();
    assert_eq!(state.wanted(9), 1, "four are busy, the spare one is idle");
    drop(at_work);
    assert_eq!((state.wanted(9), state.wanted(3)), (5, 3));
    let minutes = [60, 60].map(|looks| (0..looks).fold(0, |_, _| state.wanted(9)));
    assert_eq!(minutes, [5, 2]);
}
