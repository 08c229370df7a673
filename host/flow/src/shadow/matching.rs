//! Which recorded exchange answers a request. Pure.
//!
//! A request is on the tape if its method, its address and its body are, wherever on the tape; two JSON bodies are the same if they mean the same
//! (RFC 8785). Headers are not looked at: what a system's answer depends on is in the other three, except for the version of its API, and a release
//! that only speaks another version is to be compared. So the versions that either release names in its manifest count as one where they stand in
//! an address. Every exchange answers once.

use stecker_model::{TapedAnswer, TapedBody, TapedExchange, canonical_json};
use url::Url;

/// What stands for any of the known versions.
const VERSION: &str = "{api-version}";

/// Exchanges of one call, and which of them were given out.
#[derive(Debug)]
pub(super) struct Reel {
    exchanges: Vec<TapedExchange>,
    keys: Vec<Key>,
    used: Vec<bool>,
    versions: Vec<String>,
}

/// What a request is found by.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    method: String,
    url: String,
    /// The same with the versions of APIs taken for one.
    any_version: String,
    body: String,
}

/// What is known of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a str,
    pub(super) url: &'a Url,
    pub(super) body: Option<&'a [u8]>,
}

/// A request that is not on the tape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OffTape {
    /// Method and path.
    pub(super) place: String,
    /// The request as it would be sent, and the nearest on the tape that nobody asked for.
    pub(super) new: String,
    pub(super) old: Option<String>,
    /// The body of that one and its own, if both are JSON and the rest is the same.
    pub(super) bodies: Option<(serde_json::Value, serde_json::Value)>,
}

impl Reel {
    /// `versions`: those of the systems' APIs that may stand in an address.
    pub(super) fn new(exchanges: &[TapedExchange], versions: &[String]) -> Self {
        // One that could be an id or a number of a page says too little.
        let mut versions: Vec<String> = versions
            .iter()
            .filter(|version| version.len() > 1 && version.chars().any(|c| !c.is_ascii_digit()))
            .cloned()
            .collect();
        versions.sort_by_key(|version| std::cmp::Reverse(version.len()));
        versions.dedup();
        let keys = exchanges.iter().map(|exchange| {
            let body = exchange.body.as_ref().and_then(TapedBody::bytes);
            Key::of(&exchange.method, &exchange.url, body.as_deref(), &versions)
        });
        Self {
            keys: keys.collect(),
            used: vec![false; exchanges.len()],
            exchanges: exchanges.to_vec(),
            versions,
        }
    }

    /// The answer to a request, if it is on the tape.
    pub(super) fn answer(&mut self, asked: Asked<'_>) -> Result<&TapedAnswer, Box<OffTape>> {
        let wanted = Key::of(asked.method, asked.url.as_str(), asked.body, &self.versions);
        let exact = |key: &Key| *key == wanted;
        let alike = |key: &Key| {
            key.method == wanted.method && key.any_version == wanted.any_version && key.body == wanted.body
        };
        let found = self.unused(exact).or_else(|| self.unused(alike));
        let Some(index) = found else {
            return Err(Box::new(self.off_tape(asked, &wanted)));
        };
        if let Some(used) = self.used.get_mut(index) {
            *used = true;
        }
        match self.exchanges.get(index) {
            Some(exchange) => Ok(&exchange.answer),
            None => Err(Box::new(self.off_tape(asked, &wanted))),
        }
    }

    fn unused(&self, is_it: impl Fn(&Key) -> bool) -> Option<usize> {
        let mut all = self.keys.iter().zip(&self.used);
        all.position(|(key, used)| !used && is_it(key))
    }

    fn off_tape(&self, asked: Asked<'_>, wanted: &Key) -> OffTape {
        let same_place =
            self.unused(|key| key.method == wanted.method && key.any_version == wanted.any_version);
        let path = |key: &Key| key.any_version.split(['?', '#']).next().map(str::to_owned);
        let same_path = || self.unused(|key| key.method == wanted.method && path(key) == path(wanted));
        let near = same_place.or_else(same_path).and_then(|at| self.keys.get(at));
        let value = |body: &str| serde_json::from_str(body).ok();
        let bodies = near
            .filter(|key| same_place.is_some() && key.body != wanted.body)
            .and_then(|key| Some((value(&key.body)?, value(&wanted.body)?)));
        OffTape {
            place: place(asked.method, asked.url.path()),
            new: wanted.text(),
            old: near.map(Key::text),
            bodies,
        }
    }

    /// Requests that change something, were sent, and were not asked for now: method, path and the request.
    pub(super) fn unsent(&self) -> Vec<(String, String)> {
        let all = self.keys.iter().zip(&self.used);
        all.filter(|(key, used)| !**used && !matches!(key.method.as_str(), "GET" | "HEAD" | "OPTIONS"))
            .map(|(key, _)| {
                let path = Url::parse(&key.url).map_or_else(|_| key.url.clone(), |url| url.path().to_owned());
                (place(&key.method, &path), key.text())
            })
            .collect()
    }
}

impl Key {
    fn of(method: &str, url: &str, body: Option<&[u8]>, versions: &[String]) -> Self {
        Self {
            method: method.to_owned(),
            any_version: without_versions(url, versions),
            url: url.to_owned(),
            body: canonical(body.unwrap_or_default()),
        }
    }

    fn text(&self) -> String {
        format!("{} {} {}", self.method, self.url, self.body)
            .trim_end()
            .to_owned()
    }
}

