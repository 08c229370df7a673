//! Answers of every size, shape and pace, against a server that writes whatever the test wants.

use std::{
    io::Write as _,
    sync::atomic::{AtomicUsize, Ordering},
};

use flate2::{Compression, write::GzEncoder};

use super::*;

const FLOOD: &[u8] = b"x-1: y\r\nx-2: y\r\nx-3: y\r\nx-4: y\r\nx-5: y\r\nx-6: y\r\nx-7: y\r\nx-8: y\r\n";

/// What a server does with a connection after it has read the head of a request.
#[derive(Clone)]
enum Then {
    Close,
    /// Keeps the connection open and says nothing.
    Wait,
    /// Writes this again and again, as fast as it is taken.
    Repeat(&'static [u8]),
    /// Writes a byte, pauses, writes a byte.
    Drip(Duration),
}

/// The address, and a way to see how many connections came.
async fn raw(answer: Vec<u8>, then: Then) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let (answer, then) = (answer.clone(), then.clone());
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(socket.read_u8().await?);
                }
                socket.write_all(&answer).await?;
                match then {
                    Then::Close => {}
                    Then::Wait => std::future::pending().await,
                    Then::Repeat(piece) => loop {
                        socket.write_all(piece).await?;
                    },
                    Then::Drip(pause) => loop {
                        socket.write_all(b"x").await?;
                        tokio::time::sleep(pause).await;
                    },
                }
                socket.shutdown().await
            });
        }
    });
    (address, connections)
}

fn head(headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{headers}\r\n").into_bytes()
}

fn with_body(headers: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = head(&format!("content-length: {}\r\n{headers}", body.len()));
    answer.extend_from_slice(body);
    answer
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn brotli(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    {
        let mut encoder = brotli::CompressorWriter::new(&mut out, 4096, 5, 22);
        encoder.write_all(body).unwrap();
    }
    out
}

async fn failing(answer: Vec<u8>, then: Then) -> PluginError {
    let (address, _) = raw(answer, then).await;
    let error = error(send(&egress(&address, true), get(format!("http://{address}/"))).await);
    assert_eq!(error.detail("sent"), Some("maybe"), "{error}");
    error
}

#[tokio::test]
async fn a_compressed_answer_arrives_decoded() {
    let body = "Straße, ".repeat(1_000).into_bytes();
    for (coding, coded) in [("gzip", gzip(&body)), ("br", brotli(&body))] {
        let answer = with_body(&format!("content-encoding: {coding}\r\n"), &coded);
        let (address, _) = raw(answer, Then::Close).await;
        let (answer, meter) = send_with(
            &egress(&address, true),
            get(format!("http://{address}/")),
            &Secrets::new(),
            MAX_BODY,
        )
        .await;
        let response = answer.unwrap();
        assert!(response.body == body, "{coding}");
        let header = |name: &str| {
            let found = response.headers.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.clone())
        };
        assert_eq!(header("content-encoding"), None);
        assert_eq!(header("content-length"), Some(body.len().to_string()));
        let usage = meter.usage(Duration::ZERO);
        assert_eq!(usage.http_bytes_in, u64::try_from(coded.len()).unwrap());
        assert!(usage.http_bytes > usage.http_bytes_in);
    }
}

#[tokio::test]
async fn what_the_host_does_not_know_is_handed_on() {
    let (address, _) = raw(with_body("content-encoding: zstd\r\n", b"anything"), Then::Close).await;
    let response = send(&egress(&address, true), get(format!("http://{address}/")))
        .await
        .unwrap();
    assert_eq!(response.body, b"anything");
    assert!(
        response
            .headers
            .contains(&("content-encoding".to_owned(), "zstd".to_owned()))
    );
}

#[tokio::test]
async fn the_host_asks_for_codings_that_it_can_look_into() {
    let address = server().await;
    for (wish, sent) in [
        (None, "gzip, br"),
        (Some("zstd, deflate"), "gzip, br"),
        (Some("identity"), "identity"),
    ] {
        let mut request = get(format!("http://{address}/echo"));
        let wish = wish.map(|wish| ("Accept-Encoding".to_owned(), wish.to_owned()));
        request.headers.extend(wish);
        let response = send(&egress(&address, true), request).await.unwrap();
        assert_eq!(echoed(&response, "accept-encoding").as_deref(), Some(sent));
    }
}

#[tokio::test]
async fn bombs_go_off_in_nobodys_memory() {
    let zeros = vec![0; 64 << 20];
    for (coding, coded) in [("gzip", gzip(&zeros)), ("br", brotli(&zeros))] {
        let answer = with_body(&format!("content-encoding: {coding}\r\n"), &coded);
        let error = failing(answer, Then::Close).await;
        assert_eq!(error.kind(), ErrorCode::Fatal, "{error}");
        assert!(error.message.contains("100 times larger"), "{error}");
    }
    let twice = gzip(&gzip(&zeros));
    for headers in [
        "content-encoding: gzip, gzip\r\n",
        "content-encoding: gzip\r\ncontent-encoding: gzip\r\n",
    ] {
        let error = failing(with_body(headers, &twice), Then::Close).await;
        assert!(error.message.contains("several content codings"), "{error}");
    }
    let error = failing(
        with_body("content-encoding: gzip\r\n", b"not gzip at all"),
        Then::Close,
    )
    .await;
    assert_eq!(error.kind(), ErrorCode::Transient, "{error}");
}

