//! What operators ask of the disk tier, of a running node or of its files: how full, how old, whole, and away with it.
//!
//! Everything here waits for the disk, and is for threads that may.

use std::collections::BTreeMap;

use headland_cache::disk::inspect::{Entry, Handle, Verdict};
use headland_cache::disk::{DiskTier, VolumeReport};
use headland_cache::target::canonical_url;
use headland_cache::{CacheKey, KeyBuffer, Scheme, Time};
use serde::Deserialize;
use serde_json::{Value, json};

/// Upper bounds of the classes of ages, in seconds; what is older is in one more.
const AGES_S: [u64; 7] = [60, 600, 3_600, 21_600, 86_400, 604_800, 2_592_000];
/// Upper bounds of the classes of sizes, in bytes; what is larger is in one more.
const SIZES: [u64; 8] = [1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20];

/// What is asked; a document of the control side.
#[derive(Debug, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Question {
    Stat,
    Verify,
    List { host: Option<String>, limit: usize },
    Evict(Eviction),
}

/// Whom it is asked of.
pub struct Inspector<'n> {
    pub disk: &'n DiskTier,
    pub now: Time,
    /// The name of the site of a host.
    pub site_of: &'n dyn Fn(&[u8]) -> String,
    /// Removes what is stored under a key.
    pub forget: &'n dyn Fn(&CacheKey),
}

impl Inspector<'_> {
    /// The answer, as a document; the error is one sentence.
    pub fn answer(&self, question: &Question) -> Result<Value, String> {
        let Inspector { disk, now, site_of, forget } = *self;
        disk.settle();
        Ok(match question {
            Question::Stat => stat(disk, now, site_of),
            Question::Verify => verify(disk),
            Question::List { host, limit } => list(disk, host.as_deref(), *limit, now),
            Question::Evict(which) => evict(disk, which, now, forget)?,
        })
    }
}

/// Which responses are to go; what is empty or false names none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Eviction {
    /// Absolute, canonical for their sites.
    pub urls: Vec<String>,
    pub hosts: Vec<String>,
    /// What has gone stale.
    pub expired: bool,
    pub all: bool,
}

/// Responses and their bytes.
#[derive(Debug, Default, Clone, Copy)]
struct Amount {
    records: u64,
    bytes: u64,
}

impl Amount {
    fn add(&mut self, bytes: u64) {
        self.records += 1;
        self.bytes += bytes;
    }

    fn json(self) -> Value {
        json!({"records": self.records, "bytes": self.bytes})
    }
}

/// How full the disks are: with what sizes and ages, of which sites.
fn stat(disk: &DiskTier, now: Time, site_of: &dyn Fn(&[u8]) -> String) -> Value {
    let mut sites: BTreeMap<String, Amount> = BTreeMap::new();
    let mut sizes = [Amount::default(); SIZES.len() + 1];
    let mut ages = [Amount::default(); AGES_S.len() + 1];
    let mut expired = Amount::default();
    disk.visit(&mut |_, entry| {
        let site = entry.host.map_or_else(|| "?".to_owned(), site_of);
        sites.entry(site).or_default().add(entry.bytes);
        sizes[SIZES.partition_point(|bound| *bound < entry.bytes)].add(entry.bytes);
        if let Some(written) = entry.written {
            let age_s = now.millis_since(written) / 1000;
            ages[AGES_S.partition_point(|bound| *bound < age_s)].add(entry.bytes);
        }
        if is_expired(entry, now) {
            expired.add(entry.bytes);
        }
        true
    });
    let classes = |bounds: &[u64], amounts: &[Amount]| -> Vec<Value> {
        let bounds = bounds.iter().map(|bound| json!(bound)).chain([Value::Null]);
        bounds
            .zip(amounts)
            .map(|(bound, amount)| json!({"up_to": bound, "records": amount.records, "bytes": amount.bytes}))
            .collect()
    };
    json!({
        "disks": disk.report().map(|report| volume(&report)).collect::<Vec<_>>(),
        "sites": sites.iter().map(|(site, amount)| (site.clone(), amount.json())).collect::<serde_json::Map<_, _>>(),
        "sizes": classes(&SIZES, &sizes),
        "ages_s": classes(&AGES_S, &ages),
        "expired": expired.json(),
    })
}

