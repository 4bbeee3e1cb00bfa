//! What an HTTP/2 error means to an exchange.

use h2::{Error, Reason};

use crate::error::{Excess, Fault, FetchError, Phase};

/// Sorts an error of the `h2` crate into a fault.
pub(super) fn of(error: Error, phase: Phase) -> FetchError {
    let untouched = is_untouched(&error);
    if error.is_io() {
        let error = error.into_io().unwrap_or_else(|| std::io::ErrorKind::Other.into());
        return FetchError::io(error, phase);
    }
    let fault = match error.reason() {
        // The crate refuses a field section that is larger than we announced by closing its stream.
        Some(Reason::FRAME_SIZE_ERROR) if error.is_library() => Fault::TooLarge(Excess::Head),
        _ if error.is_library() => Fault::Malformed("HTTP/2 protocol"),
        _ if phase == Phase::Body => Fault::Truncated,
        _ if error.is_reset() && error.is_remote() && !untouched => Fault::StreamReset,
        _ => Fault::Reset,
    };
    let fault = FetchError::new(fault, phase).because(error);
    if untouched { fault.with_nothing_sent(true) } else { fault }
}

/// The origin says that it has not acted on the request: a refused stream (RFC 9113 8.7), or one that its GOAWAY
/// leaves out (RFC 9113 6.8). The crate gives a remote GOAWAY to just those streams.
fn is_untouched(error: &Error) -> bool {
    error.is_remote() && (error.is_go_away() || (error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM)))
}
