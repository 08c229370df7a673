//! What is taken down of a call's requests: everything that the policy allowed, in its order, and no secret whichever way it goes.

use stecker_model::{TapedAnswer, TapedExchange};

use super::*;
use crate::{Recorded, TapeBounds};

async fn recorded(
    address: &str,
    bounds: TapeBounds,
    secrets: &Secrets,
    requests: Vec<HttpRequest>,
) -> Recorded {
    let (egress, recorder) = (egress(address, true), Recorder::new(bounds));
    let (meter, budget) = (Meter::default(), ResponseBudget::of(MAX_BODY));
    for request in requests {
        let exchange = Exchange {
            recorder: Some(&recorder),
            priority: Priority::default(),
            remaining: Duration::from_secs(30),
            budget: &budget,
            meter: &meter,
            credentials: &(Arc::new(secrets.clone()) as _),
            scrubber: &Arc::default(),
        };
        // Whether it goes well is on the tape.
        drop(egress.send(request, exchange).await);
    }
    recorder.recorded()
}

fn status(exchange: &TapedExchange) -> Option<u16> {
    match &exchange.answer {
        TapedAnswer::Answered { status, .. } => Some(*status),
        TapedAnswer::Failed { .. } => None,
    }
}

#[tokio::test]
async fn no_credential_is_on_a_tape_and_everything_else_is() {
    let (address, secrets) = (server().await, Secrets::new());
    let url = |path: &str| format!("http://{address}{path}");
    let with = |credential: &str| HttpRequest {
        method: "POST".to_owned(),
        body: Some(br#"{"a":1}"#.to_vec()),
        credential: Some(credential.to_owned()),
        headers: vec![
            ("Cookie".to_owned(), "session=1".to_owned()),
            ("X-Trace".to_owned(), "t".to_owned()),
        ],
        ..get(url("/echo"))
    };
    let credentials = ["key", "bearer", "basic", "query", "signed"];
    let tape = recorded(
        &address,
        TapeBounds::default(),
        &secrets,
        credentials.map(with).to_vec(),
    )
    .await;
    assert!(!tape.truncated);
    assert_eq!(
        tape.exchanges.iter().map(status).collect::<Vec<_>>(),
        [Some(200); 5]
    );
    let text = serde_json::to_string(&tape.exchanges).unwrap();
    for secret in [secrets.0.clone(), hex::encode(&secrets.0)] {
        assert!(!text.contains(&secret), "{text}");
    }
    for (exchange, credential) in tape.exchanges.iter().zip(credentials) {
        assert_eq!(exchange.credential.as_deref(), Some(credential));
        assert_eq!(exchange.url, url("/echo"), "as the guest wrote it");
        assert!(exchange.headers.contains(&("x-trace".to_owned(), "t".to_owned())));
        let cookie = ("cookie".to_owned(), "[redacted]".to_owned());
        assert!(exchange.headers.contains(&cookie));
        assert!(!exchange.headers.iter().any(|(name, _)| name == "x-signature"));
    }
}

#[tokio::test]
async fn every_hop_and_every_failure_is_there_and_what_was_denied_is_not() {
    let (address, secrets) = (server().await, Secrets::new());
    let url = |path: &str| format!("http://{address}{path}");
    let mut following = get(url("/redirect"));
    following.options = vec![("follow-redirects".to_owned(), "1".to_owned())];
    let mut waiting = get(url("/never"));
    waiting.timeout_ms = Some(50);
    let requests = vec![
        following,
        waiting,
        get("http://127.0.0.1:2/denied".to_owned()),
        get(url("/echo")),
    ];
    let tape = recorded(&address, TapeBounds::default(), &secrets, requests).await;
    let seen: Vec<_> = tape
        .exchanges
        .iter()
        .map(|exchange| (exchange.url.trim_start_matches(&url("")), status(exchange)))
        .collect();
    assert_eq!(
        seen,
        [
            ("/redirect", Some(302)),
            ("/echo", Some(200)),
            ("/never", None),
            ("/echo", Some(200)),
        ]
    );
    let TapedAnswer::Failed { maybe_sent, .. } = &tape.exchanges[2].answer else {
        panic!("{:?}", tape.exchanges[2]);
    };
    assert!(*maybe_sent && !tape.truncated);
}

#[tokio::test]
async fn beyond_its_bounds_a_tape_is_useless_and_the_call_goes_on() {
    let (address, secrets) = (server().await, Secrets::new());
    let url = |path: &str| get(format!("http://{address}{path}"));
    let few = TapeBounds {
        exchanges: 1,
        bytes: 4 << 20,
    };
    let tape = recorded(&address, few, &secrets, vec![url("/echo"), url("/echo")]).await;
    assert!(tape.truncated && tape.exchanges.len() == 1);
    let small = TapeBounds {
        exchanges: 10,
        bytes: 1 << 16,
    };
    let tape = recorded(&address, small, &secrets, vec![url("/big"), url("/echo")]).await;
    assert!(
        tape.truncated && tape.exchanges.len() == 1,
        "the rest is kept, for a person"
    );
}
