//! Reads the URL of a request. Whatever two readers could take for different hosts is refused, so that the text that a person or a rule
//! sees is what is connected to.

use reqwest::Method;
use stecker_model::HttpGrant;
use url::{Host, Url, quirks};

use super::never;
use crate::binding::Denial;

/// Above what servers take (RFC 9110, section 4.1, asks for 8,000), below what the client can carry.
const MAX_LEN: usize = 32 << 10;
/// RFC 1035, section 2.3.4.
const MAX_HOST: usize = 253;

/// The URL as it will be connected to, without its fragment.
pub(crate) fn parse(text: &str) -> Result<Url, Denial> {
    let refuse = |why: &str| never("http.url", format!("the URL `{}` ({why})", shown(text)));
    if text.len() > MAX_LEN {
        return Err(refuse("it is longer than 32 KiB"));
    }
    // The parser would silently take these out.
    if text.chars().any(char::is_control) || text.trim() != text {
        return Err(refuse("it has control characters, or white space around it"));
    }
    let mut parsed = Url::parse(text).map_err(|error| refuse(&error.to_string()))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(never(
            "http.url-scheme",
            format!("the scheme `{}`; there is only https and http", parsed.scheme()),
        ));
    }
    let (authority, before_query) =
        parts(text).ok_or_else(|| refuse("after the scheme comes `://` and a host"))?;
    // Also an empty one, which the parser drops.
    if authority.contains('@') || !parsed.username().is_empty() || parsed.password().is_some() {
        // Not shown: it may be a secret.
        return Err(never(
            "http.userinfo",
            "a user name or password in the URL; name a credential instead".to_owned(),
        ));
    }
    if before_query.contains('\\') {
        return Err(refuse("it has a backslash, which is a slash to some readers"));
    }
    if parsed.port() == Some(0) {
        return Err(refuse("port 0 is none"));
    }
    check_host(host_text(authority), &parsed).map_err(|why| refuse(&why))?;
    parsed.set_fragment(None);
    Ok(parsed)
}

/// What stands between `://` and the path, and everything before the query.
fn parts(text: &str) -> Option<(&str, &str)> {
    let before_query = text.split(['?', '#']).next()?;
    let (_, rest) = before_query.split_once("://")?;
    let authority = rest.split(['/', '\\']).next()?;
    // The parser skips any number of slashes, and so finds a host further on.
    (!authority.is_empty()).then_some((authority, before_query))
}

fn host_text(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((host, port)) if !port.contains(']') => host,
        _ => authority,
    }
}

fn check_host(written: &str, url: &Url) -> Result<(), String> {
    let host = match url.host() {
        None => return Err("it has no host".to_owned()),
        Some(Host::Ipv6(_)) => return Ok(()),
        Some(Host::Ipv4(address)) => {
            // Fullwidth digits and ideographic dots are mapped, and a name turns into an address.
            return if written.is_ascii() && !written.contains('%') && !written.ends_with('.') {
                Ok(())
            } else {
                Err(format!("its host means the address {address}; write that"))
            };
        }
        Some(Host::Domain(host)) => host,
    };
    if host.ends_with('.') || written.ends_with('.') {
        return Err("its host ends with a dot".to_owned());
    }
    if host.split('.').any(str::is_empty) {
        return Err("its host has an empty label".to_owned());
    }
    if host.len() > MAX_HOST {
        return Err("its host is longer than 253 characters".to_owned());
    }
    if !host
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    {
        return Err("its host has other characters than letters, digits, hyphens and dots".to_owned());
    }
    check_idn(written, host)
}

/// Only what is written the way it is shown (lower or upper case) and comes back from its ASCII form unchanged: what the mapping of UTS 46
/// turns into something else (fullwidth letters, ligatures, ideographic dots) was another host to the eye.
fn check_idn(written: &str, host: &str) -> Result<(), String> {
    if written.is_ascii() && written.eq_ignore_ascii_case(host) && !has_encoded_label(host) {
        return Ok(());
    }
    let unicode = quirks::domain_to_unicode(host);
    if has_encoded_label(&unicode) || quirks::domain_to_ascii(&unicode) != host {
        return Err(format!(
            "the `xn--` labels of its host `{host}` do not decode and encode to themselves"
        ));
    }
    if written.eq_ignore_ascii_case(host) || written.to_lowercase() == unicode {
        Ok(())
    } else {
        Err(format!(
            "its host is not written as what it means; write `{host}`"
        ))
    }
}

fn has_encoded_label(host: &str) -> bool {
    host.split('.').any(|label| label.starts_with("xn--"))
}

pub(crate) fn parse_method(text: &str) -> Result<Method, Denial> {
    let refuse = || never("http.method", format!("the method `{}`", shown(text)));
    if !HttpGrant::METHODS.contains(&text) {
        return Err(refuse());
    }
    Method::from_bytes(text.as_bytes()).map_err(|_| refuse())
}

