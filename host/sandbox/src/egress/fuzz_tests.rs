//! What strangers write into requests and operators into grants, mutated. The properties are checked with other parsers than the policy's own.

use std::net::{IpAddr, Ipv4Addr};

use stecker_fuzz::Campaign;
use stecker_model::{Grants, HttpGrant};

use super::{
    headers,
    policy::{self, Policy},
};

const URL_WORDS: &[&str] = &[
    "https://",
    "http://",
    "HTTPS:\\\\",
    "file:///",
    "//",
    "@",
    ":",
    ":443",
    ":80",
    ":0",
    ":65536",
    "?",
    "#",
    "/admin/api/",
    "..",
    "%2e%2e",
    "%2f",
    "%5c",
    "%00",
    "\\",
    "\t",
    "\r\n",
    ".",
    "shop.example",
    "api.shop.example",
    "127.0.0.1",
    "0x7f.1",
    "017700000001",
    "2130706433",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[fe80::1%25lo]",
    "localhost",
    "xn--",
    "xn--80ak6aa92e",
    "。",
    "１２７",
    "ß",
    "\u{200d}",
    "\u{202e}",
    "169.254.169.254",
    "metadata.google.internal",
];

fn granted() -> Grants {
    let grant = |host: &str, schemes: &[&str], paths: &[&str]| HttpGrant {
        host: host.to_owned(),
        schemes: schemes.iter().map(|s| (*s).to_owned()).collect(),
        paths: paths.iter().map(|s| (*s).to_owned()).collect(),
        ..HttpGrant::default()
    };
    Grants {
        http: vec![
            grant("shop.example", &["https"], &["/admin/api"]),
            grant("*.shop.example", &["https", "http"], &[]),
            grant("203.0.114.7:8443", &["https"], &[]),
        ],
        ..Grants::default()
    }
}

/// Whatever the text is: what is allowed goes to a granted host, port, scheme and path, and an HTTP client that reads the text with another
/// parser goes to the same place.
#[test]
fn no_text_of_a_url_gets_past_the_policy() {
    let grants = granted();
    let policy = Policy::new(&grants, &grants, None).unwrap();
    let mut allowed = 0;
    Campaign::new("url")
        .unwrap()
        .dictionary(URL_WORDS)
        .bounds(60_000, 512)
        .run(|bytes| {
            let text = String::from_utf8_lossy(bytes);
            let Ok(url) = policy::parse(&text) else { return };
            if policy.decide(&reqwest::Method::GET, &url).is_err() {
                return;
            }
            allowed += 1;
            let uri: http::Uri = url
                .as_str()
                .parse()
                .unwrap_or_else(|error| panic!("{url}: {error}"));
            let host = uri.host().unwrap_or_default();
            let granted = match (uri.scheme_str(), host, uri.port_u16()) {
                (Some("https"), "shop.example", None | Some(443)) => {
                    let path = uri.path();
                    path == "/admin/api" || path.starts_with("/admin/api/")
                }
                (Some("https"), "203.0.114.7", Some(8443)) => true,
                (Some("https"), host, None | Some(443)) | (Some("http"), host, None | Some(80)) => {
                    host.ends_with(".shop.example") && host.len() > ".shop.example".len()
                }
                _ => false,
            };
            assert!(granted, "`{text}` became {url}");
            assert!(
                uri.authority()
                    .is_some_and(|authority| !authority.as_str().contains('@'))
            );
            // The text itself, read the way that a person would.
            let written = text
                .split_once("://")
                .and_then(|(_, rest)| rest.split(['/', '?', '#']).next())
                .unwrap_or_default();
            let written = written.rsplit_once(':').map_or(written, |(host, _)| host);
            assert!(
                written.eq_ignore_ascii_case(host) || !written.is_ascii(),
                "`{text}` goes to {host}"
            );
        })
        .unwrap();
    assert!(
        allowed > 300,
        "{allowed} allowed: the corpus has lost what makes it useful"
    );
}

const HEADER_WORDS: &[&str] = &[
    "\n",
    "\r\n",
    "\0",
    ": ",
    "host",
    "Host",
    "content-length",
    "Transfer-Encoding",
    "connection",
    "TE",
    "trailer",
    "proxy-authorization",
    "upgrade",
    "expect",
    ":authority",
    "x-api-key",
    "chunked",
    " ",
    "\t",
    "é",
    "\u{85}",
    "_",
];

