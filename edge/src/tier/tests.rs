//! How long the start takes, and what the index takes in memory.
#![allow(clippy::unwrap_used)]

use headland_cache::disk::Stopwatch;
use headland_cache::policy::Mode;
use headland_cache::{Admission, Epoch, KeyBuffer, Policy, Scheme, StoredHead, Tags, Time, VaryFacts, admit};
use http::{HeaderMap, HeaderValue, Method};

use super::*;

const COUNT: u32 = 1_000_000;
const NOW: Time = Time::from_secs(1_800_000_000);

fn object(number: u32, like: &Parts) -> Arc<Object> {
    let mut key = KeyBuffer::default();
    key.begin(Scheme::Https, b"www.example.com", format!("/objects/{number}").as_bytes());
    Arc::new(Object::new(Parts { key: key.key().into(), ..like.clone() }))
}

fn like() -> Parts {
    let mut lines = HeaderMap::new();
    lines.insert("cache-control", HeaderValue::from_static("max-age=600"));
    let request = HeaderMap::new();
    let facts = RequestFacts::gather(&Method::GET, &request);
    let policy = Policy {
        mode: Mode::Honour,
        ttl: None,
        ttl_by_status: Arc::new([]),
        grace: None,
        stale_if_error: None,
        object_bytes_max: 1 << 20,
        honour_client_directives: true,
    };
    let admitted = admit(&facts, &policy, 200, &lines, NOW, NOW).unwrap();
    let mut key = KeyBuffer::default();
    key.begin(Scheme::Https, b"www.example.com", b"/");
    Parts {
        key: key.key().into(),
        head: StoredHead::from_lines(200, [(&b"content-type"[..], &b"text/plain"[..])]).unwrap(),
        body: Body::copy_of(&[b'x'; 1000]),
        trailers: None,
        freshness: admitted.freshness,
        vary: VaryFacts::default(),
        tags: Tags::default(),
        born: Epoch(0),
        generation: 0,
    }
}

/// By hand: `cargo test --release -p headland-edge million_objects -- --ignored --nocapture`.
#[test]
#[ignore = "it writes a gigabyte, and tells how long the start takes after that"]
fn the_start_with_a_million_objects() {
    let path = std::env::temp_dir().join(format!("headland-million-{}", std::process::id()));
    let begun = Instant::now();
    let stopwatch: Stopwatch = Arc::new(move || begun.elapsed().as_micros() as u64);
    let surroundings =
        Surroundings { stopwatch, now: Arc::new(|| NOW), is_worth_keeping: Arc::new(|_| true), tell: Arc::new(|_| ()) };
    let limits = DiskLimits {
        segment_bytes: 64 << 20,
        write_bytes_per_s: None,
        keeps_page_cache: true,
        readers: 1,
        index_bytes_max: 1 << 30,
    };
    let volumes = [VolumeSettings { path: path.clone(), size_bytes: 64 << 30 }];
    let open = |path: &std::path::Path| {
        let begun = Instant::now();
        let volumes = [VolumeSettings { path: path.to_owned(), ..volumes[0].clone() }];
        let tier = DiskTier::open(&volumes, limits, &surroundings).unwrap();
        let last = object(COUNT - 1, &like());
        let found = tier.read(last.key.as_ref(), |_| true, Patience::Waits).unwrap();
        let report = tier.report().next().unwrap();
        println!("{} records, {} bytes of index, {:?}", report.records, report.index_bytes, begun.elapsed());
        (tier, found.is_some())
    };
    let (tier, _) = open(&path);
    for number in 0..COUNT {
        tier.stored(&object(number, &like()), Admission::Always);
        if number % 10_000 == 0 {
            tier.settle();
        }
    }
    tier.settle();
    // As a kill leaves it: the last segment was not closed.
    let killed = path.with_extension("killed");
    std::fs::create_dir_all(&killed).unwrap();
    for file in std::fs::read_dir(&path).unwrap() {
        let file = file.unwrap();
        if file.file_name() == "lock" {
            continue;
        }
        std::fs::hard_link(file.path(), killed.join(file.file_name())).unwrap();
    }
    let (of_killed, found) = open(&killed);
    assert!(found);
    of_killed.close(CLOSE_WITHIN);
    drop(of_killed);
    tier.close(CLOSE_WITHIN);
    drop(tier);
    assert!(open(&path).1);
    std::fs::remove_dir_all(&path).unwrap();
    std::fs::remove_dir_all(&killed).unwrap();
}