fn volume(report: &VolumeReport<'_>) -> Value {
    json!({
        "path": report.path,
        "records": report.records,
        "bytes": report.bytes,
        "capacity_bytes": report.capacity_bytes,
        "index_bytes": report.index_bytes,
        "is_written": report.is_written,
        "is_read": report.is_read,
    })
}

fn is_expired(entry: &Entry<'_>, now: Time) -> bool {
    entry.expires_s.is_some_and(|expires_s| u64::from(expires_s) <= now.as_secs())
}

/// Reads every record, and counts what is bad; that is dropped.
fn verify(disk: &DiskTier) -> Value {
    let (mut whole, mut damaged, mut unreadable) = (Amount::default(), 0_u64, 0_u64);
    disk.visit(&mut |handle, entry| {
        match handle.read(entry) {
            Verdict::Whole(_) => whole.add(entry.bytes),
            Verdict::Damaged => damaged += 1,
            Verdict::Unreadable => unreadable += 1,
            Verdict::Gone => {}
        }
        true
    });
    json!({"records": whole.records, "bytes": whole.bytes, "damaged": damaged, "unreadable": unreadable})
}

/// The first responses of a host, or of all.
fn list(disk: &DiskTier, host: Option<&str>, limit: usize, now: Time) -> Value {
    let mut listed = Vec::new();
    disk.visit(&mut |handle, entry| {
        let is_asked = host.is_none_or(|host| entry.host.is_none_or(|known| known == host.as_bytes()));
        if is_asked && let Some(found) = handle.head(entry) {
            let key = found.object.key.as_ref();
            if host.is_none_or(|host| key.host() == host.as_bytes()) {
                listed.push(json!({
                    "url": url_of(&found.object.key),
                    "status": found.object.head.status(),
                    "body_bytes": found.length(),
                    "disk_bytes": entry.bytes,
                    "age_s": found.object.freshness.age(now),
                    "ttl_s": found.object.freshness.ttl(now),
                    "vary": found.object.vary.spec().names().len(),
                }));
            }
        }
        listed.len() < limit
    });
    json!({"records": listed})
}

/// Drops responses; `forget` is told the key of each, and removes it.
fn evict(disk: &DiskTier, which: &Eviction, now: Time, forget: &dyn Fn(&CacheKey)) -> Result<Value, String> {
    let mut gone = Amount::default();
    let mut urls = Vec::new();
    for url in &which.urls {
        let parsed = canonical_url(url).map_err(|error| format!("{url}: {error}"))?;
        urls.push((parsed.scheme, parsed.host.into_bytes(), parsed.target.into_bytes()));
    }
    let is_named = |scheme: Scheme, host: &[u8], target: &[u8]| {
        which.hosts.iter().any(|named| named.as_bytes() == host)
            || urls.iter().any(|(s, h, t)| *s == scheme && h == host && t == target)
    };
    disk.visit(&mut |handle: &Handle<'_>, entry| {
        let is_due = which.all || (which.expired && is_expired(entry, now));
        let may_be_named = !is_due && (!which.hosts.is_empty() || !urls.is_empty());
        if !is_due && !may_be_named {
            return true;
        }
        if let Some(found) = handle.head(entry) {
            let key = found.object.key.as_ref();
            if is_due || is_named(key.scheme(), key.host(), key.target()) {
                forget(&found.object.key);
                gone.add(entry.bytes);
            }
        }
        true
    });
    // What memory alone has of a URL goes as well.
    let mut key = KeyBuffer::default();
    for (scheme, host, target) in &urls {
        key.begin(*scheme, host, target);
        forget(&key.key().into());
    }
    disk.settle();
    Ok(gone.json())
}

fn url_of(key: &CacheKey) -> String {
    let key = key.as_ref();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!("{}://{}{}", key.scheme().word(), text(key.host()), text(key.target()))
}
