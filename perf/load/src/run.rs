//! The open loop: requests fall due by the clock, whether or not the server keeps up.
//!
//! One thread does everything. The schedule is kept by a task that sleeps while the next request is far and turns over
//! (yielding, so that sockets are served at each turn) while it is near: the runtime's timer is good to a millisecond only.
//! With kept connections, due requests queue for the first free one (HTTP/1.1) or are spread evenly (HTTP/2); with new
//! connections each request opens its own, and the handshakes count.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::link::{Opener, client_config};
use crate::plan::{Door, Plan};
use crate::tally::{Job, Tally};
use crate::{closed, h1, h2 as http2, h3 as http3};

/// How long before a request is due the sleeping ends and the turning begins.
const NEAR: Duration = Duration::from_millis(2);

/// What all tasks share.
pub(crate) struct Shared {
    pub(crate) plan: Plan,
    opener: Opener,
    quic: Option<http3::Opener>,
    tail: String,
    tally: Mutex<Tally>,
    queue: Mutex<VecDeque<Job>>,
    queued: Semaphore,
}

impl Shared {
    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock()
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Job>> {
        self.queue.lock()
    }

    async fn open(&self) -> io::Result<crate::link::Link> {
        let (link, resumed) = self.opener.open().await?;
        self.opened(resumed);
        Ok(link)
    }

    async fn open_quic(&self) -> io::Result<http3::Sender> {
        let opener = self.quic.as_ref().expect("the door is HTTP/3's");
        let (sender, resumed) = opener.open().await?;
        self.opened(resumed);
        Ok(sender)
    }

    fn opened(&self, resumed: bool) {
        let mut tally = self.tally();
        tally.connections += 1;
        tally.resumed += u64::from(resumed);
    }
}

