//! Answers in another content coding than the stored one: compressed for those who can read it, uncompressed for those
//! who cannot ([`headland_cache::recoding`] says which).
//!
//! What is stored is one representation, as the origin sent it. A form of it is made once, by one coder, and shared like
//! a fill: it has the key of the original and the form's name, whoever wants it meanwhile follows, and it is stored when
//! it is whole. It belongs to one version of the body: a form is served only while the original that it was made of
//! would be, so purges, expiry and validation are decided on the original alone. What may not be stored is coded for
//! its one client.

use std::sync::Arc;

use bytes::Bytes;
use headland_cache::object::Parts;
use headland_cache::recoding::{is_replaced, recoded_head, weakened};
use headland_cache::{
    Broken, CacheKey, Fields, FillHead, Form, Join, KeyBuffer, Lead, Object, Outcome, RecodingRules, RequestFacts,
    Time, VaryFacts,
};
use http::{HeaderMap, HeaderValue, Method, header};

use crate::answer::{Answer, Content, Head};
use crate::connection::content::Source;
use crate::deliver;
use crate::node::Node;
use crate::pipe;
use workshop::{Bench, Done, Sink};

mod coder;
mod piped;
mod workshop;

pub use workshop::Workshop;

/// What a form takes over from a stored object.
pub fn head_of(object: &Object, outcome: Outcome) -> FillHead {
    FillHead {
        head: object.head.clone(),
        freshness: object.freshness.clone(),
        vary: VaryFacts::default(),
        tags: object.tags.clone(),
        length: Some(object.body.len()),
        outcome,
        born: object.born,
        object_bytes_max: u64::MAX,
        generation: object.generation,
    }
}

/// The form of a stored object, where it was made already.
pub fn made(node: &Node, object: &Object, form: Form) -> Option<Arc<Object>> {
    let key = form_key(&object.key, form);
    let known = node.store.candidates(key.as_ref()).into_iter().find(|made| made.generation == object.generation)?;
    let same_head = known.freshness.response_time() == object.freshness.response_time() && known.born == object.born;
    if same_head {
        return Some(known);
    }
    // The original was confirmed since: the form gets its new head, and keeps its body.
    let renewed = Object::new(Parts {
        head: recoded_head(&object.head, form).ok()?,
        freshness: object.freshness.clone(),
        tags: object.tags.clone(),
        born: object.born,
        ..known.parts().clone()
    });
    let renewed = Arc::new(renewed);
    node.store.insert(renewed.clone());
    Some(renewed)
}

/// An answer from a form that was made already.
pub fn stored(original: &Object, made: &Object, facts: &RequestFacts<'_>, outcome: Outcome, now: Time) -> Answer {
    let mut answer = deliver::stored(made, facts, outcome, now);
    answer.trace.key_hash = Some(original.key.hash());
    answer
}

/// Whether an answer is its head alone, so that nothing has to be made for it.
pub fn is_head_alone(answer: &Answer) -> bool {
    matches!(answer.content, Content::Empty)
}

/// The answer to HEAD, or a 304, as the form would have it.
pub fn head_alone(mut answer: Answer, form: Form) -> Answer {
    answer.edit(|headers| recode_fields(headers, form));
    answer.length = None;
    answer
}

/// An answer from the original becomes one in another form: made now, or followed while somebody else makes it. Where
/// that cannot be, it stays as it is.
pub async fn shared(
    node: &Arc<Node>,
    key: &CacheKey,
    original: FillHead,
    form: Form,
    mut answer: Answer,
    facts: &RequestFacts<'_>,
    now: Time,
) -> Answer {
    if is_head_alone(&answer) {
        return head_alone(answer, form);
    }
    let key = form_key(key, form);
    let mut recoded = match node.collapse.join(key.as_ref(), original.generation) {
        Join::Crowded => return answer,
        Join::Follow(mut follower) => match follower.head().await {
            Err(_) => return answer,
            Ok(head) => deliver::filling(&head, follower.into_reader(), facts, answer.trace.outcome, now),
        },
        Join::Lead(lead) => {
            let Some((bench, head)) = begin(node, original, form) else {
                lead.found();
                return answer;
            };
            let reader = lead.follow().into_reader();
            lead.publish(head.clone());
            let source = Source::of(std::mem::replace(&mut answer.content, Content::Empty));
            tokio::spawn(make(node.clone(), bench, source, lead, head.clone()));
            deliver::filling(&head, reader, facts, answer.trace.outcome, now)
        }
    };
    recoded.trace = answer.trace;
    recoded
}