#[tokio::test]
async fn a_body_without_end_is_cut_off() {
    let endless = head("transfer-encoding: chunked\r\n");
    let (address, _) = raw(endless, Then::Repeat(b"8\r\nxxxxxxxx\r\n")).await;
    let mut egress = egress(&address, true);
    egress.limits.response_bytes = 100_000;
    let error = error(send(&egress, get(format!("http://{address}/"))).await);
    assert_eq!(error.detail("sent"), Some("maybe"), "{error}");
    assert_eq!(error.kind(), ErrorCode::Fatal, "{error}");
    assert!(error.message.contains("larger than there is room for"), "{error}");
}

#[tokio::test]
async fn a_body_that_drips_ends_with_the_time() {
    let slow = Then::Drip(Duration::from_millis(10));
    let (address, _) = raw(head("content-length: 1000000\r\n"), slow).await;
    let mut request = get(format!("http://{address}/"));
    request.timeout_ms = Some(200);
    let error = error(send(&egress(&address, true), request).await);
    assert_eq!(
        (error.kind(), error.detail("sent")),
        (ErrorCode::Transient, Some("maybe"))
    );
    assert!(error.message.contains("within the time"), "{error}");
}

#[tokio::test]
async fn a_body_that_stops_is_not_waited_for() {
    let (address, _) = raw(head("content-length: 10\r\n"), Then::Wait).await;
    let mut egress = egress(&address, true);
    egress.idle = Duration::from_millis(50);
    let error = error(send(&egress, get(format!("http://{address}/"))).await);
    assert_eq!(error.kind(), ErrorCode::Transient, "{error}");
    assert!(error.message.contains("nothing came for"), "{error}");
}

#[tokio::test]
async fn headers_are_bounded_too() {
    let many: String = (0..200).map(|i| format!("x-{i}: y\r\n")).collect();
    let large = format!("x-large: {}\r\n", "y".repeat(70_000));
    for headers in [many, large] {
        let error = failing(with_body(&headers, b""), Then::Close).await;
        assert_eq!(error.kind(), ErrorCode::Fatal, "{error}");
        assert!(error.message.contains("headers of"), "{error}");
    }
    // A flood ends in the connection, before any of it is counted.
    failing(b"HTTP/1.1 200 OK\r\n".to_vec(), Then::Repeat(FLOOD)).await;
    failing(b"HTTP/1.1 200 OK\r\nx: ".to_vec(), Then::Repeat(&[b'y'; 4096])).await;
}

#[tokio::test]
async fn a_request_has_its_bounds() {
    let (address, connections) = raw(with_body("", b"ok"), Then::Close).await;
    let mut egress = egress(&address, true);
    egress.limits.request_bytes = 1_000;
    let mut request = get(format!("http://{address}/"));
    request.method = "POST".to_owned();
    request.body = Some(vec![b'x'; 1_001]);
    let error = error(send(&egress, request.clone()).await);
    assert_eq!(
        (error.kind(), error.detail("sent")),
        (ErrorCode::Unsupported, Some("no")),
        "{error}"
    );
    assert_eq!(connections.load(Ordering::SeqCst), 0);
    request.body = Some(vec![b'x'; 1_000]);
    assert_eq!(send(&egress, request).await.unwrap().status, 200);
}

#[tokio::test]
async fn bytes_of_the_day_are_counted_over_sessions() {
    let (address, connections) = raw(with_body("", &[b'x'; 10_000]), Then::Close).await;
    let network = Network::new(&[]).unwrap();
    let bind = |bytes_per_day, http_bytes_today| {
        let mut binding = binding(&address, true);
        binding.limits.http.bytes_per_day = bytes_per_day;
        binding.http_bytes_today = http_bytes_today;
        bound(&address, &binding, &network)
    };
    let ask = || get(format!("http://{address}/"));
    // The second begins below the bound; its answer may go beyond.
    let first = bind(12_000, 0);
    for _ in 0..2 {
        assert_eq!(send(&first, ask()).await.unwrap().status, 200);
    }
    assert_eq!(denied_by(send(&first, ask()).await), "http.bytes-per-day");
    // A new session is no new day, and one with more room goes on.
    assert_eq!(
        denied_by(send(&bind(12_000, 0), ask()).await),
        "http.bytes-per-day"
    );
    assert_eq!(send(&bind(100_000, 0), ask()).await.unwrap().status, 200);
    // What the embedder remembers from before a restart counts as well.
    assert_eq!(
        denied_by(send(&bind(100_000, 100_000), ask()).await),
        "http.bytes-per-day"
    );
    assert_eq!(connections.load(Ordering::SeqCst), 3);
}
