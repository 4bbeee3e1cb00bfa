#![allow(clippy::unwrap_used)]
use super::*;

fn record<'a>(target: &'a [u8], agent: &'a [u8]) -> Record<'a> {
    Record {
        time_ms: 971_186_136_250,
        client: std::net::IpAddr::from([192, 0, 2, 7]),
        method: "GET",
        host: b"example.com",
        target,
        version: "HTTP/1.1",
        status: 200,
        bytes: 1024,
        duration_us: 250,
        ttfb_us: 120,
        referer: b"",
        user_agent: agent,
        request_id: b"r1",
        outcome: "hit",
        reason: None,
        age_s: Some(3),
        key_hash: Some(0xabc),
        collapsed: false,
        origin: None,
        origin_ttfb_us: None,
        origin_reused: None,
        error: None,
        complete: true,
    }
}

#[test]
fn a_combined_line_is_what_log_readers_expect() {
    let mut line = Vec::new();
    record(b"/a\"b\n", b"agent\xff").write(LogFormat::Combined, &mut line);
    let expected = r#"192.0.2.7 - - [10/Oct/2000:13:55:36 +0000] "GET /a\x22b\x0A HTTP/1.1" 200 1024 "-" "agent\xFF""#;
    assert_eq!(String::from_utf8(line).unwrap(), expected);
}

#[test]
fn a_json_line_stays_valid_whatever_the_client_sent() {
    for hostile in [&b"\"}\r\n{\x1b[31m\\"[..], b"\xff\xfe\x00", "\u{1F600} ${jndi:ldap}".as_bytes(), b""] {
        let mut line = Vec::new();
        record(hostile, hostile).write(LogFormat::Json, &mut line);
        assert!(line.iter().all(|b| (0x20..0x7f).contains(b)), "{line:?}");
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(value["status"], 200);
        assert_eq!(value["key"], "00000000000000000000000000000abc");
    }
}

#[test]
fn lines_reach_the_file_in_order_and_closing_waits_for_them() {
    let path = std::env::temp_dir().join(format!("headland-log-{}", std::process::id()));
    let settings = LogSettings { format: LogFormat::Json, path: path.to_str().unwrap().to_owned(), tls_keys: None };
    let log = AccessLog::open(&settings).unwrap();
    for n in 0..1000 {
        log.write(|out| out.extend_from_slice(format!("{n}").as_bytes()));
    }
    drop(log);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(text.lines().map(|l| l.parse::<u32>().unwrap()).collect::<Vec<_>>(), (0..1000).collect::<Vec<_>>());
}

#[test]
fn a_path_that_cannot_be_opened_is_an_error() {
    let settings = LogSettings { format: LogFormat::Json, path: "/nonexistent/dir/log".to_owned(), tls_keys: None };
    assert!(AccessLog::open(&settings).is_err());
}
