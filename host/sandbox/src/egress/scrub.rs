//! Takes secrets out of everything that leaves the host's hands: answers of systems that echo what they were sent (error pages above all),
//! errors, log lines, denials.
//!
//! One [`Scrubber`] belongs to a session and knows every secret that the session has met: those of all its credentials, and the tokens
//! that came from them. It searches for all spellings of all secrets in a single pass whose time grows with the text only, whatever a
//! hostile system sends. Letters of either case are the same to it, which covers the two ways to write hexadecimal digits, and systems
//! that change case.
//!
//! What it cannot find: a secret that was split, encrypted, compressed or encoded twice. The automaton holds spellings of the secrets and
//! is not wiped from memory when it goes; the secrets themselves are.

use std::{
    borrow::Cow,
    fmt,
    ops::Range,
    sync::{Arc, PoisonError, RwLock},
};

use aho_corasick::{AhoCorasick, MatchKind};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD},
};
use stecker_model::PluginError;
use zeroize::Zeroizing;

use super::HttpResponse;
use crate::binding::{Denial, LogLevel, Observer, Secret};

/// Why a secret is not used that could not be searched for afterwards.
pub(crate) const UNSCRUBBABLE: &str =
    "the secret is so long that answers could not be searched for it, so it is not used. Store a shorter one";

const IN_ITS_PLACE: &str = "[redacted]";
/// A shorter one would be found by chance, and data would be spoilt.
const MIN_LEN: usize = 8;
/// Tokens change all day; what was replaced that often is no longer valid anywhere.
const MAX_SECRETS: usize = 64;

/// The secrets of one session, and the search for them. Cheap to ask; built again only when a secret is new.
#[derive(Default)]
pub(crate) struct Scrubber(RwLock<Known>);

#[derive(Default)]
struct Known {
    /// Oldest first.
    secrets: Vec<Secret>,
    search: Option<Arc<Search>>,
}

struct Search {
    automaton: AhoCorasick,
    /// For each pattern: whether a character next to it also holds bits of the secret.
    edges: Vec<Edges>,
}

/// Base64 puts three bytes into four characters, so inside of a longer text the first and the last character of a secret also hold bits of
/// its neighbours. The pattern has only the characters between; these go with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Edges {
    before: bool,
    after: bool,
}

impl fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrubber(…)")
    }
}

impl Scrubber {
    /// Looks for this secret too from now on. False if it cannot: then the secret must not be used.
    pub(crate) fn learn(&self, secret: &Secret) -> bool {
        if secret.expose().len() < MIN_LEN || self.knows(secret) {
            return true;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.secrets.len() >= MAX_SECRETS {
            known.secrets.remove(0);
        }
        known.secrets.push(secret.clone());
        match Search::of(&known.secrets) {
            Some(search) => {
                known.search = Some(Arc::new(search));
                true
            }
            None => {
                known.secrets.pop();
                false
            }
        }
    }

    fn knows(&self, secret: &Secret) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known
            .secrets
            .iter()
            .any(|other| other.expose() == secret.expose() && other.username() == secret.username())
    }

    fn search(&self) -> Option<Arc<Search>> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.search.clone()
    }

    /// Searches what comes in pieces.
    pub(crate) fn watch(&self) -> Watch {
        Watch::new(self.search())
    }

    /// The bytes without secrets.
    pub(crate) fn bytes(&self, bytes: Vec<u8>) -> Vec<u8> {
        match self.search().and_then(|search| search.replaced(&bytes)) {
            Some(scrubbed) => scrubbed,
            None => bytes,
        }
    }

    /// The text without secrets.
    pub(crate) fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.search().and_then(|search| search.replaced(text.as_bytes())) {
            Some(scrubbed) => Cow::Owned(String::from_utf8_lossy(&scrubbed).into_owned()),
            None => Cow::Borrowed(text),
        }
    }

    fn string(&self, text: &mut String) {
        if let Cow::Owned(scrubbed) = self.text(text) {
            *text = scrubbed;
        }
    }

    /// Names and values of headers without secrets.
    pub(crate) fn headers(&self, headers: &mut [(String, String)]) {
        for (name, value) in headers {
            if matches!(self.text(name), Cow::Owned(_)) {
                // The usual mark has characters that no name can have (RFC 9110, section 5.6.2).
                "redacted".clone_into(name);
            }
            self.string(value);
        }
    }

    /// An answer without secrets.
    pub(crate) fn response(&self, mut response: HttpResponse) -> HttpResponse {
        self.headers(&mut response.headers);
        response.body = self.bytes(response.body);
        response
    }

    /// An error without secrets.
    pub(crate) fn error(&self, mut error: PluginError) -> PluginError {
        self.string(&mut error.message);
        for (name, value) in &mut error.details {
            self.string(name);
            self.string(value);
        }
        error
    }

    /// A denial without secrets.
    pub(crate) fn denial(&self, mut denial: Denial) -> Denial {
        self.string(&mut denial.asked);
        self.string(&mut denial.smallest_grant);
        denial
    }
}