/// Load the server as planned and report; an error only when the connections cannot be opened at all.
pub(crate) async fn run(plan: Plan) -> io::Result<Value> {
    let shared = Arc::new(Shared {
        opener: Opener::new(&plan)?,
        quic: if plan.door == Door::H3 { Some(http3::Opener::new(&plan, client_config())?) } else { None },
        tail: h1::tail(&plan),
        tally: Mutex::default(),
        queue: Mutex::default(),
        queued: Semaphore::new(0),
        plan,
    });
    let mut tasks = JoinSet::new();
    let senders = if shared.plan.new_connections { Vec::new() } else { prepare(&shared, &mut tasks).await? };
    shared.tally().connections = 0;
    match shared.plan.streams {
        Some(streams) => closed::ask(&shared, &senders, streams, &mut tasks),
        None => keep_schedule(&shared, &senders, &mut tasks).await,
    }
    shared.queued.add_permits(shared.plan.connections); // one beyond the queue for each connection's task: its end
    let closed = shared.plan.streams.map_or(Duration::ZERO, |_| shared.plan.warm + shared.plan.counted);
    let drained =
        tokio::time::timeout(closed + shared.plan.drain, async { while tasks.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tasks.abort_all();
    }
    Ok(shared.tally().report(shared.plan.counted))
}

/// What carries many requests at once.
#[derive(Clone)]
pub(crate) enum Sender {
    H2(SendRequest<Bytes>),
    H3(http3::Sender),
}

/// Open the kept connections: for HTTP/1.1 one task each, for HTTP/2 and HTTP/3 the senders.
async fn prepare(shared: &Arc<Shared>, tasks: &mut JoinSet<()>) -> io::Result<Vec<Sender>> {
    let mut senders = Vec::new();
    for _ in 0..shared.plan.connections {
        if shared.plan.door == Door::H3 {
            senders.push(Sender::H3(shared.open_quic().await?));
            continue;
        }
        let link = shared.open().await?;
        if shared.plan.door == Door::H2 {
            senders.push(Sender::H2(http2::connect(link).await?));
        } else {
            tasks.spawn(keep_asking(shared.clone(), h1::Connection::new(link)));
        }
    }
    Ok(senders)
}

async fn keep_schedule(shared: &Arc<Shared>, senders: &[Sender], tasks: &mut JoinSet<()>) {
    let plan = &shared.plan;
    let start = Instant::now() + NEAR;
    let end = start + plan.warm + plan.counted;
    let mut arrivals =
        Arrivals { gap: 1.0 / plan.rate, random: plan.poisson.then_some(0x9E37_79B9_7F4A_7C15), at: 0.0 };
    for number in 0.. {
        let due = start + Duration::from_secs_f64(arrivals.next());
        if due >= end {
            return;
        }
        wait_until(due).await;
        let job = Job { due, number, counted: due >= start + plan.warm };
        shared.tally().started(job, Instant::now());
        if plan.new_connections {
            tasks.spawn(ask_anew(shared.clone(), job));
        } else if senders.is_empty() {
            shared.queue().push_back(job);
            shared.queued.add_permits(1);
        } else {
            let sender = senders[number as usize % senders.len()].clone();
            let asked = ask_multiplexed(shared.clone(), sender, job);
            tasks.spawn(async move {
                asked.await;
            });
        }
        while tasks.try_join_next().is_some() {}
    }
}

async fn wait_until(due: Instant) {
    let left = due.saturating_duration_since(Instant::now());
    if let Some(far) = left.checked_sub(NEAR) {
        tokio::time::sleep(far).await;
    }
    while Instant::now() < due {
        tokio::task::yield_now().await;
    }
}

/// One kept HTTP/1.1 connection: the next due request is taken whenever it is free; opened again when the server closed it.
async fn keep_asking(shared: Arc<Shared>, first: h1::Connection) {
    let mut connection = Some(first);
    while let Ok(permit) = shared.queued.acquire().await {
        permit.forget();
        let Some(job) = shared.queue().pop_front() else { return };
        let mut kept = match connection.take() {
            Some(kept) => kept,
            None => match shared.open().await {
                Ok(link) => h1::Connection::new(link),
                Err(error) => {
                    shared.tally().failed(job, &word(&error));
                    continue;
                }
            },
        };
        let mut result = kept.ask(&shared.plan, &shared.tail, job.number).await;
        if result.as_ref().is_err_and(closed_while_idle) {
            // RFC 9110 section 9.2.2: a GET that met the end of a kept connection is asked again, as browsers do.
            shared.tally().retried += 1;
            result = match shared.open().await {
                Ok(link) => {
                    kept = h1::Connection::new(link);
                    kept.ask(&shared.plan, &shared.tail, job.number).await
                }
                Err(error) => Err(error),
            };
        }
        if finish(&shared, job, result) {
            connection = Some(kept);
        }
    }
}

async fn ask_anew(shared: Arc<Shared>, job: Job) {
    let answer = async {
        if shared.plan.door == Door::H3 {
            return ask_anew_over_quic(&shared, job).await;
        }
        let link = shared.open().await?;
        if shared.plan.door == Door::H2 {
            return http2::ask(http2::connect(link).await?, &shared.plan, job.number).await;
        }
        h1::Connection::new(link).ask(&shared.plan, &shared.tail, job.number).await
    };
    finish(&shared, job, answer.await);
}

async fn ask_anew_over_quic(shared: &Shared, job: Job) -> io::Result<crate::tally::Answer> {
    let sender = match shared.open_quic().await {
        // The server gave the handshake up: asked again as browsers do, while the time of this request runs on.
        Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {
            shared.tally().retried += 1;
            shared.open_quic().await?
        }
        opened => opened?,
    };
    let answer = http3::ask(sender.clone(), &shared.plan, job.number).await;
    sender.close();
    answer
}

/// `true` when it was answered.
pub(crate) async fn ask_multiplexed(shared: Arc<Shared>, sender: Sender, job: Job) -> bool {
    let answer = match sender {
        Sender::H2(sender) => http2::ask(sender, &shared.plan, job.number).await,
        Sender::H3(sender) => http3::ask(sender, &shared.plan, job.number).await,
    };
    finish(&shared, job, answer)
}

/// Count one end; `true` when it was an answer.
fn finish(shared: &Shared, job: Job, result: io::Result<crate::tally::Answer>) -> bool {
    let mut tally = shared.tally();
    match result {
        Ok(answer) => {
            tally.answered(job, answer, shared.plan.bytes_of(job.number));
            true
        }
        Err(error) => {
            tally.failed(job, &word(&error));
            false
        }
    }
}

fn closed_while_idle(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotConnected | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

fn word(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::Other { error.to_string() } else { error.kind().to_string() }
}

/// Moments at which requests fall due, in seconds from the start: evenly, or as independent visitors would (Poisson).
struct Arrivals {
    gap: f64,
    random: Option<u64>,
    at: f64,
}

impl Arrivals {
    fn next(&mut self) -> f64 {
        let now = self.at;
        self.at += match &mut self.random {
            None => self.gap,
            Some(state) => -self.gap * (1.0 - uniform(state)).ln(),
        };
        now
    }
}

/// xorshift64*: the same arrivals in every run, since the seed is fixed.
fn uniform(state: &mut u64) -> f64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests;
