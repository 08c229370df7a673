//! Redirects, for guests that ask for them. Each hop is a request of its own: it is parsed, decided on and resolved like the first, and
//! what the first was trusted with does not follow it to another origin.

use reqwest::{
    Method,
    header::{
        AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE, COOKIE, HeaderMap,
        HeaderName, LOCATION,
    },
};
use stecker_model::{Attributes, ErrorCode, PluginError};
use url::Url;

use super::{body::Body, not_sent, policy};
use crate::binding::Denial;

/// In `options`: how many redirects are followed, 1 to 10. Without it, a redirect is an answer.
const OPTION: &str = "follow-redirects";
const MAX_HOPS: u8 = 10;
/// These describe a body; without it they would be wrong (Fetch, HTTP-redirect fetch, step 12).
const OF_BODY: [HeaderName; 4] = [CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE];

/// How many hops the guest asks for.
pub(super) fn hops(options: &Attributes) -> Result<u8, PluginError> {
    let Some((_, text)) = options.iter().rev().find(|(name, _)| name == OPTION) else {
        return Ok(0);
    };
    text.parse()
        .ok()
        .filter(|hops| (1..=MAX_HOPS).contains(hops))
        .ok_or_else(|| {
            not_sent(
                ErrorCode::Unsupported,
                format!(
                    "the option `{OPTION}` is a number from 1 to {MAX_HOPS}, not `{}`",
                    policy::shown(text)
                ),
            )
        })
}

/// What the guest wants sent, with nothing in it that the host put there.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    pub(super) credential: Option<String>,
    /// The header that carries the idempotency key, if there is one.
    pub(super) idempotency: Option<HeaderName>,
}

impl Wanted {
    /// Where an answer sends to; none: it is not a redirect.
    pub(super) fn redirected(&self, status: u16, answer: &HeaderMap) -> Option<Result<Self, Denial>> {
        if !matches!(status, 301 | 302 | 303 | 307 | 308) {
            return None;
        }
        let location = answer.get(LOCATION)?;
        Some(self.to(status, &String::from_utf8_lossy(location.as_bytes())))
    }

    fn to(&self, status: u16, location: &str) -> Result<Self, Denial> {
        let joined = self.url.join(location).map_err(|error| {
            let location = policy::shown(location);
            policy::never("http.url", format!("the redirect to `{location}` ({error})"))
        })?;
        let url = policy::parse(joined.as_str())?;
        let mut next = self.clone();
        // Fetch, HTTP-redirect fetch, step 12; RFC 9110, section 15.4.
        let becomes_get = match status {
            301 | 302 => self.method == Method::POST,
            303 => self.method != Method::GET && self.method != Method::HEAD,
            _ => false,
        };
        if becomes_get {
            next.method = Method::GET;
            next.body = Body::None;
            for header in OF_BODY {
                next.headers.remove(header);
            }
        }
        if url.origin() != self.url.origin() {
            next.credential = None;
            next.headers.remove(AUTHORIZATION);
            next.headers.remove(COOKIE);
            if let Some(header) = next.idempotency.take() {
                next.headers.remove(header);
            }
        }
        next.url = url;
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn wanted(method: Method) -> Wanted {
        let mut headers = HeaderMap::new();
        for name in ["authorization", "cookie", "x-key", "content-type", "accept"] {
            headers.insert(name, HeaderValue::from_static("x"));
        }
        Wanted {
            method,
            url: policy::parse("https://acme.example/a/b?c=d").unwrap(),
            headers,
            body: Body::Bytes(bytes::Bytes::from_static(b"body")),
            credential: Some("key".to_owned()),
            idempotency: Some(HeaderName::from_static("x-key")),
        }
    }

    fn names(wanted: &Wanted) -> Vec<&str> {
        let mut names: Vec<&str> = wanted.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn methods_are_rewritten_as_browsers_do() {
        for (status, method, becomes) in [
            (301, Method::POST, Method::GET),
            (302, Method::POST, Method::GET),
            (303, Method::POST, Method::GET),
            (303, Method::PUT, Method::GET),
            (303, Method::HEAD, Method::HEAD),
            (301, Method::PUT, Method::PUT),
            (302, Method::DELETE, Method::DELETE),
            (307, Method::POST, Method::POST),
            (308, Method::PATCH, Method::PATCH),
        ] {
            let next = wanted(method.clone()).to(status, "/x").unwrap();
            assert_eq!(next.method, becomes, "{status} {method}");
            let keeps_body = method == becomes;
            assert_eq!(next.body.len() > 0, keeps_body, "{status} {method}");
            assert_eq!(
                next.headers.contains_key("content-type"),
                keeps_body,
                "{status} {method}"
            );
        }
    }

    #[test]
    fn trust_ends_with_the_origin() {
        for (location, url, keeps) in [
            ("/x", "https://acme.example/x", true),
            ("x", "https://acme.example/a/x", true),
            ("?e=f#g", "https://acme.example/a/b?e=f", true),
            ("https://acme.example:443/x", "https://acme.example/x", true),
            ("//acme.example/x", "https://acme.example/x", true),
            (
                "https://acme.example:8443/x",
                "https://acme.example:8443/x",
                false,
            ),
            ("http://acme.example/x", "http://acme.example/x", false),
            ("https://www.acme.example/x", "https://www.acme.example/x", false),
            ("//other.example/x", "https://other.example/x", false),
        ] {
            let next = wanted(Method::GET).to(307, location).unwrap();
            assert_eq!(next.url.as_str(), url, "{location}");
            assert_eq!(next.credential.is_some(), keeps, "{location}");
            let expected = if keeps {
                vec!["accept", "authorization", "content-type", "cookie", "x-key"]
            } else {
                vec!["accept", "content-type"]
            };
            assert_eq!(names(&next), expected, "{location}");
        }
    }

    #[test]
    fn a_location_is_read_as_strictly_as_a_url() {
        for (location, rule) in [
            ("ftp://acme.example/", "http.url-scheme"),
            ("file:///etc/passwd", "http.url-scheme"),
            ("javascript:alert(1)", "http.url-scheme"),
            ("https://user:pass@acme.example/", "http.userinfo"),
            ("https://acme.example./", "http.url"),
            ("https://acme.example:0/", "http.url"),
            ("https://[fe80::1%25eth0]/", "http.url"),
            ("https://", "http.url"),
        ] {
            assert_eq!(
                wanted(Method::GET).to(302, location).unwrap_err().rule,
                rule,
                "{location}"
            );
        }
    }

    #[test]
    fn what_is_a_redirect() {
        let mut answer = HeaderMap::new();
        assert!(
            wanted(Method::GET).redirected(302, &answer).is_none(),
            "without a location"
        );
        answer.insert(LOCATION, HeaderValue::from_static("/x"));
        for status in [200, 201, 300, 304, 305, 306, 400] {
            assert!(
                wanted(Method::GET).redirected(status, &answer).is_none(),
                "{status}"
            );
        }
        assert!(wanted(Method::GET).redirected(302, &answer).is_some());
    }

    #[test]
    fn the_option_is_a_small_number() {
        let hops = |text: &str| hops(&vec![("follow-redirects".to_owned(), text.to_owned())]).ok();
        assert_eq!(super::hops(&Vec::new()), Ok(0));
        assert_eq!((hops("1"), hops("10")), (Some(1), Some(10)));
        for text in ["", "0", "11", "-1", "true", "300"] {
            assert_eq!(hops(text), None, "{text}");
        }
    }
}
