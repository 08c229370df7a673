use super::*;

fn scrubber(secrets: &[Secret]) -> Arc<Scrubber> {
    let scrubber = Arc::new(Scrubber::default());
    for secret in secrets {
        assert!(scrubber.learn(secret));
    }
    scrubber
}

fn random(len: usize) -> String {
    const ALPHABET: &[u8] = b"abcXYZ0189 +/=?&%\"'<>\\~!*()_-.:;,@#$|\t";
    (0..len)
        .map(|_| char::from(ALPHABET[rand::random_range(0..ALPHABET.len())]))
        .collect()
}

#[test]
fn every_usual_spelling_is_found() {
    let raw = "p@ss w+rd/=?";
    let scrubber = scrubber(&[Secret::with_username("otto".to_owned(), raw.to_owned())]);
    for spelling in [
        raw.to_owned(),
        hex::encode(raw),
        hex::encode_upper(raw),
        BASE64_STANDARD.encode(raw),
        BASE64_STANDARD.encode(format!("otto:{raw}")),
        BASE64_URL_SAFE_NO_PAD.encode(raw),
        "p%40ss+w%2Brd%2F%3D%3F".to_owned(),
        "p%40ss%20w%2brd%2f%3d%3f".to_owned(),
        "p@ss%20w+rd/=?".to_owned(),
        "p@ss w+rd\\/=?".to_owned(),
        raw.to_uppercase(),
    ] {
        let text = format!("<{spelling}> and <{spelling}>");
        assert_eq!(
            scrubber.text(&text),
            "<[redacted]> and <[redacted]>",
            "{spelling}"
        );
    }
}

#[test]
fn escapes_of_json_and_html_are_found() {
    let raw = "a\"b\\c&d'é<ü>";
    let scrubber = scrubber(&[Secret::new(raw.to_owned())]);
    for spelling in [
        serde_json::to_string(raw).unwrap(),
        r#""a\"b\\c&d'\u00e9<\u00FC>""#.to_owned(),
        "\"a&quot;b\\c&amp;d&#39;é&lt;ü&gt;\"".to_owned(),
        "\"a&quot;b\\c&amp;d&#x27;é&lt;ü&gt;\"".to_owned(),
    ] {
        assert_eq!(scrubber.text(&spelling), "\"[redacted]\"", "{spelling}");
    }
}

/// Whatever stands around it, nothing of the secret is left in what the base64 decodes to.
#[test]
fn inside_of_longer_base64_at_every_place() {
    for _ in 0..200 {
        let secret = random(rand::random_range(8..40));
        let scrubber = scrubber(&[Secret::new(secret.clone())]);
        for (before, after) in [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (5, 4), (6, 200)] {
            let text = format!("{}{secret}{}", "x".repeat(before), "y".repeat(after));
            for encoded in [
                BASE64_STANDARD.encode(&text),
                BASE64_URL_SAFE_NO_PAD.encode(&text),
            ] {
                let scrubbed = scrubber.text(&encoded).into_owned();
                let (left, right) = scrubbed.split_once(IN_ITS_PLACE).unwrap();
                // All that is left is what holds bits of the neighbours only.
                assert_eq!(
                    left.len(),
                    before * 8 / 6,
                    "{secret:?} after {before}: {scrubbed}"
                );
                assert!(encoded.starts_with(left) && encoded.ends_with(right));
                let whole = right.trim_end_matches('=').len();
                assert!(
                    whole <= (after * 8).div_ceil(6),
                    "{secret:?} before {after}: {scrubbed}"
                );
            }
        }
    }
}

