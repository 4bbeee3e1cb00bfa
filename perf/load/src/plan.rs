//! What is to be asked, how often and over what: the command line.
//!
//! Flags are `--name value`; every one that has no default must be there. `--header` may be repeated.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

pub(crate) const USAGE: &str = "headland-load --address IP:PORT --path PATH --rate PER_SECOND --seconds S
  [--streams N]            closed loop, no --rate: so many requests always under way on each kept connection (h2, h3)
  [--door h1|tls|h2|h3]    HTTP/1.1, the same over TLS, HTTP/2 over TLS, HTTP/3 (h1)
  [--mode reuse|new]       over kept connections, or a new one (and handshake) for every request (reuse)
  [--connections N]        kept connections (32)
  [--resume yes|no]        whether new TLS connections may resume a session (no)
  [--early yes|no]         whether requests go with the first flight of a resumed HTTP/3 connection (no)
  [--arrivals even|poisson] (even)
  [--warm S]               load before the counted part, not recorded (0)
  [--drain S]              how long to wait for the last answers (10)
  [--host NAME] [--header 'Name: value']...
  [--unique yes|no]        append a number to the path, another one for every request (no)
  [--first N]              that number of the first request (0)
  [--bytes N]              length that every body must have
  [--list FILE]            instead of --path: a line 'PATH BYTES [User-Agent]' for every request, from line --first on
  [--count-header NAME]    count the values of this response header";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    H1,
    Tls,
    H2,
    H3,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    pub(crate) door: Door,
    pub(crate) new_connections: bool,
    pub(crate) connections: usize,
    pub(crate) resume: bool,
    /// Requests go as early data (RFC 9001 section 4.6) where a session allows it.
    pub(crate) early: bool,
    pub(crate) poisson: bool,
    pub(crate) rate: f64,
    /// Requests always under way on each connection: a closed loop. Nothing: an open loop at `rate`.
    pub(crate) streams: Option<usize>,
    pub(crate) warm: Duration,
    pub(crate) counted: Duration,
    pub(crate) drain: Duration,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) unique: bool,
    pub(crate) first: u64,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) bytes: Option<u64>,
    pub(crate) list: Vec<Line>,
    pub(crate) count_header: Option<String>,
}

/// One request of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    path: String,
    bytes: u64,
    agent: Option<String>,
}

/// A command line that cannot be followed, in words for the person who wrote it.
#[derive(Debug)]
pub(crate) struct PlanError(String);

impl fmt::Display for PlanError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}\n{USAGE}", self.0)
    }
}

#[derive(Default)]
struct Flags {
    single: Vec<(String, String)>,
    headers: Vec<(String, String)>,
}

impl Flags {
    fn gather(mut words: impl Iterator<Item = String>) -> Result<Self, PlanError> {
        let mut flags = Self::default();
        while let Some(word) = words.next() {
            let Some(name) = word.strip_prefix("--") else { return Err(PlanError(format!("unexpected word {word}"))) };
            let value = words.next().ok_or_else(|| PlanError(format!("--{name} has no value")))?;
            if name == "header" {
                let pair = value.split_once(": ").ok_or_else(|| PlanError(format!("no 'Name: value': {value}")))?;
                flags.headers.push((pair.0.to_owned(), pair.1.to_owned()));
            } else {
                flags.single.push((name.to_owned(), value));
            }
        }
        Ok(flags)
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let place = self.single.iter().position(|(found, _)| found == name)?;
        Some(self.single.swap_remove(place).1)
    }

    fn required(&mut self, name: &str) -> Result<String, PlanError> {
        self.take(name).ok_or_else(|| PlanError(format!("--{name} is missing")))
    }

