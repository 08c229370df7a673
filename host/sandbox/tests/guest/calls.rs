//! What becomes of a call, whatever the guest does in it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use stecker_model::{ErrorCode, Grants, HttpGrant, Transformed};
use stecker_sandbox::{Binding, CallError, Condition, Storage, StorageError, StoredEntry};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::{
    MANIFEST, Recorder, answer, apply, binding, component, load, record, sandbox, session, storing,
    transform, within,
};

fn dropping(text: &str) -> Vec<Transformed> {
    vec![Transformed::Drop(text.to_owned())]
}

fn honest() -> Vec<u8> {
    transform("", &apply(&format!("{} (i32.const 2048)", answer(1, 1040, 5))))
}

#[tokio::test]
async fn an_honest_call() {
    let called = session(honest()).await.apply(vec![record()]).await;
    assert_eq!(called.result.unwrap(), dropping("{\"tit"));
    assert!(
        called.usage.peak_memory >= 64 << 10 && called.usage.peak_memory < 4 << 20,
        "{:?}",
        called.usage
    );
}

#[tokio::test]
async fn a_crash_names_the_functions() {
    let code = format!(
        "(func $find_price unreachable) {}",
        apply("(call $find_price) (i32.const 0)")
    );
    let session = session(transform("", &code)).await;
    for _ in 0..3 {
        match session.apply(vec![record()]).await.result {
            Err(error @ CallError::Trap { .. }) => {
                assert_eq!(error.code(), ErrorCode::Fatal);
                let trace = error.backtrace();
                assert!(
                    trace[0].ends_with("!find_price") && trace[1].ends_with("!apply"),
                    "{trace:?}"
                );
                assert!(error.to_string().contains("unreachable"), "{error}");
                assert!(error.to_string().contains("find_price"), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// On one thread: an endless loop neither keeps others from running nor runs for ever.
#[tokio::test]
async fn an_endless_loop_yields_and_is_stopped() {
    let sandbox = sandbox();
    let code = format!(
        "(func $spin (loop $again (br $again))) {}",
        apply("(call $spin) (i32.const 0)")
    );
    let endless = load(&sandbox, transform("", &code))
        .await
        .bind(within(200))
        .unwrap();
    let honest = load(&sandbox, honest()).await.bind(binding()).unwrap();
    let endless = tokio::spawn(async move { endless.apply(vec![record()]).await });
    tokio::task::yield_now().await;
    assert!(honest.apply(vec![record()]).await.result.is_ok());
    assert!(!endless.is_finished(), "the honest call went first");

    let called = endless.await.unwrap();
    let error = called.result.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Transient);
    assert!(
        matches!(error, CallError::Deadline { limit, .. } if limit == Duration::from_millis(200)),
        "{error}"
    );
    assert!(error.backtrace()[0].ends_with("!spin"), "{error}");
    assert!(called.usage.epoch_ticks > 1, "{:?}", called.usage);
    assert!(called.usage.wall_us >= 200_000);
}

/// What the caller gives up ends, and its instance is free again.
#[tokio::test]
async fn a_call_ends_when_its_future_is_dropped() {
    let sandbox = sandbox();
    let endless = load(
        &sandbox,
        transform("", &apply("(loop $again (br $again)) (i32.const 0)")),
    )
    .await;
    let session = endless.bind(binding()).unwrap();
    for _ in 0..20 {
        let call = session.apply(vec![record()]);
        assert!(
            tokio::time::timeout(Duration::from_millis(3), call)
                .await
                .is_err()
        );
    }
    let honest = load(&sandbox, honest()).await.bind(binding()).unwrap();
    assert!(honest.apply(vec![record()]).await.result.is_ok());
}

#[tokio::test]
async fn memory_and_tables_are_bounded_together() {
    let grow = |what: &str| {
        apply(&format!(
            "(loop $more (br_if $more (i32.ne {what} (i32.const -1)))) unreachable"
        ))
    };
    for (name, code) in [
        ("memory", grow("(memory.grow (i32.const 1))")),
        ("at once", grow("(memory.grow (i32.const 60000))")),
        (
            "table",
            format!(
                "(table $t 1 funcref) {}",
                grow("(table.grow $t (ref.null func) (i32.const 1000000))")
            ),
        ),
    ] {
        let called = session(transform("", &code)).await.apply(vec![record()]).await;
        match called.result.unwrap_err() {
            error @ CallError::OutOfMemory { limit_bytes, .. } => {
                assert_eq!(limit_bytes, 4 << 20);
                assert!(error.to_string().contains("4 MiB"), "{error}");
                assert!(error.backtrace()[0].ends_with("!apply"));
            }
            other => panic!("{name}: {other}"),
        }
        assert!(called.usage.peak_memory <= 4 << 20, "{name}: {:?}", called.usage);
    }
}

/// A guest that copes with the refusal has done nothing wrong.
#[tokio::test]
async fn a_refused_growth_is_not_an_error_by_itself() {
    let code = apply(&format!(
        "(drop (memory.grow (i32.const 60000))) {} (i32.const 2048)",
        answer(1, 1040, 5)
    ));
    let called = session(transform("", &code)).await.apply(vec![record()]).await;
    assert_eq!(called.result.unwrap(), dropping("{\"tit"));
}

#[tokio::test]
async fn a_guest_whose_first_memory_is_too_large() {
    let mut small = binding();
    small.limits.memory_mib = 1;
    // 100 pages before it has done anything; `memory` of the prelude is separate, and both count.
    let code = format!("(memory $second 100) {}", apply("(i32.const 0)"));
    let release = load(&sandbox(), transform("", &code)).await;
    let called = release.bind(small).unwrap().apply(vec![record()]).await;
    assert!(
        matches!(
            called.result,
            Err(CallError::OutOfMemory {
                limit_bytes: 1_048_576,
                ..
            })
        ),
        "{:?}",
        called.result
    );
}

#[tokio::test]
async fn endless_recursion() {
    let code = format!(
        "(func $deeper (call $deeper) (call $deeper)) {}",
        apply("(call $deeper) (i32.const 0)")
    );
    let session = session(transform("", &code)).await;
    let error = session.apply(vec![record()]).await.result.unwrap_err();
    assert!(matches!(error, CallError::StackOverflow { .. }), "{error}");
    assert!(error.backtrace()[0].ends_with("!deeper"), "{error}");
}

/// Lengths and addresses that lie.
#[tokio::test]
async fn hostile_answers() {
    let returning = |code: &str| transform("", &apply(code));
    for (name, guest) in [
        ("an address outside of the memory", returning("(i32.const -16)")),
        (
            "four billion answers",
            returning(&format!(
                "{} (i32.store (i32.const 2060) (i32.const -1)) (i32.const 2048)",
                answer(1, 0, 0)
            )),
        ),
        (
            "a text beyond the end",
            returning(&format!("{} (i32.const 2048)", answer(1, 65_530, 100))),
        ),
        (
            "a text of four GiB",
            returning(&format!(
                "{} (i32.store (i32.const 2072) (i32.const -1)) (i32.const 2048)",
                answer(1, 0, 0)
            )),
        ),
        (
            "a case that there is not",
            returning(&format!(
                "{} (i32.store8 (i32.const 2064) (i32.const 9)) (i32.const 2048)",
                answer(1, 0, 0)
            )),
        ),
        (
            "a text that is not UTF-8",
            returning(&format!(
                "{} (i32.store8 (i32.const 4096) (i32.const 255)) (i32.const 2048)",
                answer(1, 4096, 1)
            )),
        ),
        ("not aligned", returning("(i32.const 2049)")),
        // All of them overlap: small in the guest, large in the host.
        (
            "very many answers",
            returning(&format!(
                "(drop (memory.grow (i32.const 60))) {} (i32.store (i32.const 2060) (i32.const 100000))
             (memory.fill (i32.const 2064) (i32.const 0) (i32.const 4000000)) (i32.const 2048)",
                answer(1, 0, 0)
            )),
        ),
    ] {
        let called = session(guest).await.apply(vec![record()]).await;
        match called.result {
            Err(CallError::Trap { message, .. }) => assert!(!message.is_empty(), "{name}"),
            Err(CallError::Contract { message }) if name == "very many answers" => {
                assert!(
                    message.contains("100000 answers came back for 1 records"),
                    "{message}"
                );
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn one_answer_for_each_record() {
    let called = session(honest()).await.apply(vec![record(), record()]).await;
    let error = called.result.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Fatal);
    assert!(matches!(error, CallError::Contract { .. }), "{error}");
    assert!(
        error.to_string().contains("1 answers came back for 2 records"),
        "{error}"
    );
}

/// More calls than instances: they take turns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_calls_than_instances() {
    let session = session(honest()).await;
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let session = session.clone();
            tokio::spawn(async move { session.apply(vec![record()]).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().result.unwrap(), dropping("{\"tit"));
    }
}

/// Every instance taken: the waiting ends with the call's time, and nothing was called.
#[tokio::test]
async fn no_room_at_all() {
    let sandbox = sandbox();
    let endless = load(
        &sandbox,
        transform("", &apply("(loop $again (br $again)) (i32.const 0)")),
    )
    .await;
    let busy: Vec<_> = (0..4)
        .map(|_| {
            let session = endless.bind(binding()).unwrap();
            tokio::spawn(async move { session.apply(vec![record()]).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let honest = load(&sandbox, honest()).await;
    let called = honest.bind(within(50)).unwrap().apply(vec![record()]).await;
    assert!(
        matches!(called.result, Err(CallError::Busy { .. })),
        "{:?}",
        called.result
    );
    for call in busy {
        call.abort();
    }
    let called = honest.bind(binding()).unwrap().apply(vec![record()]).await;
    assert!(called.result.is_ok(), "{:?}", called.result);
}

/// Asks the storage for the key `key`, and drops its record with the error's message.
fn asking_storage(manifest: &str) -> Vec<u8> {
    let code = format!(
        "(import \"stecker:plugin/storage@1.0.0\" \"get\" (func $get (param i32 i32 i32)))\n;; imports end\n
         (data (i32.const 4096) \"key\") {}",
        apply(&format!(
            "(call $get (i32.const 4096) (i32.const 3) (i32.const 4128)) {}
             (i32.store (i32.const 2068) (i32.load (i32.const 4144))) (i32.store (i32.const 2072) (i32.load (i32.const 4148)))
             (i32.const 2048)",
            answer(1, 0, 0)
        ))
    );
    let world = "import stecker:plugin/storage@1.0.0; export stecker:plugin/meta@1.0.0; export stecker:plugin/transform@1.0.0;";
    component(world, "", &code, manifest)
}

const WITH_STORAGE: &str = r#"
    name = "tests/guest"
    version = "1.0.0"
    title = "Guest"
    contract = "1.0.0"
    [capabilities.storage]
    max-bytes = 1000
"#;

/// A storage that breaks in the way that it is told to.
#[derive(Clone, Copy)]
enum Broken {
    Panics,
    Hangs,
    Fails,
}

#[async_trait]
impl Storage for Broken {
    async fn get(&self, key: &str) -> Result<Option<StoredEntry>, StorageError> {
        match self {
            Self::Panics => panic!("the storage panicked over {key}"),
            Self::Hangs => std::future::pending().await,
            Self::Fails => Err(StorageError::Unavailable {
                message: "gone fishing".to_owned(),
            }),
        }
    }
    async fn put(
        &self,
        _: &str,
        _: Vec<u8>,
        _: Condition,
        _: stecker_sandbox::Quota,
    ) -> Result<u64, StorageError> {
        unreachable!()
    }
    async fn delete(&self, _: &str, _: Condition) -> Result<bool, StorageError> {
        unreachable!()
    }
    async fn list_keys(&self, _: &str, _: Option<&str>, _: u32) -> Result<Vec<String>, StorageError> {
        unreachable!()
    }
}

#[tokio::test]
async fn a_panic_of_the_host_stays_with_its_call() {
    let release = load(&sandbox(), asking_storage(WITH_STORAGE)).await;
    for _ in 0..10 {
        let called = release
            .bind(storing(Broken::Panics))
            .unwrap()
            .apply(vec![record()])
            .await;
        let error = called.result.unwrap_err();
        assert!(
            matches!(&error, CallError::Host { message } if message.contains("over key")),
            "{error}"
        );
    }
    let called = release
        .bind(storing(Broken::Fails))
        .unwrap()
        .apply(vec![record()])
        .await;
    assert_eq!(
        called.result.unwrap(),
        dropping("the storage cannot be used right now: gone fishing")
    );
}

#[tokio::test]
async fn a_host_function_that_hangs_ends_with_the_call() {
    let release = load(&sandbox(), asking_storage(WITH_STORAGE)).await;
    let mut hanging = storing(Broken::Hangs);
    hanging.limits = within(50).limits;
    let error = release
        .bind(hanging)
        .unwrap()
        .apply(vec![record()])
        .await
        .result
        .unwrap_err();
    assert!(matches!(error, CallError::Deadline { .. }), "{error}");
}

#[tokio::test]
async fn a_denial_reaches_guest_and_operator() {
    for (manifest, layer, grant) in [
        (MANIFEST, "manifest", "[capabilities.storage]"),
        (
            WITH_STORAGE,
            "grant",
            "[connection.grants.storage]\nmax-bytes = 1000",
        ),
    ] {
        let recorder = Arc::new(Recorder::default());
        let release = load(&sandbox(), asking_storage(manifest)).await;
        let binding = Binding {
            observer: Arc::clone(&recorder) as _,
            ..binding()
        };
        let answers = release
            .bind(binding)
            .unwrap()
            .apply(vec![record()])
            .await
            .result
            .unwrap();
        let [Transformed::Drop(message)] = answers.as_slice() else {
            panic!("{answers:?}")
        };
        assert!(
            message.contains("using the key/value store") && message.contains(grant),
            "{message}"
        );
        let denials = recorder.denials.lock().unwrap();
        assert_eq!((denials.len(), denials[0].layer.as_str()), (1, layer));
        assert!(denials[0].smallest_grant.starts_with(grant));
    }
}

/// Sends what stands at 4,096, and drops its record with the body of the answer or the message of the error.
fn sending(url: &str) -> Vec<u8> {
    let code = format!(
        "(import \"stecker:plugin/http@1.0.0\" \"send\" (func $send (param i32 i32)))\n;; imports end\n
         (data (i32.const 4000) \"GET\") (data (i32.const 4300) \"{url}\") {}",
        apply(&format!(
            "(i32.store (i32.const 4096) (i32.const 4000)) (i32.store (i32.const 4100) (i32.const 3))
             (i32.store (i32.const 4104) (i32.const 4300)) (i32.store (i32.const 4108) (i32.const {}))
             (call $send (i32.const 4096) (i32.const 4200)) {}
             (if (i32.load8_u (i32.const 4200))
                (then (i32.store (i32.const 2068) (i32.load (i32.const 4216))) (i32.store (i32.const 2072) (i32.load (i32.const 4220))))
                (else (i32.store (i32.const 2068) (i32.load (i32.const 4220))) (i32.store (i32.const 2072) (i32.load (i32.const 4224)))))
             (i32.const 2048)",
            url.len(),
            answer(1, 0, 0)
        ))
    );
    let world = "import stecker:plugin/http@1.0.0; export stecker:plugin/meta@1.0.0; export stecker:plugin/transform@1.0.0;";
    let manifest = format!(
        "{MANIFEST}\n[[capabilities.http]]\nschemes = [\"http\"]\nhosts = [\"{{config:/url}}\"]\nmethods = [\"GET\"]\npurpose = \"tests\""
    );
    component(world, "", &code, &manifest)
}

#[tokio::test]
async fn a_guest_reaches_what_was_granted_and_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(socket.read_u8().await.unwrap());
        }
        socket
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
            .await
            .unwrap();
    });
    let url = format!("http://{address}/");
    let release = load(&sandbox(), sending(&url)).await;
    let recorder = Arc::new(Recorder::default());
    let denied = Binding {
        config: format!("{{\"url\":\"{url}\"}}"),
        observer: Arc::clone(&recorder) as _,
        ..binding()
    };
    let mut granted = denied.clone();
    granted.grants = Grants {
        http: vec![HttpGrant {
            host: address.clone(),
            schemes: vec!["http".to_owned()],
            methods: vec!["GET".to_owned()],
            ..HttpGrant::default()
        }],
        ..Grants::default()
    };

    let called = release.bind(denied).unwrap().apply(vec![record()]).await;
    let answers = called.result.unwrap();
    let [Transformed::Drop(message)] = answers.as_slice() else {
        panic!("{answers:?}")
    };
    assert!(message.contains(&format!("host = \"{address}\"")), "{message}");
    assert_eq!(called.usage.http_requests, 0);
    assert_eq!(recorder.denials.lock().unwrap()[0].rule, "http.host");

    let called = release.bind(granted).unwrap().apply(vec![record()]).await;
    assert_eq!(called.result.unwrap(), dropping("hello"));
    assert_eq!((called.usage.http_requests, called.usage.http_bytes_in), (1, 5));
}

/// A guest as another toolchain would make it: prints through WASI.
#[tokio::test]
async fn what_a_guest_prints_goes_into_the_log() {
    let wasi = "
        package wasi:io@0.2.0 {
            interface error { resource error; }
            interface streams {
                use error.{error};
                variant stream-error { last-operation-failed(error), closed }
                resource output-stream { blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>; }
            }
        }
        package wasi:cli@0.2.0 {
            interface stderr {
                use wasi:io/streams@0.2.0.{output-stream};
                get-stderr: func() -> output-stream;
            }
        }";
    let code = format!(
        "(import \"wasi:cli/stderr@0.2.0\" \"get-stderr\" (func $stderr (result i32)))
         (import \"wasi:io/streams@0.2.0\" \"[method]output-stream.blocking-write-and-flush\" (func $write (param i32 i32 i32 i32)))
         ;; imports end\n
         (data (i32.const 4096) \"panicked at src/lib.rs\\nnote: run with\") {}",
        apply(&format!(
            "(call $write (call $stderr) (i32.const 4096) (i32.const 37) (i32.const 4200)) {} (i32.const 2048)",
            answer(1, 1040, 5)
        ))
    );
    let world = "import wasi:cli/stderr@0.2.0; export stecker:plugin/meta@1.0.0; export stecker:plugin/transform@1.0.0;";
    let release = load(&sandbox(), component(world, wasi, &code, MANIFEST)).await;
    let recorder = Arc::new(Recorder::default());
    let binding = Binding {
        observer: Arc::clone(&recorder) as _,
        ..binding()
    };
    release
        .bind(binding)
        .unwrap()
        .apply(vec![record()])
        .await
        .result
        .unwrap();
    let lines: Vec<String> = recorder
        .lines
        .lock()
        .unwrap()
        .iter()
        .map(|(_, line)| line.clone())
        .collect();
    assert_eq!(lines, ["panicked at src/lib.rs", "note: run with"]);
}