/// Ids in a path would make every request a place of its own.
fn place(method: &str, path: &str) -> String {
    let segment = |segment: &str| {
        let is_id = segment.chars().any(|c| c.is_ascii_digit())
            && (segment.len() > 3 || segment.chars().all(|c| c.is_ascii_digit()));
        if is_id { "*".to_owned() } else { segment.to_owned() }
    };
    let path: Vec<_> = path.split('/').map(segment).collect();
    format!("{method} {}", path.join("/"))
}

/// JSON as its one text; anything else as it is.
fn canonical(body: &[u8]) -> String {
    match serde_json::from_slice(body) {
        Ok(value) => canonical_json(&value),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    }
}

/// Versions are only taken for one where they stand alone, so that `v1` is not found in `v10`.
fn without_versions(url: &str, versions: &[String]) -> String {
    let mut url = url.to_owned();
    for version in versions {
        let mut out = String::with_capacity(url.len());
        let mut rest = url.as_str();
        while let Some((before, after)) = rest.split_once(version.as_str()) {
            let joined = |c: char| c.is_ascii_alphanumeric();
            let stands_alone =
                !before.chars().next_back().is_some_and(joined) && !after.chars().next().is_some_and(joined);
            out.push_str(before);
            out.push_str(if stands_alone { VERSION } else { version });
            rest = after;
        }
        out.push_str(rest);
        url = out;
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exchange(method: &str, url: &str, body: Option<&str>, status: u16) -> TapedExchange {
        TapedExchange {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
            body: body.map(|body| TapedBody::of(body.as_bytes())),
            credential: None,
            answer: TapedAnswer::Answered {
                status,
                headers: Vec::new(),
                body: TapedBody::of(b""),
            },
        }
    }

    fn ask(reel: &mut Reel, method: &str, url: &str, body: Option<&str>) -> Option<u16> {
        let url = Url::parse(url).unwrap();
        let asked = Asked {
            method,
            url: &url,
            body: body.map(str::as_bytes),
        };
        match reel.answer(asked) {
            Ok(TapedAnswer::Answered { status, .. }) => Some(*status),
            _ => None,
        }
    }

    #[test]
    fn each_exchange_answers_once_and_in_its_order() {
        let tape = [
            exchange("GET", "https://a.example/x", None, 401),
            exchange("GET", "https://a.example/x", None, 200),
            exchange("GET", "https://a.example/y", None, 204),
        ];
        let mut reel = Reel::new(&tape, &[]);
        let answers = ["x", "y", "x", "x"]
            .map(|path| ask(&mut reel, "GET", &format!("https://a.example/{path}"), None));
        assert_eq!(answers, [Some(401), Some(204), Some(200), None]);
    }

    #[test]
    fn json_bodies_are_the_same_if_they_mean_the_same() {
        let url = "https://a.example/x";
        let tape = [exchange("POST", url, Some(r#"{"a":1,"b":[2.0]}"#), 200)];
        for (body, found) in [
            (r#"{ "b": [2], "a": 1 }"#, true),
            (r#"{"a":1,"b":[3]}"#, false),
            ("a=1", false),
        ] {
            let mut reel = Reel::new(&tape, &[]);
            assert_eq!(ask(&mut reel, "POST", url, Some(body)).is_some(), found, "{body}");
        }
    }

    #[test]
    fn known_versions_of_the_api_are_taken_for_one() {
        let versions = ["2026-01".to_owned(), "2026-04".to_owned(), "1".to_owned()];
        let tape = [exchange(
            "GET",
            "https://a.example/api/2026-01/orders/1?limit=5",
            None,
            200,
        )];
        for (url, found) in [
            ("https://a.example/api/2026-04/orders/1?limit=5", true),
            ("https://a.example/api/2026-07/orders/1?limit=5", false),
            ("https://a.example/api/2026-041/orders/1?limit=5", false),
            ("https://a.example/api/2026-04/orders/2?limit=5", false),
        ] {
            let mut reel = Reel::new(&tape, &versions);
            assert_eq!(ask(&mut reel, "GET", url, None).is_some(), found, "{url}");
        }
    }

    #[test]
    fn a_request_off_the_tape_is_held_against_the_nearest_one() {
        let tape = [exchange(
            "POST",
            "https://a.example/orders/1001",
            Some(r#"{"total":"1.00"}"#),
            200,
        )];
        let mut reel = Reel::new(&tape, &[]);
        let url = Url::parse("https://a.example/orders/1001").unwrap();
        let asked = Asked {
            method: "POST",
            url: &url,
            body: Some(br#"{"total":100}"#),
        };
        let off = reel.answer(asked).unwrap_err();
        assert_eq!(off.place, "POST /orders/*");
        assert!(off.bodies.is_some() && off.old.is_some());
        assert_eq!(reel.unsent().len(), 1, "what was sent before is missing");
    }

    proptest! {
        /// However a plugin shuffles what it asks, it is answered completely and by what belongs to it.
        #[test]
        fn in_any_order_everything_is_answered(order in Just((0..12_usize).collect::<Vec<_>>()).prop_shuffle()) {
            let tape: Vec<_> = (0..12_u16)
                .map(|n| exchange("GET", &format!("https://a.example/{}", n % 4), None, 200 + n))
                .collect();
            let mut reel = Reel::new(&tape, &[]);
            for n in order {
                let url = format!("https://a.example/{}", n % 4);
                let status = ask(&mut reel, "GET", &url, None);
                prop_assert!(status.is_some_and(|status| usize::from(status - 200) % 4 == n % 4));
            }
            prop_assert!(reel.unsent().is_empty());
        }
    }
}
