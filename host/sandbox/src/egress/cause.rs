//! Why a request was not answered, in a word for programs: the detail `cause` of the error that the guest gets. `wasi:http` has error
//! codes for these, and a plugin may want to tell a name that does not exist from a system that is slow.

use std::{error::Error, io};

use super::resolve::Unresolved;

/// The name has no address.
pub(crate) const DNS: &str = "dns";
/// Nobody listens there.
pub(crate) const REFUSED: &str = "refused";
/// The two sides did not agree on TLS, or the certificate is not good.
pub(crate) const TLS: &str = "tls";
/// There was no connection, for any other reason.
pub(crate) const CONNECT: &str = "connect";
/// It took too long.
pub(crate) const TIMEOUT: &str = "timeout";
/// The connection ended before the answer did.
pub(crate) const LOST: &str = "lost";
/// The answer is larger than there is room for.
pub(crate) const TOO_LARGE: &str = "too-large";

pub(super) fn of(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        return TIMEOUT;
    }
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(known) = known(inner) {
            return known;
        }
        cause = inner.source();
    }
    if error.is_connect() { CONNECT } else { LOST }
}

fn known(error: &(dyn Error + 'static)) -> Option<&'static str> {
    if error.is::<Unresolved>() {
        return Some(DNS);
    }
    if error.is::<rustls::Error>() {
        return Some(TLS);
    }
    let error = error.downcast_ref::<io::Error>()?;
    if error.kind() == io::ErrorKind::ConnectionRefused {
        return Some(REFUSED);
    }
    // What is wrapped in an I/O error is not among its sources.
    error.get_ref()?.is::<rustls::Error>().then_some(TLS)
}
