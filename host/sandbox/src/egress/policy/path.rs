//! Path prefixes: whether a path is below one, for every server that might read it.
//!
//! A prefix rule is worth as much as the agreement on what the path is. The WHATWG parser has resolved `..` (in all its spellings) before
//! this sees a path; what it leaves alone and some server further on decodes into another path is refused wherever prefixes count.

/// What makes servers disagree about a path; none: they all read the same.
pub(in super::super) fn ambiguity(path: &str) -> Option<&'static str> {
    let lower = path.to_ascii_lowercase();
    if lower.contains("%2f") || lower.contains("%5c") || lower.contains('\\') {
        return Some("it has an encoded slash or a backslash");
    }
    if lower.contains("%2e") {
        return Some("it has an encoded dot");
    }
    // What is encoded twice becomes one of the above in a server behind a proxy.
    if ["%252f", "%255c", "%252e", "%2525"]
        .iter()
        .any(|code| lower.contains(code))
    {
        return Some("it is encoded twice");
    }
    // Servlet containers cut parameters off a segment, and resolve what is left: `/..;a=b/` climbs.
    let climbs = |segment: &str| {
        let name = segment.split(';').next().unwrap_or_default();
        matches!(name, "." | "..")
    };
    if lower.replace("%3b", ";").split('/').any(climbs) {
        return Some("it has a dot segment with parameters");
    }
    match decoded(path.as_bytes()).map(String::from_utf8) {
        None => Some("it has a percent sign without two hexadecimal digits"),
        // Overlong forms are how dots and slashes were smuggled past filters.
        Some(Err(_)) => Some("it is not UTF-8 after decoding"),
        Some(Ok(text)) if text.chars().any(char::is_control) => Some("it has encoded control characters"),
        Some(Ok(_)) => None,
    }
}

fn decoded(path: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = path.iter().copied();
    let mut out = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let code = digit()? * 16 + digit()?;
            out.push(u8::try_from(code).ok()?);
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

/// By whole segments: `/admin/api` covers itself and what is below it.
pub(in super::super) fn is_below(path: &str, prefix: &str) -> bool {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    #[test]
    fn by_whole_segments() {
        for (prefix, path, is) in [
            ("/", "/", true),
            ("/", "/a/b", true),
            ("/admin/api", "/admin/api", true),
            ("/admin/api", "/admin/api/", true),
            ("/admin/api", "/admin/api/2026-07/orders.json", true),
            ("/admin/api", "/admin/api//orders", true),
            ("/admin/api/", "/admin/api", true),
            ("/admin/api/", "/admin/api/x", true),
            ("/admin/api", "/admin/apis", false),
            ("/admin/api", "/admin", false),
            ("/admin/api", "/", false),
            ("/admin/api", "//admin/api", false),
            ("/admin/api", "/admin//api", false),
            ("/admin/api", "/ADMIN/api", false),
            ("/admin/api", "/admin/api;v=1/x", false),
            ("/admin/api", "/adm%69n/api", false),
        ] {
            assert_eq!(is_below(path, prefix), is, "{path} below {prefix}");
        }
    }

    /// As they come out of the parser, and whether every server reads them the same way.
    #[test]
    fn what_servers_disagree_about() {
        for (text, is_plain) in [
            ("/a/b", true),
            ("/a//b", true),
            ("/a;x=1/b", true),
            ("/a.b/c..d/...", true),
            ("/b%C3%BCcher/%20", true),
            ("/50%25", true),
            ("/a/%2e%2e/b", true), // The parser resolves this itself.
            ("/a/%2fb", false),
            ("/a/%5Cb", false),
            ("/a/x%2ejson", false),
            ("/a/..;/b", false),
            ("/a/..;x=1/b", false),
            ("/a/..%3b/b", false),
            ("/a/.;/b", false),
            ("/a/%252e%252e/b", false),
            ("/a/%252fb", false),
            ("/a/%25252fb", false),
            ("/a/%c0%ae%c0%ae/b", false),
            ("/a/%c0%af", false),
            ("/a/%00", false),
            ("/a/%0d%0ab", false),
            ("/a/%u002e%u002e/b", false),
            ("/a/%2", false),
            ("/a/%", false),
        ] {
            let url = Url::parse(&format!("https://acme.example{text}")).unwrap();
            assert_eq!(
                ambiguity(url.path()).is_none(),
                is_plain,
                "{text} as {}",
                url.path()
            );
        }
    }
}