    /// One of two words; `true` for the second.
    fn choice(&mut self, name: &str, words: [&str; 2], default: bool) -> Result<bool, PlanError> {
        match self.take(name) {
            None => Ok(default),
            Some(word) if word == words[0] => Ok(false),
            Some(word) if word == words[1] => Ok(true),
            Some(word) => Err(PlanError(format!("--{name} is {} or {}, not {word}", words[0], words[1]))),
        }
    }
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, PlanError> {
    text.parse().map_err(|_| PlanError(format!("--{name}: {text} is no such number or address")))
}

fn seconds(flags: &mut Flags, name: &str, default: f64) -> Result<Duration, PlanError> {
    let value: f64 = flags.take(name).map_or(Ok(default), |text| number(name, &text))?;
    Duration::try_from_secs_f64(value).map_err(|_| PlanError(format!("--{name}: {value} is no duration")))
}

fn read_list(path: &str) -> Result<Vec<Line>, PlanError> {
    let text = std::fs::read_to_string(path).map_err(|error| PlanError(format!("--list: {path}: {error}")))?;
    text.lines().map(read_line).collect()
}

fn read_line(line: &str) -> Result<Line, PlanError> {
    let mut words = line.splitn(3, ' ');
    let (Some(path), Some(bytes)) = (words.next(), words.next()) else {
        return Err(PlanError(format!("--list: no 'PATH BYTES': {line}")));
    };
    Ok(Line { path: path.to_owned(), bytes: number("list", bytes)?, agent: words.next().map(str::to_owned) })
}

impl Plan {
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Self, PlanError> {
        let mut flags = Flags::gather(words)?;
        let door = match flags.take("door").as_deref() {
            None | Some("h1") => Door::H1,
            Some("tls") => Door::Tls,
            Some("h2") => Door::H2,
            Some("h3") => Door::H3,
            Some(word) => return Err(PlanError(format!("--door is h1, tls, h2 or h3, not {word}"))),
        };
        let streams = flags.take("streams").map(|text| number("streams", &text)).transpose()?;
        let rate = match streams {
            Some(_) => 0.0,
            None => number("rate", &flags.required("rate")?)?,
        };
        let plan = Self {
            address: number("address", &flags.required("address")?)?,
            door,
            streams,
            rate,
            new_connections: flags.choice("mode", ["reuse", "new"], false)?,
            connections: flags.take("connections").map_or(Ok(32), |text| number("connections", &text))?,
            resume: flags.choice("resume", ["no", "yes"], false)?,
            early: flags.choice("early", ["no", "yes"], false)?,
            poisson: flags.choice("arrivals", ["even", "poisson"], false)?,
            warm: seconds(&mut flags, "warm", 0.0)?,
            counted: Duration::from_secs_f64(number::<f64>("seconds", &flags.required("seconds")?)?.max(0.0)),
            drain: seconds(&mut flags, "drain", 10.0)?,
            host: flags.take("host").unwrap_or_else(|| "www.example.com".to_owned()),
            list: flags.take("list").map_or(Ok(Vec::new()), |path| read_list(&path))?,
            path: flags.take("path").unwrap_or_default(),
            unique: flags.choice("unique", ["no", "yes"], false)?,
            first: flags.take("first").map_or(Ok(0), |text| number("first", &text))?,
            headers: std::mem::take(&mut flags.headers),
            bytes: flags.take("bytes").map(|text| number("bytes", &text)).transpose()?,
            count_header: flags.take("count-header").map(|name| name.to_ascii_lowercase()),
        };
        if let Some((name, _)) = flags.single.first() {
            return Err(PlanError(format!("there is no --{name}")));
        }
        let paced = plan.streams.map_or(plan.rate > 0.0 && plan.rate.is_finite(), |streams| streams > 0);
        if !paced || plan.connections == 0 {
            return Err(PlanError("--rate, --streams and --connections must be above nothing".to_owned()));
        }
        if plan.streams.is_some() && (plan.new_connections || !matches!(plan.door, Door::H2 | Door::H3)) {
            return Err(PlanError("--streams is for kept connections of HTTP/2 and HTTP/3".to_owned()));
        }
        if plan.early && (!plan.resume || plan.door != Door::H3) {
            return Err(PlanError("--early is for resumed connections of HTTP/3".to_owned()));
        }
        if plan.path.is_empty() == plan.list.is_empty() {
            return Err(PlanError("one of --path and --list must be there, and say something".to_owned()));
        }
        Ok(plan)
    }