/// Searches bytes that come in pieces, for the secrets that were known when it began. A secret that lies across two pieces is found too.
pub(crate) struct Watch {
    search: Option<Arc<Search>>,
    /// The end of what came before, in which the longest spelling could have begun.
    tail: Vec<u8>,
}

impl Watch {
    fn new(search: Option<Arc<Search>>) -> Self {
        Self {
            search,
            tail: Vec::new(),
        }
    }

    /// For bytes that came from the guest, which has no secrets.
    pub(crate) fn nothing() -> Self {
        Self::new(None)
    }

    /// Whether a secret is in this piece, or across it and those before.
    pub(crate) fn sees(&mut self, piece: &[u8]) -> bool {
        let Some(search) = &self.search else {
            return false;
        };
        let reach = search.automaton.max_pattern_len().saturating_sub(1);
        let begun = self.tail.len();
        self.tail.extend_from_slice(piece.get(..reach).unwrap_or(piece));
        let across = begun > 0 && search.automaton.is_match(&self.tail);
        if across || search.automaton.is_match(piece) {
            return true;
        }
        if piece.len() > reach {
            self.tail.clear();
            self.tail
                .extend_from_slice(piece.get(piece.len() - reach..).unwrap_or_default());
        } else {
            let surplus = self.tail.len().saturating_sub(reach);
            self.tail.drain(..surplus);
        }
        false
    }
}

impl Search {
    fn of(secrets: &[Secret]) -> Option<Self> {
        let mut spellings: Vec<_> = secrets.iter().flat_map(spellings).collect();
        spellings.sort_unstable_by(|(one, edges), (other, others)| {
            one.as_slice().cmp(other.as_slice()).then(edges.cmp(others))
        });
        spellings.dedup_by(|(one, _), (other, _)| one == other);
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .ascii_case_insensitive(true)
            .build(spellings.iter().map(|(text, _)| text.as_slice()))
            .ok()?;
        Some(Self {
            automaton,
            edges: spellings.into_iter().map(|(_, edges)| edges).collect(),
        })
    }

    /// Where secrets are, ascending, not overlapping.
    fn places<'t>(&'t self, text: &'t [u8]) -> impl Iterator<Item = Range<usize>> + 't {
        let mut free = 0;
        let in_base64 = |at: usize| {
            text.get(at)
                .is_some_and(|byte| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte))
        };
        self.automaton.find_iter(text).map(move |found| {
            let edges = self
                .edges
                .get(found.pattern().as_usize())
                .copied()
                .unwrap_or_default();
            let (mut start, mut end) = (found.start(), found.end());
            if edges.before && start > free && in_base64(start - 1) {
                start -= 1;
            }
            if edges.after && in_base64(end) {
                end += 1;
                while text.get(end) == Some(&b'=') && end < found.end() + 3 {
                    end += 1;
                }
            }
            let start = start.max(free);
            free = end.max(start);
            start..free
        })
    }

    /// None if nothing is there.
    fn replaced(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut places = self.places(text).peekable();
        places.peek()?;
        let mut out = Vec::with_capacity(text.len());
        let mut from = 0;
        for place in places {
            out.extend_from_slice(text.get(from..place.start).unwrap_or_default());
            out.extend_from_slice(IN_ITS_PLACE.as_bytes());
            from = place.end;
        }
        out.extend_from_slice(text.get(from..).unwrap_or_default());
        Some(out)
    }
}