/// What a stranger wrote, cut and escaped to fit into a line. What may follow a `?` is left out.
pub(crate) fn shown(text: &str) -> String {
    let text = text.split('?').next().unwrap_or_default();
    text.chars().take(200).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> String {
        match parse(text) {
            Ok(url) => format!("{}:{}", url.host().unwrap(), url.port_or_known_default().unwrap()),
            Err(denial) => {
                assert_eq!(
                    (denial.layer.as_str(), denial.smallest_grant.as_str()),
                    ("host", "")
                );
                denial.rule
            }
        }
    }

    #[test]
    fn what_a_text_means_or_why_it_is_refused() {
        for (text, expected) in [
            ("https://acme.example", "acme.example:443"),
            ("HTTPS://ACME.example:443/a?b#c", "acme.example:443"),
            ("http://acme.example:8080/", "acme.example:8080"),
            ("https://bücher.example/", "xn--bcher-kva.example:443"),
            ("https://BÜCHER.example/", "xn--bcher-kva.example:443"),
            ("https://xn--bcher-kva.example/", "xn--bcher-kva.example:443"),
            ("https://XN--BCHER-KVA.example/", "xn--bcher-kva.example:443"),
            ("https://a_b.acme.example/", "a_b.acme.example:443"),
            ("https://192.0.2.7/", "192.0.2.7:443"),
            ("https://0xc0000207/", "192.0.2.7:443"),
            ("https://3221225991/", "192.0.2.7:443"),
            ("https://0300.0.2.7/", "192.0.2.7:443"),
            ("https://192.519/", "192.0.2.7:443"),
            ("https://[2001:db8:0::1]:8443/", "[2001:db8::1]:8443"),
            ("https://[::ffff:10.0.0.1]/", "[::ffff:a00:1]:443"),
            (
                "https://acme.example/?q=https://user@other.example\\",
                "acme.example:443",
            ),
            // Userinfo.
            ("https://user@acme.example/", "http.userinfo"),
            ("https://:pass@acme.example/", "http.userinfo"),
            ("https://@acme.example/", "http.userinfo"),
            ("https://:@acme.example/", "http.userinfo"),
            ("https://acme.example:443@other.example/", "http.userinfo"),
            ("https://acme.example%40other.example/", "http.url"),
            // Schemes.
            ("ftp://acme.example/", "http.url-scheme"),
            ("file:///etc/passwd", "http.url-scheme"),
            ("javascript:alert(1)", "http.url-scheme"),
            ("unix:///run/docker.sock", "http.url-scheme"),
            ("gopher://acme.example:70/_", "http.url-scheme"),
            // Not written as an absolute URL.
            ("acme.example", "http.url"),
            ("/relative", "http.url"),
            ("//acme.example/", "http.url"),
            ("", "http.url"),
            ("https://", "http.url"),
            ("https:acme.example", "http.url"),
            ("https:/acme.example", "http.url"),
            ("https:///acme.example", "http.url"),
            ("https:\\\\acme.example", "http.url"),
            ("https://acme.example\\@other.example/", "http.url"),
            ("https://other.example\\.acme.example/", "http.url"),
            (" https://acme.example", "http.url"),
            ("https://acme.example\u{a0}", "http.url"),
            ("https://acme.exa\nmple/", "http.url"),
            ("ht\ttps://acme.example/", "http.url"),
            ("https://acme.example/\u{0}", "http.url"),
            // Hosts.
            ("https://acme.example./", "http.url"),
            ("https://acme.example.:443/", "http.url"),
            ("https://127.0.0.1./", "http.url"),
            ("https://acme..example/", "http.url"),
            ("https://.acme.example/", "http.url"),
            ("https://acme.example:0/", "http.url"),
            ("https://acme.example:65536/", "http.url"),
            ("https://acme.example:-1/", "http.url"),
            ("https://acme.example:80:443/", "http.url"),
            ("https://[fe80::1%25eth0]/", "http.url"),
            ("https://[fe80::1%eth0]/", "http.url"),
            ("https://[::1/", "http.url"),
            ("https://1.2.3.4.5/", "http.url"),
            ("https://127.0.0.256/", "http.url"),
            ("https://acme!.example/", "http.url"),
            ("https://acme.example;x/", "http.url"),
            // What is mapped to something else than it looks like.
            ("https://１２７.0.0.1/", "http.url"),
            ("https://１２７。０。０。１/", "http.url"),
            ("https://127。0。0。1/", "http.url"),
            ("https://%31%32%37.0.0.1/", "http.url"),
            ("https://acme%2Eexample/", "http.url"),
            ("https://acme。example/", "http.url"),
            ("https://ａcme.example/", "http.url"),
            ("https://ﬁne.example/", "http.url"),
            ("https://acme\u{ad}.example/", "http.url"),
            ("https://acme\u{200b}.example/", "http.url"),
            ("https://ⓐcme.example/", "http.url"),
            ("https://xn--a/", "http.url"),
            ("https://xn--acme-.example/", "http.url"),
            ("https://xn--.example/", "http.url"),
        ] {
            assert_eq!(rule(text), expected, "{text:?}");
        }
        assert_eq!(
            rule(&format!("https://{}.example/", "a.".repeat(130))),
            "http.url"
        );
        assert_eq!(
            rule(&format!("https://acme.example/{}", "a".repeat(MAX_LEN))),
            "http.url"
        );
    }

    #[test]
    fn methods_are_those_of_the_contract() {
        for method in HttpGrant::METHODS {
            assert_eq!(parse_method(method).unwrap().as_str(), method);
        }
        for text in ["", "get", "CONNECT", "TRACE", "PROPFIND", "GET /", "GET\r\nX: y"] {
            assert_eq!(parse_method(text).unwrap_err().rule, "http.method", "{text:?}");
        }
    }
}
