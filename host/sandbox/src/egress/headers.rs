//! Which headers a guest may set.

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use stecker_model::{ErrorCode, PluginError};

use super::{Failure, decode, not_sent, policy};

/// The host writes these itself, or they steer the connection and not the request (RFC 9110, sections 7.6.1 and 10.1.1; RFC 9112, section
/// 6; RFC 9113, section 8.2.2), or they say for whom a proxy speaks, which the host is not (RFC 9110, section 7.6.3; RFC 7239).
const RESERVED: [&str; 14] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "http2-settings",
    "expect",
    "via",
    "forwarded",
    "x-real-ip",
    "alt-used",
];
const RESERVED_PREFIXES: [&str; 2] = ["proxy-", "x-forwarded-"];
/// Of a request as of a response.
pub(super) const MAX_COUNT: usize = 100;
/// Of names and values together, of a request as of a response.
pub(super) const MAX_BYTES: usize = 64 << 10;

pub(super) fn is_reserved(name: &HeaderName) -> bool {
    let name = name.as_str();
    RESERVED.contains(&name) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Bytes of names and values.
pub(super) fn size(headers: &HeaderMap) -> usize {
    let sizes = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len());
    sizes.sum()
}

pub(super) fn fit(count: usize, size: usize) -> bool {
    count <= MAX_COUNT && size <= MAX_BYTES
}

pub(super) fn of_guest(headers: &[(String, String)]) -> Result<HeaderMap, Failure> {
    let size: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if !fit(headers.len(), size) {
        return Err(not_sent(
            ErrorCode::Unsupported,
            format!(
                "the request has {} headers of {size} bytes; it may have {MAX_COUNT} of {MAX_BYTES}",
                headers.len()
            ),
        )
        .into());
    }
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let (name, value) = (parse_name(name)?, parse_value(name, value)?);
        // The host decodes, because it has to see what it scrubs and counts; a guest may only want no coding at all.
        if name == ACCEPT_ENCODING && value != "identity" {
            continue;
        }
        map.append(name, value);
    }
    if !map.contains_key(ACCEPT_ENCODING) {
        map.insert(ACCEPT_ENCODING, HeaderValue::from_static(decode::ACCEPTED));
    }
    Ok(map)
}

fn parse_name(name: &str) -> Result<HeaderName, Failure> {
    let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
        return Err(policy::never(
            "http.header",
            format!(
                "the header name `{}`, which is not one (RFC 9110)",
                policy::shown(name)
            ),
        )
        .into());
    };
    if is_reserved(&parsed) {
        return Err(policy::never(
            "http.reserved-header",
            format!("setting the header `{parsed}`, which is the host's to set"),
        )
        .into());
    }
    Ok(parsed)
}

/// Refuses CR, LF and NUL (and other control characters), with which one request could be made into two.
fn parse_value(name: &str, value: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(value).map_err(|_| {
        policy::never(
            "http.header",
            format!(
                "a value of the header `{}` with control characters",
                policy::shown(name)
            ),
        )
        .into()
    })
}

pub(super) fn set_idempotency_key(
    headers: &mut HeaderMap,
    header: &str,
    key: &str,
) -> Result<HeaderName, Failure> {
    let (name, value) = (parse_name(header)?, parse_value(header, key)?);
    headers.insert(name.clone(), value);
    Ok(name)
}

/// For credentials: refuses a header that the guest has set already, and marks the value so that nothing prints it.
pub(super) fn set_secret(headers: &mut HeaderMap, name: HeaderName, value: &str) -> Result<(), Failure> {
    if headers.contains_key(&name) {
        return Err(policy::never(
            "http.credential-header",
            format!("setting the header `{name}`, which carries the credential"),
        )
        .into());
    }
    let mut value = HeaderValue::from_str(value).map_err(|_| -> PluginError {
        not_sent(
            ErrorCode::Auth,
            "the secret has characters that no header can carry, mostly a line break at its end. Store it again without",
        )
    })?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}
