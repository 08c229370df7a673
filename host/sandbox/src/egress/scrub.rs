//! Takes a secret out of the answer to the request that carried it: some systems echo headers, in error pages above all.

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD},
};
use memchr::memmem;
use zeroize::Zeroizing;

use super::HttpResponse;
use crate::binding::Secret;

const IN_ITS_PLACE: &[u8] = b"[redacted]";
/// A shorter one would be found by chance, and data would be spoilt.
const MIN_LEN: usize = 8;

pub(super) fn response(mut response: HttpResponse, secret: &Secret) -> HttpResponse {
    let forms = forms(secret);
    for form in &forms {
        replace(&mut response.body, form);
        for (_, value) in &mut response.headers {
            if memmem::find(value.as_bytes(), form).is_some() {
                let mut bytes = std::mem::take(value).into_bytes();
                replace(&mut bytes, form);
                *value = String::from_utf8_lossy(&bytes).into_owned();
            }
        }
    }
    response
}

/// As it is, and as base64, hex and percent-encoding write it; for Basic also the pair with the user name.
fn forms(secret: &Secret) -> Vec<Zeroizing<Vec<u8>>> {
    let raw = secret.expose();
    if raw.len() < MIN_LEN {
        return Vec::new();
    }
    let pair = secret
        .username()
        .map(|username| Zeroizing::new(format!("{username}:{raw}")));
    let mut forms: Vec<String> = Vec::new();
    for text in pair.as_ref().map(|pair| pair.as_str()).into_iter().chain([raw]) {
        // The padded form goes first, or its padding would stay behind.
        forms.push(BASE64_STANDARD.encode(text));
        forms.push(BASE64_STANDARD_NO_PAD.encode(text));
        forms.push(BASE64_URL_SAFE_NO_PAD.encode(text));
    }
    forms.push(hex::encode(raw));
    forms.push(hex::encode_upper(raw));
    forms.push(url::form_urlencoded::byte_serialize(raw.as_bytes()).collect());
    forms.push(raw.to_owned());
    forms
        .into_iter()
        .map(|form| Zeroizing::new(form.into_bytes()))
        .collect()
}

fn replace(bytes: &mut Vec<u8>, needle: &[u8]) {
    let finder = memmem::Finder::new(needle);
    let mut places = finder.find_iter(bytes).peekable();
    if places.peek().is_none() {
        return;
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut from = 0;
    for place in places {
        out.extend_from_slice(&bytes[from..place]);
        out.extend_from_slice(IN_ITS_PLACE);
        from = place + needle.len();
    }
    out.extend_from_slice(&bytes[from..]);
    *bytes = out;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrubbed(body: String, secret: &Secret) -> String {
        let header = body.clone();
        let answer = response(
            HttpResponse {
                status: 200,
                headers: vec![("x-echo".to_owned(), header)],
                body: body.into_bytes(),
            },
            secret,
        );
        let body = String::from_utf8(answer.body).unwrap();
        assert_eq!(answer.headers[0].1, body);
        body
    }

    #[test]
    fn every_usual_spelling_is_found() {
        let raw = "p@ss/w+rd=?";
        let secret = Secret::with_username("otto".to_owned(), raw.to_owned());
        for spelling in [
            raw.to_owned(),
            hex::encode(raw),
            BASE64_STANDARD.encode(raw),
            BASE64_STANDARD.encode(format!("otto:{raw}")),
            BASE64_URL_SAFE_NO_PAD.encode(raw),
            "p%40ss%2Fw%2Brd%3D%3F".to_owned(),
        ] {
            let text = format!("<{spelling}> and <{spelling}>");
            assert_eq!(
                scrubbed(text, &secret),
                "<[redacted]> and <[redacted]>",
                "{spelling}"
            );
        }
    }

    #[test]
    fn what_could_be_there_by_chance_is_left_alone() {
        let secret = Secret::new("abc".to_owned());
        assert_eq!(scrubbed("abcdef".to_owned(), &secret), "abcdef");
        let secret = Secret::new("long-enough".to_owned());
        assert_eq!(scrubbed("nothing".to_owned(), &secret), "nothing");
    }
}