#[test]
fn all_secrets_of_a_session_are_looked_for() {
    let (one, two) = (format!("one-{}", random(12)), format!("two-{}", random(12)));
    let scrubber = scrubber(&[Secret::new(one.clone()), Secret::new(two.clone())]);
    let answer = scrubber.response(HttpResponse {
        status: 200,
        headers: vec![
            ("x-echo".to_owned(), two.clone()),
            (one.to_lowercase(), "value".to_owned()),
        ],
        body: format!("{one}|{two}").into_bytes(),
    });
    assert_eq!(answer.body, b"[redacted]|[redacted]");
    assert_eq!(answer.headers[0].1, IN_ITS_PLACE);
    assert_eq!(answer.headers[1].0, "redacted");
    let error = scrubber.error(
        PluginError::new(stecker_model::ErrorCode::Fatal, format!("no {one}")).with_detail("with", two),
    );
    assert_eq!(error.message, "no [redacted]");
    assert_eq!(error.detail("with"), Some(IN_ITS_PLACE));
}

#[test]
fn what_could_be_there_by_chance_is_left_alone() {
    let short = scrubber(&[Secret::new("abc".to_owned())]);
    assert_eq!(short.text("abcdef"), "abcdef");
    let other = scrubber(&[Secret::new("long-enough".to_owned())]);
    assert_eq!(other.text("nothing"), "nothing");
    assert_eq!(other.bytes(vec![0xff; 64]), vec![0xff; 64]);
}

#[test]
fn old_tokens_make_room_for_new_ones() {
    let scrubber = Scrubber::default();
    let secrets: Vec<String> = (0..MAX_SECRETS + 1)
        .map(|n| format!("{n}-{}", hex::encode(rand::random::<[u8; 8]>())))
        .collect();
    for secret in &secrets {
        assert!(scrubber.learn(&Secret::new(secret.clone())));
    }
    assert_eq!(scrubber.text(&secrets[MAX_SECRETS]), IN_ITS_PLACE);
    assert_eq!(scrubber.text(&secrets[0]), secrets[0]);
}

#[test]
fn an_observer_hears_of_no_secret() {
    #[derive(Default)]
    struct Heard(std::sync::Mutex<Vec<String>>);
    impl Observer for Heard {
        fn log(&self, _: LogLevel, message: &str, fields: &[(String, String)]) {
            self.0.lock().unwrap().push(format!("{message} {fields:?}"));
        }
        fn denied(&self, denial: &Denial) {
            self.0.lock().unwrap().push(denial.asked.clone());
        }
    }
    let secret = hex::encode(rand::random::<[u8; 8]>());
    let heard = Arc::new(Heard::default());
    let observer = Scrubbed {
        observer: Arc::clone(&heard) as _,
        scrubber: scrubber(&[Secret::new(secret.clone())]),
    };
    let field = (format!("k{secret}"), secret.clone());
    observer.log(LogLevel::Info, &format!("got {secret}"), &[field]);
    observer.denied(&super::super::policy::never(
        "rule",
        format!("a request to {secret}"),
    ));
    assert_eq!(
        *heard.0.lock().unwrap(),
        [
            "got [redacted] [(\"k[redacted]\", \"[redacted]\")]",
            "a request to [redacted]"
        ]
    );
}

/// However the bytes are cut: in front of, behind and in the middle of what is looked for.
#[test]
fn a_secret_is_seen_across_pieces() {
    let secret = "a token of some length";
    let scrubber = scrubber(&[Secret::new(secret.to_owned())]);
    for spelling in [
        secret.to_owned(),
        hex::encode(secret),
        BASE64_STANDARD.encode(secret),
    ] {
        let text = format!("{}{spelling}{}", "x".repeat(500), "y".repeat(500));
        for size in [1, 2, 7, 63, 64, 500, 2_000] {
            let mut watch = scrubber.watch();
            assert!(
                text.as_bytes().chunks(size).any(|piece| watch.sees(piece)),
                "{spelling} in pieces of {size}"
            );
            let mut watch = scrubber.watch();
            let without = text.replace(&spelling, "zzzz");
            assert!(!without.as_bytes().chunks(size).any(|piece| watch.sees(piece)));
        }
    }
    let mut nothing = Watch::nothing();
    assert!(!nothing.sees(secret.as_bytes()));
}
