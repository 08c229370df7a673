//! Text that is meant to be misread: the `url` crate's published parsing cases, and random combinations of the tricks in them.
//!
//! What a target really is gets decided here by the standard library and not by the code under test.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
};

use ::url::{Host, Url};
use proptest::prelude::*;

use super::{
    super::policy::{Policy, parse, parse_method},
    *,
};

fn is_forbidden_v4(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || address == Ipv4Addr::new(168, 63, 129, 16)
}

fn is_forbidden_v6(address: Ipv6Addr) -> bool {
    let inner = address.to_ipv4().or_else(|| match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    });
    address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || inner.is_some_and(is_forbidden_v4)
}

fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

/// Why a request must not go there, whatever was granted without a carve-out.
fn forbidden(url: &Url) -> Option<&'static str> {
    if !matches!(url.scheme(), "http" | "https") {
        return Some("scheme");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("userinfo");
    }
    if url.port() == Some(0) {
        return Some("port");
    }
    match url.host() {
        None => Some("no host"),
        Some(Host::Ipv4(address)) if is_forbidden_v4(address) => Some("address"),
        Some(Host::Ipv6(address)) if is_forbidden_v6(address) => Some("address"),
        Some(Host::Domain(name)) if is_localhost(name) => Some("localhost"),
        // Read once more, as a careless resolver would.
        Some(Host::Domain(name)) if name.parse::<IpAddr>().is_ok() => Some("an address after all"),
        Some(Host::Domain(name)) if name.ends_with('.') || name.is_empty() => Some("dot"),
        Some(_) => None,
    }
}

/// Grants the host that the parser sees, both with and without its port for names, but no address and no `localhost` with a port, which
/// would be carve-outs.
fn granting(url: &Url) -> Policy {
    let grant = |host: String| HttpGrant {
        host,
        schemes: vec!["https".to_owned(), "http".to_owned()],
        ..HttpGrant::default()
    };
    let mut http: Vec<HttpGrant> = url
        .host()
        .map(|host| grant(host.to_string()))
        .into_iter()
        .collect();
    if let (Some(Host::Domain(name)), Some(port)) = (url.host(), url.port())
        && !is_localhost(name)
    {
        http.push(grant(format!("{name}:{port}")));
    }
    // Odd hosts cannot even be granted; then there is nothing.
    http.retain(|grant| Policy::new(&of(grant), &Grants::default(), None).is_ok());
    let side = Grants {
        http,
        ..Grants::default()
    };
    Policy::new(&side, &side, None).unwrap()
}

fn of(grant: &HttpGrant) -> Grants {
    Grants {
        http: vec![grant.clone()],
        ..Grants::default()
    }
}

/// Whether the text is allowed by a policy that grants as much as it can; if so, what it means has been checked.
fn is_allowed(text: &str) -> bool {
    let Ok(means) = Url::parse(text) else {
        assert!(parse(text).is_err(), "{text:?} is no URL, and was taken for one");
        return false;
    };
    let get = parse_method("GET").unwrap();
    let Ok(read) = parse(text) else { return false };
    assert_eq!(read.host(), means.host(), "{text:?}");
    assert_eq!(
        read.port_or_known_default(),
        means.port_or_known_default(),
        "{text:?}"
    );
    let again = Url::parse(read.as_str()).unwrap();
    assert_eq!(again, read, "{text:?} is stable");
    if granting(&means).decide(&get, &read).is_err() {
        return false;
    }
    assert_eq!(forbidden(&again), None, "{text:?} is allowed to {again}");
    true
}

/// `tests/urltestdata.json` of the crate, which came with its source from the registry.
fn published_cases() -> Option<Vec<serde_json::Value>> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME")?;
        Some(PathBuf::from(home).join(".cargo"))
    })?;
    let registries = std::fs::read_dir(home.join("registry/src")).ok()?;
    let crates = registries
        .flatten()
        .filter_map(|registry| std::fs::read_dir(registry.path()).ok())
        .flat_map(Iterator::flatten);
    let file = crates
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("url-2."))
        .map(|entry| entry.path().join("tests/urltestdata.json"))
        .find(|path| path.exists())?;
    let cases: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    // Texts in between are comments.
    Some(cases.into_iter().filter(serde_json::Value::is_object).collect())
}

#[test]
fn no_published_parsing_case_reaches_a_forbidden_target() {
    let Some(cases) = published_cases() else {
        println!("skipped: the source of the crate `url` is not in the registry's folder");
        return;
    };
    let (mut parsed, mut allowed, mut forbidden_ones) = (0, 0, 0);
    for case in &cases {
        let input = case["input"].as_str().unwrap();
        let mut texts = vec![input.to_owned()];
        // As a redirect would be read.
        let base = case["base"].as_str().and_then(|base| Url::parse(base).ok());
        texts.extend(base.and_then(|base| base.join(input).ok()).map(String::from));
        let urls: Vec<Url> = texts.iter().filter_map(|text| Url::parse(text).ok()).collect();
        parsed += usize::from(!urls.is_empty());
        forbidden_ones += usize::from(urls.iter().any(|url| forbidden(url).is_some()));
        // One by one, so that every text is checked.
        let is_allowed: Vec<bool> = texts.iter().map(|text| is_allowed(text)).collect();
        allowed += usize::from(is_allowed.contains(&true));
    }
    println!(
        "{} cases: {parsed} parse, {forbidden_ones} of them to a forbidden target; {allowed} allowed, {} refused, 0 forbidden ones allowed",
        cases.len(),
        cases.len() - allowed
    );
    assert!(allowed > 50, "a policy that refuses everything proves nothing");
    assert!(forbidden_ones > 50);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_is_allowed_means_the_same_to_the_next_reader(
        scheme in prop::sample::select(vec!["https://", "http://", "HTTPS://", "https:", "https:/", "https:///", "ftp://", "//", ""]),
        userinfo in prop::sample::select(vec!["", "", "", "a@", "a:b@", "@", "acme.example@", "acme.example:80@"]),
        host in prop::collection::vec(
            prop::sample::select(vec![
                "acme", "example", ".", ".", "127", "0", "1", "0x7f", "0177", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]",
                "localhost", "xn--bcher-kva", "xn--a", "bücher", "ａ", "。", "１２７", "%2e", "%31", "169.254.169.254", "1.1.1.1", "%25eth0",
            ]),
            1..6,
        ),
        port in prop::sample::select(vec!["", "", ":443", ":0", ":80", ":65536", ":08", ":"]),
        tail in prop::sample::select(vec!["", "/", "/a/../b", "\\", "\\@acme.example", "#@acme.example", "?@acme.example", ";a", " "]),
    ) {
        is_allowed(&format!("{scheme}{userinfo}{}{port}{tail}", host.concat()));
    }

    #[test]
    fn no_text_at_all_is_misread(text in ".*") {
        is_allowed(&text);
        is_allowed(&format!("https://{text}"));
        is_allowed(&format!("https://acme.example{text}"));
    }
}