/// Whatever the guest sets: what is sent is one request, whose framing is the host's.
#[test]
fn no_header_of_a_guest_changes_what_a_request_is() {
    let mut sent = 0;
    Campaign::new("header")
        .unwrap()
        .dictionary(HEADER_WORDS)
        .bounds(40_000, 4_096)
        .run(|bytes| {
            let text = String::from_utf8_lossy(bytes);
            // A line is a header; its first colon ends the name, and `\` stands for a line break inside of a value.
            let guest: Vec<(String, String)> = text
                .split('\n')
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_owned(), value.replace('\\', "\r\n")))
                .collect();
            let Ok(map) = headers::of_guest(&guest) else {
                return;
            };
            sent += 1;
            // What the host decodes is the host's to say; the rest is sent as the guest set it.
            let own = |name: &str| !name.eq_ignore_ascii_case("accept-encoding");
            let set = guest.iter().filter(|(name, _)| own(name)).count();
            assert_eq!(map.iter().filter(|(name, _)| own(name.as_str())).count(), set);
            for (name, value) in &map {
                let name = name.as_str();
                assert!(
                    name.bytes().all(|b| b.is_ascii_graphic() && b != b':'),
                    "{name:?}"
                );
                assert!(
                    !value.as_bytes().iter().any(|b| matches!(b, b'\r' | b'\n' | 0)),
                    "{value:?}"
                );
                let framing = [
                    "host",
                    "content-length",
                    "transfer-encoding",
                    "connection",
                    "keep-alive",
                    "te",
                    "trailer",
                    "upgrade",
                    "expect",
                    "proxy-authorization",
                    "proxy-connection",
                ];
                assert!(!framing.contains(&name), "{name}");
            }
        })
        .unwrap();
    assert!(sent > 1_000, "{sent} sent");
}

const GRANT_WORDS: &[&str] = &[
    "*.",
    "*",
    ":443",
    ":0",
    ":99999",
    "[::1]",
    "127.0.0.1",
    "10.0.0.0/8",
    "::/0",
    "0.0.0.0/0",
    "/",
    "//",
    "..",
    "%2e",
    "https",
    "http",
    "GET",
    "get",
    "CONNECT",
    "shop.example",
    "localhost",
    ".",
    "com",
    "\u{0}",
    "。",
];

/// Whatever an operator writes: it is refused with a reason, or it allows what it names and not the whole world.
#[test]
fn no_grant_means_more_than_it_says() {
    let mut usable = 0;
    Campaign::new("grant")
        .unwrap()
        .dictionary(GRANT_WORDS)
        .bounds(40_000, 1_024)
        .run(|bytes| {
            let text = String::from_utf8_lossy(bytes);
            let mut lines = text.split('\n');
            let mut list = || -> Vec<String> {
                let line = lines.next().unwrap_or_default();
                line.split_whitespace().map(str::to_owned).collect()
            };
            let grant = HttpGrant {
                host: list().concat(),
                schemes: list(),
                methods: list(),
                paths: list(),
                addresses: list(),
            };
            let grants = Grants {
                http: vec![grant.clone()],
                ..Grants::default()
            };
            let policy = match Policy::new(&grants, &grants, None) {
                Ok(policy) => policy,
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    return;
                }
            };
            usable += 1;
            let elsewhere = policy::parse("https://elsewhere.invalid/").unwrap();
            let named = grant.host.to_ascii_lowercase();
            if policy.decide(&reqwest::Method::GET, &elsewhere).is_ok() {
                assert!(named.contains("elsewhere.invalid"), "{grant:?}");
            }
            // Only a grant that names this address, or a range with it, reaches the machine itself.
            let loopback = policy::parse("http://127.0.0.1:8080/").unwrap();
            if policy.decide(&reqwest::Method::GET, &loopback).is_ok() {
                let host = named.rsplit_once(':').map_or(named.as_str(), |(host, _)| host);
                assert_eq!(
                    host.parse::<IpAddr>().ok(),
                    Some(Ipv4Addr::LOCALHOST.into()),
                    "{grant:?}"
                );
            }
        })
        .unwrap();
    assert!(usable > 1_000, "{usable} usable");
}