    /// The path of one request; a list that ends begins again.
    pub(crate) fn path_of(&self, number: u64) -> Cow<'_, str> {
        match self.line(number) {
            Some(line) => Cow::Borrowed(&line.path),
            None if self.unique => Cow::Owned(format!("{}{}", self.path, self.first + number)),
            None => Cow::Borrowed(&self.path),
        }
    }

    /// The length that its body must have, where it is known.
    pub(crate) fn bytes_of(&self, number: u64) -> Option<u64> {
        self.line(number).map(|line| line.bytes).or(self.bytes)
    }

    /// The User-Agent that a list gives it.
    pub(crate) fn agent_of(&self, number: u64) -> Option<&str> {
        self.line(number).and_then(|line| line.agent.as_deref())
    }

    fn line(&self, number: u64) -> Option<&Line> {
        let lines = self.list.len().max(1) as u64;
        self.list.get(((self.first + number) % lines) as usize)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(line: &str) -> Result<Plan, PlanError> {
        Plan::parse(line.split(' ').map(|word| word.replace('_', " ")))
    }

    #[test]
    fn a_whole_line_is_read() {
        let plan = parse(
            "--address 127.0.0.1:80 --path /x --rate 2.5 --seconds 3 --door h2 --mode new --header A:_b --unique yes",
        )
        .unwrap();
        assert_eq!((plan.door, plan.new_connections, plan.rate), (Door::H2, true, 2.5));
        assert_eq!(plan.headers, [("A".to_owned(), "b".to_owned())]);
        assert_eq!(plan.path_of(7), "/x7");
    }

    #[test]
    fn a_list_says_path_and_length_of_every_request_and_begins_again() {
        let mut plan = parse("--address 127.0.0.1:80 --path /x --rate 1 --seconds 1 --bytes 9 --first 1").unwrap();
        assert_eq!((plan.path_of(5).as_ref(), plan.bytes_of(5)), ("/x", Some(9)));
        plan.list = ["/a 1", "/b 2 An agent/1 (x)"].map(|line| read_line(line).unwrap()).to_vec();
        let asked: Vec<_> = (0..3).map(|number| (plan.path_of(number).into_owned(), plan.bytes_of(number))).collect();
        assert_eq!(asked, [("/b".to_owned(), Some(2)), ("/a".to_owned(), Some(1)), ("/b".to_owned(), Some(2))]);
        assert_eq!([plan.agent_of(0), plan.agent_of(1)], [Some("An agent/1 (x)"), None]);
    }

    #[test]
    fn what_is_missing_unknown_or_impossible_is_named() {
        let base = "--address 127.0.0.1:80 --path /x --seconds 3";
        for (line, word) in [
            (base.to_owned(), "--rate is missing"),
            (format!("{base} --rate 0"), "above nothing"),
            (format!("{base} --streams 0 --door h2"), "above nothing"),
            (format!("{base} --streams 5"), "HTTP/2 and HTTP/3"),
            (format!("{base} --streams 5 --door h3 --mode new"), "kept connections"),
            (format!("{base} --streams 5 --door h3 --rate 5"), "no --rate"),
            (format!("{base} --rate 5 --door h3 --early yes"), "resumed connections"),
            (format!("{base} --rate 5 --dor h1"), "no --dor"),
            (format!("{base} --rate 5 --door h9"), "h1, tls, h2 or h3"),
            (format!("{base} --rate"), "has no value"),
            (format!("{base} --rate 5 --list /no/such"), "--list: /no/such"),
            ("--address 127.0.0.1:80 --seconds 3 --rate 5".to_owned(), "one of --path and --list"),
        ] {
            assert!(parse(&line).unwrap_err().to_string().contains(word), "{line}");
        }
    }
}