/// Every way in which systems write a secret. Most are the same for a secret of letters and digits.
fn spellings(secret: &Secret) -> Vec<(Zeroizing<Vec<u8>>, Edges)> {
    let raw = secret.expose();
    let mut whole: Vec<String> = vec![
        raw.to_owned(),
        hex::encode(raw),
        url::form_urlencoded::byte_serialize(raw.as_bytes()).collect(),
        // RFC 3986, section 2.3; then what JavaScript's encodeURIComponent and encodeURI leave as it is.
        percent_encoded(raw, b"-._~"),
        percent_encoded(raw, b"-_.!~*'()"),
        percent_encoded(raw, b"-_.!~*'();/?:@&=+$,#"),
        in_html(raw, "&#39;"),
        in_html(raw, "&#x27;"),
    ];
    let json = serde_json::Value::from(raw).to_string();
    let json = json.trim_start_matches('"');
    let json = json.strip_suffix('"').unwrap_or(json);
    whole.push(json.to_owned());
    whole.push(json.replace('/', "\\/"));
    whole.push(in_ascii(json));
    whole.push(in_ascii(json).replace('/', "\\/"));
    if let Some(username) = secret.username() {
        // As RFC 7617 writes the two together.
        let pair = Zeroizing::new(format!("{username}:{raw}"));
        whole.push(BASE64_STANDARD.encode(pair.as_bytes()));
        whole.push(BASE64_STANDARD_NO_PAD.encode(pair.as_bytes()));
        whole.push(BASE64_URL_SAFE_NO_PAD.encode(pair.as_bytes()));
    }
    // Padded ones first: the longest counts, or the padding would stay behind.
    whole.push(BASE64_STANDARD.encode(raw));
    let mut all: Vec<(Zeroizing<Vec<u8>>, Edges)> = whole
        .into_iter()
        .map(|text| (Zeroizing::new(text.into_bytes()), Edges::default()))
        .collect();
    all.extend((0..3).flat_map(|offset| in_base64(raw.as_bytes(), offset)));
    all
}

/// Inside of a longer base64 text, `offset` bytes after a boundary: the characters that hold nothing but the secret.
fn in_base64(raw: &[u8], offset: usize) -> Vec<(Zeroizing<Vec<u8>>, Edges)> {
    let mut bytes = Zeroizing::new(vec![0; offset]);
    bytes.extend_from_slice(raw);
    // Six bits a character: one character for no bytes before, two for one, three for two.
    let begin = [0, 2, 3].get(offset).copied().unwrap_or(0);
    let edges = Edges {
        before: offset != 0,
        after: !bytes.len().is_multiple_of(3),
    };
    [BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD]
        .iter()
        .filter_map(|alphabet| {
            let text = Zeroizing::new(alphabet.encode(bytes.as_slice()).into_bytes());
            let end = text.len() - usize::from(edges.after);
            Some((Zeroizing::new(text.get(begin..end)?.to_vec()), edges))
        })
        .collect()
}

fn percent_encoded(raw: &str, kept: &[u8]) -> String {
    let mut out = String::with_capacity(raw.len() * 3);
    for byte in raw.bytes() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&hex::encode_upper([byte]));
        }
    }
    out
}

fn in_html(raw: &str, apostrophe: &str) -> String {
    raw.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', apostrophe)
}

/// With everything beyond ASCII escaped, as some writers of JSON do (RFC 8259, section 7).
fn in_ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() {
            out.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

/// An observer that hears of no secret.
pub(crate) struct Scrubbed {
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) scrubber: Arc<Scrubber>,
}

impl Observer for Scrubbed {
    fn log(&self, level: LogLevel, message: &str, fields: &[(String, String)]) {
        let mut fields = fields.to_vec();
        for (name, value) in &mut fields {
            self.scrubber.string(name);
            self.scrubber.string(value);
        }
        self.observer.log(level, &self.scrubber.text(message), &fields);
    }

    fn denied(&self, denial: &Denial) {
        self.observer.denied(&self.scrubber.denial(denial.clone()));
    }
}

#[cfg(test)]
#[path = "scrub_tests.rs"]
mod tests;
