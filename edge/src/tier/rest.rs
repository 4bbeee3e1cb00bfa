//! The rest of a body of which the disk has lost a piece, after a part of it was sent: the origin is asked for it.
//!
//! Only what is known to be the same representation is joined. A strong validator tells that of a range (RFC 9110 section
//! 14.2, RFC 9111 section 3.4). Where there is none, or no range comes by it, the whole is fetched once more, and the
//! checksums that the disk kept tell it of every piece ([`Proof`](headland_cache::disk::Proof)). Where the origin has
//! something else by now, the client sees a broken transfer. Nothing of it is stored: the damaged record is dropped already, and the
//! next request is a miss.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use headland_cache::conditional::Validators;
use headland_cache::disk::{DiskBody, Unlike};
use headland_cache::object::Parts;
use headland_cache::partial::StrongValidator;
use headland_cache::{Body, Object};
use headland_origin::{RequestBody, ResponseBody};
use http_body::Body as _;

use crate::connection::content::Piece;
use crate::forward::{OwnedLines, Purpose};
use crate::node::Node;
use crate::partial::{Fetch, Version, pace};
use crate::pipe::{self, Sender};
use crate::plan::Plan;

/// How the bytes from one place up to another are had elsewhere.
pub type Rest = Box<dyn FnOnce(u64, u64) -> pipe::Reader + Send>;

/// What is known of the body.
struct Lost<F> {
    node: Arc<Node>,
    plan: Box<Plan<F>>,
    object: Arc<Object>,
    body: Arc<DiskBody>,
}

/// None where nobody can be asked for the same once more.
pub fn of<F: OwnedLines + Clone + Send + Sync + 'static>(
    node: &Arc<Node>,
    plan: Box<Plan<F>>,
    object: Arc<Object>,
    body: Arc<DiskBody>,
) -> Option<Rest> {
    if plan.posted.is_some() {
        return None;
    }
    let lost = Lost { node: node.clone(), plan, object, body };
    Some(Box::new(move |at, end| {
        let (sender, reader) = pipe::channel();
        lost.node.metrics.here().resumed.bump();
        tokio::spawn(async move {
            tokio::select! {
                () = lost.send(at..end, &sender) => {}
                () = sender.is_unwanted() => {}
            }
        });
        reader
    }))
}

impl<F: OwnedLines + Clone + Send + Sync + 'static> Lost<F> {
    /// Sends the bytes; without an end where they do not come, which breaks the transfer.
    async fn send(mut self, bytes: Range<u64>, pipe: &Sender) {
        let mut at = bytes.start;
        if self.has_strong_validator() {
            at = self.send_validated(at..bytes.end, pipe).await;
        }
        if at < bytes.end {
            at = self.send_proven(at..bytes.end, pipe).await;
        }
        if at == bytes.end {
            pipe.send(Piece::End).await;
        }
    }

    fn has_strong_validator(&self) -> bool {
        StrongValidator::of(&Validators::of(&self.object.head), self.object.freshness.response_time()).is_some()
    }

    async fn send_validated(&self, bytes: Range<u64>, pipe: &Sender) -> u64 {
        let whole = Object::new(Parts { body: Body::apart(self.body.len()), ..self.object.parts().clone() });
        let version = Version::new(Arc::new(whole));
        let (_, leash) = pace();
        let fetch = Fetch { node: self.node.clone(), plan: self.plan.clone(), version, leash };
        fetch.send(bytes, pipe).await
    }

    /// Sends what the whole brings of these bytes, as far as it is what was stored; how far that is.
    async fn send_proven(&mut self, bytes: Range<u64>, pipe: &Sender) -> u64 {
        let mut sent = bytes.start;
        let mut proof = self.body.proof(sent);
        let Some(mut whole) = self.ask_for_whole().await else { return sent };
        while sent < bytes.end {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut whole).poll_frame(cx)).await;
            let Some(Ok(mut data)) = frame.and_then(|frame| Some(frame.ok()?.into_data())) else { break };
            self.node.metrics.here().origin_bytes.add(data.len() as u64);
            loop {
                let (at, piece) = match proof.take(&mut data) {
                    Ok(Some(proven)) => proven,
                    Ok(None) => break,
                    Err(Unlike) => return sent,
                };
                let end = (at + piece.len() as u64).min(bytes.end);
                if sent >= end || !pipe.send(Piece::Data(piece.slice((sent - at) as usize..(end - at) as usize))).await
                {
                    return sent;
                }
                sent = end;
            }
        }
        sent
    }

    /// Asks without conditions; an answer that cannot be the same is none.
    async fn ask_for_whole(&mut self) -> Option<ResponseBody> {
        self.plan.stored = None;
        let request = self.plan.request(Purpose::Fill, RequestBody::Empty);
        let response = self.node.client.fetch(self.plan.group(), request, None).await.ok()?;
        self.node.metrics.here().origin_ttfb.record(response.first_byte_micros);
        let may_be_the_same = response.status.as_u16() == self.object.head.status()
            && response.length.is_none_or(|length| length == self.body.len());
        may_be_the_same.then_some(response.body)
    }
}
