//! A request in the terms of HTTP/2.

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Uri, Version, header};

use crate::error::{FetchError, Phase};
use crate::message::{Request, RequestBody};

/// The head of `request`, to be sent over a connection that is `secure`.
pub(super) fn head(request: &Request, secure: bool) -> Result<http::Request<()>, FetchError> {
    let mut head = http::Request::new(());
    *head.method_mut() = request.method.clone();
    *head.uri_mut() = uri(request, secure)?;
    *head.version_mut() = Version::HTTP_2;
    *head.headers_mut() = fields(request);
    Ok(head)
}

fn uri(request: &Request, secure: bool) -> Result<Uri, FetchError> {
    let bad = |reason| FetchError::malformed(reason, Phase::Send).with_nothing_sent(true);
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(if secure { Scheme::HTTPS } else { Scheme::HTTP });
    let authority = Authority::try_from(request.authority.as_bytes()).map_err(|_| bad("request authority"))?;
    parts.authority = Some(authority);
    let target = PathAndQuery::from_maybe_shared(request.target.clone()).map_err(|_| bad("request target"))?;
    parts.path_and_query = Some(target);
    Uri::from_parts(parts).map_err(|_| bad("request target"))
}

/// RFC 9113 8.2.2: fields of a connection have no place here, whatever the caller left in.
fn fields(request: &Request) -> HeaderMap {
    let mut fields = request.headers.to_map();
    for name in [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE, header::CONTENT_LENGTH] {
        fields.remove(name);
    }
    if let RequestBody::Stream { length: Some(length), .. } = request.body {
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    fields
}