/// A coder and the head of what it will make.
fn begin(node: &Node, original: FillHead, form: Form) -> Option<(Bench, Arc<FillHead>)> {
    let from = RecodingRules::form_of(&original.head)?;
    let bench = node.workshop.bench(from, form)?;
    let head = recoded_head(&original.head, form).ok()?;
    Some((bench, Arc::new(FillHead { head, vary: VaryFacts::default(), length: None, ..original })))
}

/// Makes a form to its end and stores it, while its followers read it.
async fn make(node: Arc<Node>, bench: Bench, source: Source, lead: Lead, head: Arc<FillHead>) {
    let (last, trailers) = match node.workshop.run(bench, source, false, &mut Shown(&lead)).await {
        Done::Whole { last, trailers } => (last, trailers),
        Done::Broken(broken) => return lead.fail(broken),
        Done::Unwanted => return lead.fail(Broken::ABANDONED),
    };
    let key = lead.key().clone();
    let Ok(sealed) = lead.seal(&last, trailers) else { return };
    if let Some(body) = sealed.body() {
        let object = Object::new(Parts {
            key,
            head: head.head.clone(),
            body: body.clone(),
            trailers: sealed.trailers().map(Box::new),
            freshness: head.freshness.clone(),
            vary: VaryFacts::default(),
            tags: head.tags.clone(),
            born: head.born,
            generation: head.generation,
        });
        node.store.insert_in_steps(Arc::new(object)).await;
    }
    sealed.retire();
}

/// What is made is shown to all followers.
struct Shown<'a>(&'a Lead);

impl Sink for Shown<'_> {
    async fn put(&mut self, data: Vec<u8>) -> bool {
        self.0.append(&data).await.is_ok()
    }
}

/// The key of a form: the original's, and a part that no rule can add.
fn form_key(key: &CacheKey, form: Form) -> CacheKey {
    let mut buffer = KeyBuffer::default();
    buffer.begin_from(key.as_ref());
    buffer.part(b":form", Some(form.name().as_bytes()));
    buffer.key().into()
}

/// An answer that is its client's alone, in the form that this client wants.
pub fn private<F: Fields>(
    node: &Arc<Node>,
    rules: &RecodingRules,
    method: &Method,
    fields: &F,
    mut answer: Answer,
) -> Answer {
    if !matches!(answer.content, Content::Origin(_) | Content::Empty) {
        return answer;
    }
    let (status, length) = (answer.status.as_u16(), answer.length);
    let mut headers = std::mem::take(&mut answer.head).into_map();
    let facts = RequestFacts::gather(method, fields);
    let wanted = rules.wanted(fields, &facts, &headers, status, length);
    let coding = wanted.and_then(|form| Some((RecodingRules::form_of(&headers)?, form)));
    if rules.vary_line(&headers, status, length).is_some() {
        headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    answer.head = Head::Map(headers);
    let Some((from, form)) = coding else { return answer };
    if is_head_alone(&answer) || *method == Method::HEAD {
        return head_alone(answer, form);
    }
    let Some(bench) = node.workshop.bench(from, form) else { return answer };
    let source = Source::of(std::mem::replace(&mut answer.content, Content::Empty));
    let (sender, reader) = pipe::channel();
    let node = node.clone();
    tokio::spawn(async move {
        let mut sink = sender.clone();
        // A client that leaves takes the coder and the origin's body with it.
        tokio::select! {
            done = node.workshop.run(bench, source, true, &mut sink) => piped::end(&sender, done).await,
            () = sender.is_unwanted() => {}
        }
    });
    answer.content = Content::Piped(reader);
    head_alone(answer, form)
}

fn recode_fields(headers: &mut HeaderMap, form: Form) {
    let tag = headers.get(header::ETAG).and_then(|tag| weakened(tag.as_bytes()));
    let replaced: Vec<_> = headers.keys().filter(|name| is_replaced(name.as_str().as_bytes())).cloned().collect();
    for name in replaced {
        headers.remove(name);
    }
    if let Some(tag) = tag.and_then(|tag| HeaderValue::from_maybe_shared(Bytes::from(tag)).ok()) {
        headers.insert(header::ETAG, tag);
    }
    if form != Form::Identity {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(form.name()));
    }
}
