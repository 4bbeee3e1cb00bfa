//! POST and QUERY as questions: where a rule says that the answer depends on the body alone, the body takes part in the
//! key, and the answer is stored like that of a GET (RFC 9110 section 9.3.3, with the rule's word for it that nothing
//! is changed by asking).
//!
//! The body is read before anything is looked up, so it is bounded and must declare its length; any other is passed
//! through. A digest stands for it in the key: SHA-256, because a client must not be able to make two bodies alike. The
//! target's own key is not touched, so a GET never gets an answer to a POST.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::{Bytes, BytesMut};
use headland_cache::{CacheKey, KeyBuffer};
use headland_origin::{BodyFault, RequestBody};
use http::StatusCode;
use http_body_util::{BodyExt, Full};

use crate::answer::{Answer, ErrorTrace};
use crate::fetching;
use crate::forward::OwnedLines;
use crate::node::Node;
use crate::plan::Plan;

/// The longest body that is keyed, in bytes.
pub const KEYED_BODY_BYTES_MAX: u64 = 64 << 10;

/// A whole body, to be sent as often as the origin is asked.
pub fn whole(body: &Bytes) -> RequestBody {
    let length = Some(body.len() as u64);
    let full = Full::new(body.clone()).map_err(|never| match never {});
    RequestBody::Stream { body: full.boxed_unsync(), length }
}

/// Answers a request whose body is part of its key.
pub async fn answer<F: OwnedLines + Clone + Send + Sync + 'static>(
    node: &Arc<Node>,
    mut plan: Box<Plan<F>>,
    body: RequestBody,
) -> Answer {
    let body = match body {
        RequestBody::Empty => Bytes::new(),
        RequestBody::Stream { body, length: Some(length) } if length <= KEYED_BODY_BYTES_MAX => {
            match read(body, length).await {
                Ok(body) => body,
                Err(fault) => return unreadable(&fault),
            }
        }
        other => return fetching::pass(node, plan, other).await,
    };
    let key: CacheKey = key_of(&plan, &body).key().into();
    plan.posted = Some(body);
    plan.key = Some(key.clone());
    let found = node.find(key.as_ref(), &plan.varied());
    plan.outcome = plan.outcome_of(node, &key, found);
    fetching::go_on(node, plan, &key).await
}

/// The whole of a body that declared this length; its reader holds it to that.
async fn read(
    mut body: http_body_util::combinators::UnsyncBoxBody<Bytes, BodyFault>,
    length: u64,
) -> Result<Bytes, BodyFault> {
    let mut whole = BytesMut::with_capacity(length as usize);
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            whole.extend_from_slice(&data);
        }
        if whole.len() as u64 > length {
            return Err(BodyFault::TooLarge);
        }
    }
    if whole.len() as u64 == length { Ok(whole.freeze()) } else { Err(BodyFault::TooShort) }
}

/// The client's body could not be read: its own fault, and said so.
fn unreadable(fault: &BodyFault) -> Answer {
    let status = fetching::body_status(fault);
    let mut answer = Answer::error(status, "the request body could not be read");
    answer.trace.error =
        Some(Box::new(ErrorTrace { error: "http_request_error", cause: format!("request body: {fault:?}").into() }));
    answer.close = status == StatusCode::BAD_REQUEST;
    answer
}

/// The key of the target with the method, the body and its type as further parts.
fn key_of<F: OwnedLines>(plan: &Plan<F>, body: &[u8]) -> KeyBuffer {
    let mut key = KeyBuffer::new();
    key.begin(plan.scheme, &plan.host, &plan.target);
    for (name, value) in plan.site.rules.key_parts(&plan.decided, &plan.fields) {
        key.part(name.as_bytes(), value);
    }
    key.part(b":method", Some(plan.method.as_str().as_bytes()));
    key.part(b":type", plan.fields.first("content-type"));
    key.part(b":body", Some(digest(&SHA256, body).as_ref()));
    key
}
