//! The rules of credentials: which fields go with which kind, and what may stand in them.

use super::{
    Credential, CredentialKind, HttpCapability, OAuth, Signing,
    check::{Fault, MAX_TEXT, within},
    template::{Template, Word},
};

const MAX_PARAMS: usize = 16;
const MAX_HEADERS: usize = 8;
/// The host writes these itself, or they steer the connection and not the request (RFC 9110, section 7.6.1).
const RESERVED_HEADERS: [&str; 9] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "cookie",
];

/// What the host sets in a token request by itself (RFC 6749, RFC 7636).
const OAUTH_PARAMS: [&str; 13] = [
    "grant_type",
    "client_id",
    "client_secret",
    "refresh_token",
    "code",
    "code_verifier",
    "code_challenge",
    "code_challenge_method",
    "redirect_uri",
    "response_type",
    "scope",
    "state",
    "response_mode",
];

pub(super) fn check(name: &str, credential: &Credential, http: &[HttpCapability]) -> Result<(), Fault> {
    let path = |field| ["credentials", name, field];
    within(&path("description"), &credential.description, MAX_TEXT)?;
    fields_of_kind(name, credential)?;
    if let Some(header) = &credential.header {
        check_header(&path("header"), header)?;
    }
    if let Some(query) = &credential.query {
        check_query(&path("query"), query)?;
    }
    if credential
        .prefix
        .as_ref()
        .is_some_and(|prefix| prefix.bytes().any(|b| !(b' '..=b'~').contains(&b)))
    {
        return Err(Fault::new(
            &path("prefix"),
            "may hold printable ASCII characters only",
        ));
    }
    if let Some(oauth) = &credential.oauth {
        check_oauth(name, credential.kind, oauth)?;
    }
    if let Some(signing) = &credential.signing {
        check_signing(name, signing)?;
    }
    if credential.kind == CredentialKind::HmacSecret {
        return Ok(());
    }
    if http.is_empty() {
        return Err(Fault::new(
            &path("kind"),
            "is sent with requests, but the plugin asks for none; add [[capabilities.http]] or remove the credential",
        ));
    }
    check_places(name, credential, http)
}

/// Which fields a kind has to have, and which it may.
fn fields_of_kind(name: &str, credential: &Credential) -> Result<(), Fault> {
    use CredentialKind::{ApiKeyHeader, ApiKeyQuery, HmacRequest, HmacSecret};
    let path = |field| ["credentials", name, field];
    let kind = credential.kind;
    for (field, is_given, belongs, whose, example) in [
        (
            "header",
            credential.header.is_some(),
            kind == ApiKeyHeader,
            "kind `api-key-header`",
            "which header carries the key, such as header = \"x-api-key\"",
        ),
        (
            "query",
            credential.query.is_some(),
            kind == ApiKeyQuery,
            "kind `api-key-query`",
            "which parameter carries the key, such as query = \"api_key\"",
        ),
        (
            "oauth",
            credential.oauth.is_some(),
            kind.is_oauth(),
            "the kinds of OAuth",
            "where tokens come from, such as oauth = { token-url = \"https://login.acme.example/oauth/token\" }",
        ),
        (
            "signing",
            credential.signing.is_some(),
            kind == HmacRequest,
            "kind `hmac-request`",
            "what is signed and how: algorithm, encoding, message and headers",
        ),
    ] {
        if belongs && !is_given {
            let reason = format!("is missing: kind `{}` has to say {example}", kind.as_str());
            return Err(Fault::new(&path(field), reason));
        }
        if !belongs && is_given {
            let reason = format!("goes with {whose} only; remove it or change the kind");
            return Err(Fault::new(&path(field), reason));
        }
    }
    if credential.prefix.is_some() && kind != ApiKeyHeader {
        return Err(Fault::new(
            &path("prefix"),
            "goes with kind `api-key-header` only; remove it or change the kind",
        ));
    }
    if credential.key.is_some() && kind != HmacSecret {
        return Err(Fault::new(
            &path("key"),
            "goes with kind `hmac-secret` only; for `hmac-request` it is a field of `signing`",
        ));
    }
    for (field, is_given) in [
        ("hosts", credential.hosts.is_some()),
        ("methods", credential.methods.is_some()),
        ("paths", credential.paths.is_some()),
    ] {
        if is_given && kind == HmacSecret {
            return Err(Fault::new(
                &path(field),
                "makes no sense for an `hmac-secret`, which is never sent; remove it",
            ));
        }
    }
    Ok(())
}

