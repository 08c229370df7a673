//! Requests that count for an upstream account: what a system asks for holds for all of its connections, and one that is down is left alone.

use std::sync::{
    Mutex,
    atomic::{AtomicU32, Ordering},
};

use axum::extract::State;
use stecker_model::{
    UpstreamBudget,
    api::{Breaker, BreakerState},
};

use super::*;
use crate::upstream::Look;

/// A system that answers as it is told, and counts.
#[derive(Default)]
struct System {
    status: AtomicU32,
    headers: Mutex<Vec<(&'static str, &'static str)>>,
    requests: AtomicU32,
    /// What came, in its order.
    paths: Mutex<Vec<String>>,
}

impl System {
    fn answers(&self, status: u32, headers: &[(&'static str, &'static str)]) {
        self.status.store(status, Ordering::SeqCst);
        *self.headers.lock().unwrap() = headers.to_vec();
    }

    fn requests(&self) -> u32 {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn answer(State(system): State<Arc<System>>, request: Request) -> axum::response::Response {
    system.requests.fetch_add(1, Ordering::SeqCst);
    system.paths.lock().unwrap().push(request.uri().path().to_owned());
    let status = u16::try_from(system.status.load(Ordering::SeqCst)).unwrap();
    if status == 0 {
        std::future::pending::<()>().await;
    }
    let mut response = StatusCode::from_u16(status).unwrap().into_response();
    for (name, value) in system.headers.lock().unwrap().iter() {
        response.headers_mut().insert(*name, value.parse().unwrap());
    }
    response
}

struct World {
    system: Arc<System>,
    address: String,
    network: Network,
}

impl World {
    async fn new() -> Self {
        let system = Arc::new(System::default());
        system.answers(200, &[]);
        let app = Router::new()
            .fallback(any(answer))
            .with_state(Arc::clone(&system));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self {
            system,
            address,
            network: Network::new(&[]).unwrap(),
        }
    }

    /// A connection of an account; none: of no account at all.
    fn connection(
        &self,
        tenant: &str,
        name: &str,
        account: Option<&str>,
        budget: Option<UpstreamBudget>,
    ) -> Egress {
        let binding = Binding {
            tenant: tenant.parse().unwrap(),
            connection: name.parse().unwrap(),
            ..binding(&self.address, true)
        };
        if let Some(account) = account {
            let account = account.parse().unwrap();
            let upstreams = self.network.upstreams();
            upstreams.assign(&binding.tenant, &binding.connection, &account, budget);
        }
        bound(&self.address, &binding, &self.network)
    }

    async fn send(
        &self,
        egress: &Egress,
        path: &str,
        priority: Priority,
        within: u64,
    ) -> Result<HttpResponse, Failure> {
        let (meter, budget) = (Meter::default(), ResponseBudget::of(MAX_BODY));
        let exchange = Exchange {
            recorder: None,
            remaining: Duration::from_millis(within),
            priority,
            budget: &budget,
            meter: &meter,
            credentials: &(Arc::new(Secrets::new()) as _),
            scrubber: &Arc::default(),
        };
        egress
            .send(get(format!("http://{}{path}", self.address)), exchange)
            .await
    }

    async fn get(&self, egress: &Egress, within: u64) -> Result<HttpResponse, Failure> {
        self.send(egress, "/", Priority::Normal, within).await
    }

    fn look(&self, tenant: &str, connection: &str, unit: &str) -> Look {
        let name = |text: &str| -> Name { text.parse().unwrap() };
        let upstreams = self.network.upstreams();
        upstreams.look(&name(tenant), &name("main"), &name(connection), unit)
    }
}

const LONG: u64 = 20_000;

#[tokio::test]
async fn what_a_system_asks_for_holds_for_all_connections_of_the_account() {
    let world = World::new().await;
    let [first, second] = ["first", "second"].map(|name| world.connection("acme", name, Some("main"), None));
    let other = world.connection("globex", "first", Some("main"), None);
    world.system.answers(429, &[("retry-after", "2")]);
    assert_eq!(
        world.get(&first, LONG).await.unwrap().status,
        429,
        "the guest hears of it too"
    );
    assert!(matches!(world.look("acme", "second", "x"), Look::Held(_)));
    world.system.answers(200, &[]);
    // Without the time to wait, nothing is sent.
    let error = error(world.get(&second, 100).await);
    assert_eq!(
        (error.kind(), error.detail("sent")),
        (ErrorCode::RateLimited, Some("no"))
    );
    assert!(
        error.retry_after_ms.is_some_and(|ms| (1..=2_000).contains(&ms)),
        "{error:?}"
    );
    assert!(error.message.contains("`main`"), "{error}");
    assert_eq!(world.system.requests(), 1);
    assert_eq!(
        world.get(&other, 100).await.unwrap().status,
        200,
        "another tenant's"
    );
    let begun = Instant::now();
    assert_eq!(world.get(&second, LONG).await.unwrap().status, 200);
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(world.look("acme", "second", "x"), Look::Clear);
    let view = world
        .network
        .upstreams()
        .view(&"acme".parse().unwrap(), &"main".parse().unwrap());
    assert_eq!(view.waited, 1);
    assert!(view.waited_ms > 0 && view.waiting == 0, "{view:?}");
}

#[tokio::test]
async fn a_host_that_is_down_is_left_alone_until_somebody_tries_it() {
    let world = World::new().await;
    let [first, second] = ["first", "second"].map(|name| world.connection("acme", name, Some("main"), None));
    world.system.answers(503, &[]);
    for _ in 0..5 {
        assert_eq!(world.get(&first, LONG).await.unwrap().status, 503);
    }
    let failure = error(world.get(&second, LONG).await);
    assert_eq!(
        (failure.kind(), failure.detail("sent")),
        (ErrorCode::Transient, Some("no"))
    );
    assert!(
        failure.retry_after_ms.is_some_and(|ms| (1..=1_250).contains(&ms)),
        "{failure:?}"
    );
    assert!(failure.message.contains("it answered 503"), "{failure}");
    assert_eq!(world.system.requests(), 5);
    assert_eq!(
        world.look("acme", "second", "x"),
        Look::Clear,
        "it never used the host"
    );
    let Look::Down { host, breaker } = world.look("acme", "first", "x") else {
        panic!("{:?}", world.look("acme", "first", "x"));
    };
    assert_eq!(
        (host.as_str(), breaker.state),
        (world.address.as_str(), BreakerState::Open)
    );

    // One connection tries it; the others still wait.
    let half_open = Breaker {
        state: BreakerState::HalfOpen,
        until: breaker.until.map(|until| until + 60_000),
        ..breaker
    };
    let (acme, main, name) = (
        "acme".parse().unwrap(),
        "main".parse().unwrap(),
        "first".parse().unwrap(),
    );
    let upstreams = world.network.upstreams();
    upstreams.tried((&acme, &main), &host, half_open, &name, "deliver/orders");
    assert!(matches!(
        world.look("acme", "first", "deliver/orders"),
        Look::Trying { .. }
    ));
    assert!(matches!(
        world.look("acme", "first", "deliver/stock"),
        Look::Down { .. }
    ));
    error(world.get(&second, LONG).await);
    world.system.answers(200, &[]);
    for _ in 0..3 {
        assert_eq!(world.get(&first, LONG).await.unwrap().status, 200);
    }
    assert_eq!(world.get(&second, LONG).await.unwrap().status, 200);
    let news = upstreams.news(&acme, &main);
    assert_eq!(news.hosts.len(), 1);
    assert_eq!(news.hosts[0].1.state, BreakerState::Closed);
}

#[tokio::test]
async fn silence_counts_too_however_it_comes() {
    let world = World::new().await;
    let egress = world.connection("acme", "first", Some("main"), None);
    world.system.answers(0, &[]);
    for n in 0..5 {
        if n % 2 == 0 {
            assert_eq!(error(world.get(&egress, 60).await).detail("sent"), Some("maybe"));
        } else {
            // As a call whose time is nearly over, and that is cut off while its request waits for an answer.
            let before = world.system.requests();
            let has_come = async {
                while world.system.requests() == before {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                biased;
                () = has_come => {}
                answer = world.get(&egress, 240) => panic!("{answer:?}"),
            }
        }
    }
    assert!(matches!(world.look("acme", "first", "x"), Look::Down { .. }));
}

#[tokio::test]
async fn a_configured_budget_is_kept_and_what_belongs_to_no_account_is_not_counted() {
    let world = World::new().await;
    let budget = UpstreamBudget::new(0.001, Some(3));
    let [first, second] =
        ["first", "second"].map(|name| world.connection("acme", name, Some("main"), Some(budget)));
    for egress in [&first, &second, &first] {
        assert_eq!(world.get(egress, LONG).await.unwrap().status, 200);
    }
    let error = error(world.get(&second, LONG).await);
    assert_eq!(
        (error.kind(), error.detail("sent")),
        (ErrorCode::RateLimited, Some("no"))
    );
    assert!(error.retry_after_ms.is_some_and(|ms| ms > 900_000), "{error:?}");
    assert_eq!(world.system.requests(), 3);
    let free = world.connection("acme", "third", None, None);
    assert_eq!(world.get(&free, LONG).await.unwrap().status, 200);
}

#[tokio::test]
async fn the_urgent_goes_before_what_waited_longer() {
    let world = World::new().await;
    let budget = UpstreamBudget::new(5.0, Some(1));
    let egress = world.connection("acme", "first", Some("main"), Some(budget));
    world.get(&egress, LONG).await.unwrap();
    let (acme, main) = ("acme".parse().unwrap(), "main".parse().unwrap());
    let urgent = async {
        // Both others are in line.
        while world.network.upstreams().view(&acme, &main).waiting < 2 {
            tokio::task::yield_now().await;
        }
        world.send(&egress, "/urgent", Priority::High, LONG).await
    };
    let answers = tokio::join!(
        world.send(&egress, "/low", Priority::Low, LONG),
        world.send(&egress, "/normal", Priority::Normal, LONG),
        urgent,
    );
    assert!(answers.0.is_ok() && answers.1.is_ok() && answers.2.is_ok());
    assert_eq!(
        *world.system.paths.lock().unwrap(),
        ["/", "/urgent", "/normal", "/low"]
    );
}

#[tokio::test]
async fn an_answer_that_says_what_is_left_is_believed() {
    let world = World::new().await;
    let egress = world.connection("acme", "first", Some("main"), None);
    world.system.answers(
        200,
        &[
            ("x-ratelimit-limit", "2"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "3600"),
        ],
    );
    assert_eq!(world.get(&egress, LONG).await.unwrap().status, 200);
    let error = error(world.get(&egress, LONG).await);
    assert_eq!(error.kind(), ErrorCode::RateLimited);
    assert_eq!(world.system.requests(), 1);
    let view = world
        .network
        .upstreams()
        .view(&"acme".parse().unwrap(), &"main".parse().unwrap());
    let learned = view.learned.unwrap();
    assert_eq!(
        (learned.header.as_str(), learned.limit, learned.left),
        ("x-ratelimit-remaining", Some(2), 0)
    );
}
