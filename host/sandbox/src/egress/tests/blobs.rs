//! Bodies out of blobs and answers into blobs, where they meet what the way out does besides: redirects, signatures, bounds.

use std::sync::Mutex;

use axum::{
    body::Bytes as Received,
    extract::State,
    http::{HeaderMap, Uri},
};
use stecker_model::{BlobGrant, Digest};

use super::*;
use crate::blob::{
    BlobStore, MemoryBlobs,
    room::{Access, Room},
};

type Bodies = Arc<Mutex<Vec<(String, Option<String>, Vec<u8>)>>>;

/// Writes down what comes in, with its announced length; `/307` sends on to `/echo`, and everything else is answered with the body.
async fn recording() -> (String, Bodies) {
    async fn answer(
        State(bodies): State<Bodies>,
        uri: Uri,
        headers: HeaderMap,
        body: Received,
    ) -> axum::response::Response {
        let length = headers.get("content-length");
        let length = length.map(|length| length.to_str().unwrap().to_owned());
        bodies
            .lock()
            .unwrap()
            .push((uri.path().to_owned(), length, body.to_vec()));
        match uri.path() {
            "/307" => (StatusCode::TEMPORARY_REDIRECT, [("location", "/echo")]).into_response(),
            "/404" => (StatusCode::NOT_FOUND, body).into_response(),
            _ => body.into_response(),
        }
    }
    let bodies = Bodies::default();
    let app = Router::new().fallback(answer).with_state(Arc::clone(&bodies));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, bodies)
}

struct Blobs {
    store: Arc<dyn BlobStore>,
    room: Room,
}

impl Blobs {
    fn new() -> Self {
        let name: Name = "shop".parse().unwrap();
        let manifest = MANIFEST.replace(
            "1.0.0\"\n\n",
            "1.1.0\"\n\n[capabilities.blobs]\nmax-bytes = 1000000\n\n",
        );
        let granted = Grants {
            blobs: Some(BlobGrant {
                max_bytes: 1_000_000,
                max_blob_bytes: 1_000_000,
            }),
            ..Grants::default()
        };
        let access = Access::of(&Manifest::from_toml(&manifest).unwrap(), &granted, None);
        let Access::Granted(room) = access else {
            panic!("blobs are granted");
        };
        Self {
            store: MemoryBlobs::default().of(&name, &name),
            room,
        }
    }

    async fn put(&self, bytes: &'static [u8]) -> body::Piece {
        let digest = stecker_registry::component::digest(bytes);
        let mut writer = self.store.begin(self.room.quota()).await.unwrap();
        writer.write(Bytes::from_static(bytes)).await.unwrap();
        writer.finish(&digest).await.unwrap();
        body::Piece::Blob {
            digest,
            size: bytes.len().try_into().unwrap(),
        }
    }

    async fn exchange(
        &self,
        egress: &Egress,
        request: HttpRequest,
        pieces: Vec<body::Piece>,
        digest: Option<&Digest>,
    ) -> Result<(HttpResponse, Option<Stored>), Failure> {
        let (meter, budget) = (Meter::default(), ResponseBudget::of(MAX_BODY));
        let exchange = Exchange {
            recorder: None,
            priority: Priority::default(),
            remaining: Duration::from_secs(30),
            budget: &budget,
            meter: &meter,
            credentials: &(Arc::new(Secrets::new()) as _),
            scrubber: &Arc::default(),
        };
        let sink = Sink {
            store: &self.store,
            room: &self.room,
            max: 1_000,
            digest,
        };
        let pieces = (!pieces.is_empty()).then(|| Arc::new(Pieces::new(pieces, Arc::clone(&self.store))));
        egress.exchange(request, pieces, Some(sink), exchange).await
    }
}

fn post(url: String) -> HttpRequest {
    HttpRequest {
        method: "POST".to_owned(),
        options: vec![("follow-redirects".to_owned(), "2".to_owned())],
        ..get(url)
    }
}

#[tokio::test]
async fn a_body_is_read_again_for_a_redirect_and_comes_back_as_a_blob() {
    let ((address, bodies), blobs) = (recording().await, Blobs::new());
    let egress = egress(&address, true);
    let pieces = vec![
        body::Piece::Bytes(Bytes::from_static(b"<")),
        blobs.put(b"a blob").await,
        body::Piece::Bytes(Bytes::from_static(b">")),
    ];
    let request = post(format!("http://{address}/307"));
    let (response, stored) = blobs.exchange(&egress, request, pieces, None).await.unwrap();
    assert_eq!((response.status, response.body.len()), (200, 0));
    let stored = stored.unwrap();
    assert_eq!(stored.size, 8);
    assert_eq!(stored.digest, stecker_registry::component::digest(b"<a blob>"));
    assert_eq!(blobs.store.size(&stored.digest).await.unwrap(), Some(8));
    let came = |path: &str| (path.to_owned(), Some("8".to_owned()), b"<a blob>".to_vec());
    assert_eq!(*bodies.lock().unwrap(), [came("/307"), came("/echo")]);
}

#[tokio::test]
async fn an_answer_that_is_no_success_comes_as_usual() {
    let ((address, _), blobs) = (recording().await, Blobs::new());
    let mut request = post(format!("http://{address}/404"));
    request.body = Some(b"no such thing".to_vec());
    let egress = egress(&address, true);
    let (response, stored) = blobs.exchange(&egress, request, Vec::new(), None).await.unwrap();
    assert_eq!(
        (response.status, response.body.as_slice()),
        (404, &b"no such thing"[..])
    );
    assert_eq!(stored, None);
}

#[tokio::test]
async fn what_cannot_go_together_is_refused_before_anything_is_sent() {
    let ((address, bodies), blobs) = (recording().await, Blobs::new());
    let piece = blobs.put(b"a blob").await;
    let url = || format!("http://{address}/echo");
    let signed = HttpRequest {
        credential: Some("signed".to_owned()),
        ..post(url())
    };
    let both = HttpRequest {
        body: Some(b"and a body".to_vec()),
        ..post(url())
    };
    let egress = egress(&address, true);
    for (request, says) in [(signed, "signs the body"), (both, "one of the two")] {
        let refused = blobs.exchange(&egress, request, vec![piece.clone()], None).await;
        let error = error(refused.map(|(response, _)| response));
        assert_eq!(
            (error.kind(), error.detail("sent")),
            (ErrorCode::Unsupported, Some("no"))
        );
        assert!(error.message.contains(says), "{error}");
    }
    assert_eq!(bodies.lock().unwrap().len(), 0);
}

/// What comes out of a guest's memory has the same bound in pieces as in one.
#[tokio::test]
async fn the_bound_of_a_body_is_that_of_what_was_in_memory() {
    let ((address, bodies), blobs) = (recording().await, Blobs::new());
    let mut binding = binding(&address, true);
    binding.limits.http.request_bytes = 5;
    let egress = bound(&address, &binding, &Network::new(&[]).unwrap());
    let url = || post(format!("http://{address}/echo"));
    let long = blobs.put(b"longer than five bytes").await;
    blobs.exchange(&egress, url(), vec![long], None).await.unwrap();
    let inline = vec![body::Piece::Bytes(Bytes::from_static(b"<<<>>>"))];
    let refused = blobs.exchange(&egress, url(), inline, None).await;
    assert!(
        error(refused.map(|(response, _)| response))
            .message
            .contains("request-bytes")
    );
    assert_eq!(bodies.lock().unwrap().len(), 1);
}