/// Where it is sent.
fn check_places(name: &str, credential: &Credential, http: &[HttpCapability]) -> Result<(), Fault> {
    let path = |field| ["credentials", name, field];
    for host in credential.hosts.iter().flatten() {
        if !http.iter().any(|capability| capability.hosts.contains(host)) {
            return Err(Fault::new(
                &path("hosts"),
                format!(
                    "names `{host}`, which is not in any [[capabilities.http]]; add it there, spelled the same way"
                ),
            ));
        }
    }
    for method in credential.methods.iter().flatten() {
        if !http.iter().any(|capability| capability.methods.contains(method)) {
            let method = method.as_str();
            return Err(Fault::new(
                &path("methods"),
                format!("names `{method}`, which is not in any [[capabilities.http]]; add it there"),
            ));
        }
    }
    for (field, is_empty) in [
        ("hosts", credential.hosts.as_ref().is_some_and(Vec::is_empty)),
        ("methods", credential.methods.as_ref().is_some_and(Vec::is_empty)),
        ("paths", credential.paths.as_ref().is_some_and(Vec::is_empty)),
    ] {
        if is_empty {
            return Err(Fault::new(
                &path(field),
                "is empty, so the credential would never be sent; leave it out to send it everywhere",
            ));
        }
    }
    for prefix in credential.paths.iter().flatten() {
        let well_formed = prefix.starts_with('/')
            && prefix
                .bytes()
                .all(|b| b.is_ascii_graphic() && !b"?#\\".contains(&b))
            && !prefix.split('/').any(|segment| matches!(segment, "." | ".."));
        if !well_formed {
            return Err(Fault::new(
                &path("paths"),
                format!(
                    "has `{prefix}`, which is not the beginning of a path; write it like /admin/api, percent-encoded"
                ),
            ));
        }
    }
    Ok(())
}

fn check_oauth(name: &str, kind: CredentialKind, oauth: &OAuth) -> Result<(), Fault> {
    let path = |field| ["credentials", name, "oauth", field];
    let by_person = kind == CredentialKind::Oauth2AuthorizationCode;
    if by_person && oauth.authorize_url.is_none() {
        return Err(Fault::new(
            &path("authorize-url"),
            "is missing: kind `oauth2-authorization-code` has to say where the person is sent",
        ));
    }
    if !by_person && (oauth.authorize_url.is_some() || !oauth.authorize_params.is_empty()) {
        return Err(Fault::new(
            &path("authorize-url"),
            "goes with kind `oauth2-authorization-code` only, and so does authorize-params; remove them or change the kind",
        ));
    }
    // RFC 6749, section 3.3.
    let is_scope = |scope: &String| {
        !scope.is_empty()
            && scope
                .bytes()
                .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
    };
    if let Some(bad) = oauth.scopes.iter().find(|scope| !is_scope(scope)) {
        return Err(Fault::new(
            &path("scopes"),
            format!("has `{bad}`, which is not a scope; write each one by itself, without spaces"),
        ));
    }
    for (field, params) in [
        ("token-params", &oauth.token_params),
        ("authorize-params", &oauth.authorize_params),
    ] {
        if params.len() > MAX_PARAMS {
            return Err(Fault::new(
                &path(field),
                format!("has more than {MAX_PARAMS} parameters"),
            ));
        }
        if let Some(bad) = params.keys().find(|key| OAUTH_PARAMS.contains(&key.as_str())) {
            return Err(Fault::new(
                &path(field),
                format!("has `{bad}`, which the host sets by itself; remove it"),
            ));
        }
    }
    Ok(())
}

fn check_signing(name: &str, signing: &Signing) -> Result<(), Fault> {
    let path = |field| ["credentials", name, "signing", field];
    if signing.message.words().any(|word| *word == Word::Signature) {
        return Err(Fault::new(
            &path("message"),
            "has `{signature}`, which is what comes out of it; it belongs into `headers`",
        ));
    }
    if signing.message.words().next().is_none() {
        return Err(Fault::new(
            &path("message"),
            "has no word of the request, so every signature would be the same; write it like {method}\\n{path-and-query}\\n{timestamp}",
        ));
    }
    let headers = &signing.headers;
    let has = |template: &Template, wanted: &Word| template.words().any(|word| word == wanted);
    if headers.len() > MAX_HEADERS || !headers.values().any(|template| has(template, &Word::Signature)) {
        return Err(Fault::new(
            &path("headers"),
            format!("has to have 1 to {MAX_HEADERS} headers, one of them with `{{signature}}`"),
        ));
    }
    for (header, template) in headers {
        check_header(&path("headers"), header)?;
        if has(template, &Word::Body) {
            return Err(Fault::new(
                &path("headers"),
                format!(
                    "puts `{{body}}` into `{header}`; no header can carry a body. Use {{body-sha256-hex}}"
                ),
            ));
        }
    }
    Ok(())
}

fn check_query(path: &[&str], query: &str) -> Result<(), Fault> {
    let is_plain = (1..=128).contains(&query.len())
        && query
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
    if is_plain {
        Ok(())
    } else {
        Err(Fault::new(
            path,
            format!("is `{query}`; the name of a parameter has letters, digits and -._~"),
        ))
    }
}

fn check_header(path: &[&str], header: &str) -> Result<(), Fault> {
    // RFC 9110, section 5.6.2: a token.
    let is_token = !header.is_empty()
        && header.len() <= 128
        && header
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    if !is_token {
        return Err(Fault::new(
            path,
            format!("is `{header}`, which is not the name of a header"),
        ));
    }
    let lower = header.to_ascii_lowercase();
    if RESERVED_HEADERS.contains(&lower.as_str()) || lower.starts_with("proxy-") {
        return Err(Fault::new(
            path,
            format!("is `{header}`, which only the host itself may write; use the vendor's header"),
        ));
    }
    Ok(())
}
