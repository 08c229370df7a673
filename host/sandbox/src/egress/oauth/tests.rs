//! OAuth against an authorization server on this machine, written from RFC 6749 and RFC 7636: it rotates refresh tokens, and takes back
//! everything if one is used twice.

use std::{
    collections::{BTreeMap, HashSet},
    sync::atomic::{AtomicU32, Ordering},
};

use async_trait::async_trait;
use axum::{
    Form, Json, Router,
    extract::State as Shared,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use stecker_model::{Grants, HttpGrant};
use stecker_registry::Manifest;
use tokio::net::TcpListener;

use super::*;
use crate::{
    binding::{Binding, NoStorage, TracingObserver},
    blob::NoBlobs,
    egress::{Egress, Exchange, HttpRequest, HttpResponse, Network, ResponseBudget, Supply},
    meter::Meter,
};

const MANIFEST: &str = r#"
    name = "acme/shop"
    version = "1.0.0"
    title = "Shop"
    contract = "1.0.0"

    [[capabilities.http]]
    schemes = ["http", "https"]
    hosts = ["{config:/url}"]
    methods = ["GET", "POST"]
    paths = ["/api"]
    purpose = "tests"

    [credentials.client]
    kind = "oauth2-client-credentials"
    description = "a client"
    [credentials.client.oauth]
    token-url = "{config:/url}/token"
    scopes = ["orders:read", "stock:write"]
    client-auth = "body"
    token-params = { audience = "orders" }

    [credentials.refresh]
    kind = "oauth2-refresh-token"
    description = "a refresh token"
    oauth = { token-url = "{config:/url}/token" }

    [credentials.person]
    kind = "oauth2-authorization-code"
    description = "a person"
    [credentials.person.oauth]
    token-url = "{config:/url}/token"
    authorize-url = "{config:/url}/authorize"
    scopes = ["all"]
    authorize-params = { access_type = "offline" }
"#;

/// An authorization server and the API behind it.
#[derive(Default)]
struct Server {
    granted: Mutex<Vec<BTreeMap<String, String>>>,
    /// Of client id and secret in the header, where they were there.
    basic: Mutex<Vec<String>>,
    /// Access tokens that the API takes.
    valid: Mutex<HashSet<String>>,
    /// The one refresh token that counts now, and those that are spent.
    refresh: Mutex<(String, HashSet<String>)>,
    expires_in: AtomicU32,
    /// Answers with this status instead.
    broken: AtomicU32,
    delay_ms: AtomicU32,
    /// Of the authorization that a person consented to: code and challenge.
    code: Mutex<Option<(String, String)>>,
}

fn random() -> String {
    hex::encode(rand::random::<[u8; 12]>())
}

impl Server {
    async fn start() -> (Arc<Self>, String) {
        let server = Arc::new(Self::default());
        server.expires_in.store(3_600, Ordering::Relaxed);
        server.refresh.lock().unwrap().0 = random();
        let app = Router::new()
            .route("/token", post(token))
            .route("/api", get(api).post(api))
            .with_state(Arc::clone(&server));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, app).await });
        (server, address)
    }

    fn requests(&self) -> usize {
        self.granted.lock().unwrap().len()
    }

    fn last(&self) -> BTreeMap<String, String> {
        self.granted.lock().unwrap().last().unwrap().clone()
    }

    fn refresh_token(&self) -> String {
        self.refresh.lock().unwrap().0.clone()
    }

    fn tokens(&self, refresh: Option<String>) -> Response {
        let access = random();
        self.valid.lock().unwrap().insert(access.clone());
        let mut body = json!({
            "access_token": access,
            "token_type": "bearer",
            "expires_in": self.expires_in.load(Ordering::Relaxed),
        });
        if let Some(refresh) = refresh {
            body["refresh_token"] = refresh.into();
        }
        Json(body).into_response()
    }
}

fn refusal(error: &str) -> Response {
    let body = Json(json!({ "error": error, "error_description": "because of the test" }));
    (StatusCode::BAD_REQUEST, body).into_response()
}

async fn token(
    Shared(server): Shared<Arc<Server>>,
    headers: HeaderMap,
    Form(form): Form<BTreeMap<String, String>>,
) -> Response {
    let basic = headers
        .get(header::AUTHORIZATION)
        .map(|value| value.to_str().unwrap().to_owned());
    server.basic.lock().unwrap().extend(basic);
    server.granted.lock().unwrap().push(form.clone());
    tokio::time::sleep(Duration::from_millis(
        server.delay_ms.load(Ordering::Relaxed).into(),
    ))
    .await;
    let broken = server.broken.load(Ordering::Relaxed);
    if broken != 0 {
        let status = StatusCode::from_u16(u16::try_from(broken).unwrap()).unwrap();
        return (status, [(header::RETRY_AFTER, "7")], "later").into_response();
    }
    match form["grant_type"].as_str() {
        "client_credentials" => server.tokens(None),
        "refresh_token" => {
            let next = {
                let mut refresh = server.refresh.lock().unwrap();
                let given = &form["refresh_token"];
                if refresh.1.contains(given) {
                    // Used twice: somebody has stolen it, so nothing counts any more.
                    refresh.0 = String::new();
                }
                if *given != refresh.0 {
                    return refusal("invalid_grant");
                }
                let (next, spent) = (random(), refresh.0.clone());
                refresh.1.insert(spent);
                refresh.0.clone_from(&next);
                next
            };
            server.tokens(Some(next))
        }
        "authorization_code" => {
            let expected = server.code.lock().unwrap().take();
            let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"]));
            if expected != Some((form["code"].clone(), challenge)) {
                return refusal("invalid_grant");
            }
            server.tokens(Some(server.refresh_token()))
        }
        _ => refusal("unsupported_grant_type"),
    }
}

/// Takes valid tokens, and shows in its answer what it was sent.
async fn api(Shared(server): Shared<Arc<Server>>, headers: HeaderMap) -> Response {
    let given = headers[header::AUTHORIZATION].to_str().unwrap().to_owned();
    let token = given.strip_prefix("Bearer ").unwrap();
    if server.valid.lock().unwrap().contains(token) {
        format!("hello {token}").into_response()
    } else {
        (StatusCode::UNAUTHORIZED, format!("who is {token}?")).into_response()
    }
}

/// What all nodes share.
#[derive(Default)]
struct Vault {
    kept: Mutex<BTreeMap<String, (Vec<u8>, u64)>>,
    leases: Mutex<BTreeMap<String, String>>,
}

struct Node {
    vault: Option<Arc<Vault>>,
    secret: String,
}

#[async_trait]
impl Credentials for Node {
    async fn secret(&self, _: &str) -> Result<Secret, CredentialError> {
        Ok(Secret::with_username(
            "the client".to_owned(),
            self.secret.clone(),
        ))
    }

    fn tokens(&self) -> Option<&dyn Tokens> {
        self.vault.is_some().then_some(self as &dyn Tokens)
    }
}

impl Node {
    fn vault(&self) -> &Vault {
        self.vault.as_ref().unwrap()
    }
}

#[async_trait]
impl Tokens for Node {
    async fn load(&self, name: &str) -> Result<Option<KeptTokens>, CredentialError> {
        let kept = self.vault().kept.lock().unwrap().get(name).cloned();
        Ok(kept.map(|(bytes, version)| KeptTokens {
            bytes: bytes.into(),
            version,
        }))
    }

    async fn lease(&self, name: &str, _: Duration) -> Result<Option<TokenLease>, CredentialError> {
        let mut leases = self.vault().leases.lock().unwrap();
        if leases.contains_key(name) {
            return Ok(None);
        }
        let lease = random();
        leases.insert(name.to_owned(), lease.clone());
        Ok(Some(TokenLease(lease)))
    }

    async fn store(
        &self,
        name: &str,
        bytes: &[u8],
        _: Option<i64>,
        version: u64,
    ) -> Result<u64, CredentialError> {
        let mut kept = self.vault().kept.lock().unwrap();
        if kept.get(name).map_or(0, |(_, version)| *version) != version {
            return Err(CredentialError::Overtaken {
                name: name.to_owned(),
            });
        }
        kept.insert(name.to_owned(), (bytes.to_vec(), version + 1));
        Ok(version + 1)
    }

    async fn release(&self, name: &str, lease: &TokenLease) -> Result<(), CredentialError> {
        let mut leases = self.vault().leases.lock().unwrap();
        if leases.get(name) == Some(&lease.0) {
            leases.remove(name);
        }
        Ok(())
    }
}

/// A session on a node.
struct Client {
    egress: Egress,
    credentials: Arc<dyn Credentials>,
    scrubber: Arc<Scrubber>,
    secret: String,
    address: String,
}

impl Client {
    /// `paths` are what the operator grants.
    fn new(address: &str, vault: Option<&Arc<Vault>>, paths: &[&str]) -> Arc<Self> {
        let manifest = Manifest::from_toml(MANIFEST).unwrap();
        let config = json!({ "url": format!("http://{address}") });
        let secret = random();
        let credentials: Arc<dyn Credentials> = Arc::new(Node {
            vault: vault.cloned(),
            secret: secret.clone(),
        });
        let binding = Binding {
            tenant: "acme".parse().unwrap(),
            connection: "shop".parse().unwrap(),
            config: config.to_string(),
            grants: Grants {
                http: vec![HttpGrant {
                    host: address.to_owned(),
                    schemes: vec!["http".to_owned()],
                    paths: paths.iter().map(ToString::to_string).collect(),
                    ..HttpGrant::default()
                }],
                ..Grants::default()
            },
            http_bytes_today: 0,
            tenant_limits: stecker_model::TenantLimits::default(),
            instances: stecker_model::Instances::Fresh,
            limits: stecker_model::Limits::default(),
            credentials: Arc::clone(&credentials),
            storage: Arc::new(NoStorage),
            blobs: Arc::new(NoBlobs),
            observer: Arc::new(TracingObserver),
        };
        let network = Network::new(&[]).unwrap();
        Arc::new(Self {
            egress: Egress::new(&manifest, &config, &binding, &network).unwrap(),
            credentials,
            scrubber: Arc::default(),
            secret,
            address: address.to_owned(),
        })
    }

    async fn call(&self, credential: &str) -> Result<HttpResponse, Failure> {
        self.call_within(credential, Duration::from_secs(30)).await
    }

    async fn call_within(&self, credential: &str, remaining: Duration) -> Result<HttpResponse, Failure> {
        let request = HttpRequest {
            method: "POST".to_owned(),
            url: format!("http://{}/api", self.address),
            body: Some(b"an order".to_vec()),
            credential: Some(credential.to_owned()),
            ..HttpRequest::default()
        };
        let (meter, budget) = (Meter::default(), ResponseBudget::for_guest(1 << 20));
        let exchange = Exchange {
            recorder: None,
            priority: stecker_model::Priority::default(),
            remaining,
            budget: &budget,
            meter: &meter,
            credentials: &self.credentials,
            scrubber: &self.scrubber,
        };
        self.egress.send(request, exchange).await
    }

    fn supply(&self) -> Supply<'_> {
        Supply {
            credentials: &self.credentials,
            scrubber: &self.scrubber,
            remaining: Duration::from_secs(30),
        }
    }
}

fn greeted(answer: Result<HttpResponse, Failure>) {
    let answer = answer.unwrap();
    let body = String::from_utf8(answer.body).unwrap();
    assert_eq!((answer.status, body.as_str()), (200, "hello [redacted]"));
}

fn error(answer: Result<HttpResponse, Failure>) -> PluginError {
    match answer {
        Err(Failure::Error(error)) => error,
        other => panic!("no error: {other:?}"),
    }
}

const ALL: &[&str] = &["/"];

/// A vault with the refresh token that counts.
fn vault_with_refresh_token(server: &Server) -> Arc<Vault> {
    let vault = Arc::new(Vault::default());
    let bytes = refresh_token_only(&server.refresh_token()).to_vec();
    vault
        .kept
        .lock()
        .unwrap()
        .insert("refresh".to_owned(), (bytes, 1));
    vault
}

#[tokio::test]
async fn a_client_gets_a_token_once_and_uses_it_until_its_end() {
    let (server, address) = Server::start().await;
    // Nothing is kept beyond the session here, and this kind needs nothing else.
    let client = Client::new(&address, None, ALL);
    greeted(client.call("client").await);
    greeted(client.call("client").await);
    assert_eq!(server.requests(), 1);
    let form = server.last();
    let expected = [
        ("grant_type", "client_credentials"),
        ("scope", "orders:read stock:write"),
        ("audience", "orders"),
        ("client_id", "the client"),
        ("client_secret", &client.secret),
    ];
    for (name, value) in expected {
        assert_eq!(form[name], value);
    }
    assert!(server.basic.lock().unwrap().is_empty());

    // A token of two seconds is used for one of them.
    server.expires_in.store(2, Ordering::Relaxed);
    let client = Client::new(&address, None, ALL);
    greeted(client.call("client").await);
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    greeted(client.call("client").await);
    assert_eq!(server.requests(), 3);

    let unusable = error(client.call("refresh").await);
    assert_eq!(unusable.kind(), ErrorCode::Unsupported, "{unusable}");
}

#[tokio::test]
async fn fifty_calls_on_two_nodes_refresh_once() {
    let (server, address) = Server::start().await;
    server.delay_ms.store(100, Ordering::Relaxed);
    let vault = vault_with_refresh_token(&server);
    let nodes = [(); 2].map(|()| Client::new(&address, Some(&vault), ALL));
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..50 {
        let node = Arc::clone(&nodes[n % 2]);
        calls.spawn(async move { node.call("refresh").await });
    }
    while let Some(answer) = calls.join_next().await {
        greeted(answer.unwrap());
    }
    assert_eq!(server.requests(), 1);
    let basic = server.basic.lock().unwrap()[0].clone();
    // The lease was whoever's was first.
    let expected = nodes.each_ref().map(|node| {
        format!(
            "Basic {}",
            BASE64_STANDARD.encode(format!("the+client:{}", node.secret))
        )
    });
    assert!(expected.contains(&basic), "{basic}");

    // Rotation goes on, whichever node is first: the other one finds what that one got.
    for round in 0..4 {
        server.valid.lock().unwrap().clear();
        greeted(nodes[round % 2].call("refresh").await);
        greeted(nodes[(round + 1) % 2].call("refresh").await);
    }
    assert_eq!(server.requests(), 5);
}

#[tokio::test]
async fn a_401_is_answered_with_one_more_try() {
    let (server, address) = Server::start().await;
    let vault = vault_with_refresh_token(&server);
    let client = Client::new(&address, Some(&vault), ALL);
    greeted(client.call("refresh").await);
    server.valid.lock().unwrap().clear();
    greeted(client.call("refresh").await);
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn a_call_that_is_given_up_does_not_lose_the_token() {
    let (server, address) = Server::start().await;
    server.delay_ms.store(150, Ordering::Relaxed);
    let vault = vault_with_refresh_token(&server);
    let client = Client::new(&address, Some(&vault), ALL);
    let given_up = error(client.call_within("refresh", Duration::from_millis(20)).await);
    assert_eq!(
        (given_up.kind(), given_up.detail("sent")),
        (ErrorCode::Transient, Some("no"))
    );
    server.delay_ms.store(0, Ordering::Relaxed);
    greeted(client.call("refresh").await);
    assert_eq!(server.requests(), 1, "the first request went on");
    // Another node finds what it got.
    greeted(Client::new(&address, Some(&vault), ALL).call("refresh").await);
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn refusals_say_what_to_do_and_are_not_asked_for_again_at_once() {
    let (server, address) = Server::start().await;
    let vault = vault_with_refresh_token(&server);
    server.refresh.lock().unwrap().0 = random();
    let client = Client::new(&address, Some(&vault), ALL);
    for _ in 0..3 {
        let over = error(client.call("refresh").await);
        assert_eq!(over.kind(), ErrorCode::Auth);
        assert!(
            over.message.contains("invalid_grant") && over.message.contains("stecker secret authorize"),
            "{over}"
        );
    }
    assert_eq!(server.requests(), 1);

    for (status, code) in [(429, ErrorCode::RateLimited), (503, ErrorCode::Transient)] {
        server.broken.store(status, Ordering::Relaxed);
        let later = error(Client::new(&address, None, ALL).call("client").await);
        assert_eq!(
            (later.kind(), later.retry_after_ms),
            (code, Some(7_000)),
            "{later}"
        );
        assert_eq!(
            later.detail("sent"),
            Some("no"),
            "the guest's own request never left"
        );
    }
    let none = error(
        Client::new(&address, Some(&Arc::default()), ALL)
            .call("refresh")
            .await,
    );
    assert!(none.message.contains("secret set --refresh-token"), "{none}");
}

#[tokio::test]
async fn the_token_url_needs_the_operators_grant_and_is_not_the_guests_to_use() {
    let (server, address) = Server::start().await;
    let without = Client::new(&address, None, &["/api"]);
    match without.call("client").await {
        Err(Failure::Denied(denial)) => {
            assert_eq!(
                (denial.rule.as_str(), denial.layer.as_str()),
                ("http.path", "grant")
            );
            assert!(denial.asked.contains("/token"), "{denial}");
        }
        other => panic!("not denied: {other:?}"),
    }
    assert_eq!(server.requests(), 0);

    let client = Client::new(&address, None, ALL);
    let request = HttpRequest {
        method: "POST".to_owned(),
        url: format!("http://{address}/token"),
        ..HttpRequest::default()
    };
    let (meter, budget) = (Meter::default(), ResponseBudget::for_guest(1 << 20));
    let exchange = Exchange {
        recorder: None,
        priority: stecker_model::Priority::default(),
        remaining: Duration::from_secs(30),
        budget: &budget,
        meter: &meter,
        credentials: &client.credentials,
        scrubber: &client.scrubber,
    };
    match client.egress.send(request, exchange).await {
        Err(Failure::Denied(denial)) => assert_eq!(denial.layer, "manifest"),
        other => panic!("not denied: {other:?}"),
    }
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_person_consents_and_the_code_works_once_for_who_asked() {
    const REDIRECT: &str = "https://stecker.acme.example/oauth/callback";
    let (server, address) = Server::start().await;
    let vault = Arc::new(Vault::default());
    let client = Client::new(&address, Some(&vault), ALL);
    let none = error(client.call("person").await);
    assert!(none.message.contains("stecker secret authorize"), "{none}");

    let begin = async || {
        let begun = client
            .egress
            .begin_authorization("person", REDIRECT, client.supply())
            .await;
        let url = Url::parse(&begun.unwrap().url).unwrap();
        let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        (url, query)
    };
    let finish = async |callback: &str| {
        let ended = client
            .egress
            .finish_authorization("person", callback, client.supply())
            .await;
        ended.map_err(|failure| match failure {
            Failure::Error(error) => error.message,
            Failure::Denied(denial) | Failure::AnswerDenied(denial) => denial.to_string(),
        })
    };
    let (url, query) = begin().await;
    assert_eq!(url.path(), "/authorize");
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "the client"),
        ("redirect_uri", REDIRECT),
        ("scope", "all"),
        ("access_type", "offline"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(query[name], value);
    }
    assert!(!url.as_str().contains(&client.secret));

    // Answers to something else.
    for (callback, says) in [
        (format!("{REDIRECT}?code=x&state=other"), "`state` differs"),
        (format!("{REDIRECT}?code=x"), "`state` differs"),
        (
            format!("{REDIRECT}?error=access_denied&state={}", query["state"]),
            "access_denied",
        ),
        (format!("{REDIRECT}?state={}", query["state"]), "no `code`"),
    ] {
        let refused = finish(&callback).await.unwrap_err();
        assert!(refused.contains(says), "{refused}");
    }
    assert_eq!(server.requests(), 0);

    // Somebody else's code does not fit to the verifier of this authorization.
    *server.code.lock().unwrap() = Some(("stolen".to_owned(), "other-challenge".to_owned()));
    let refused = finish(&format!("{REDIRECT}?code=stolen&state={}", query["state"])).await;
    assert!(refused.unwrap_err().contains("invalid_grant"));

    let (_, query) = begin().await;
    *server.code.lock().unwrap() = Some(("the code".to_owned(), query["code_challenge"].clone()));
    let callback = format!("{REDIRECT}?code=the+code&state={}", query["state"]);
    finish(&callback).await.unwrap();
    assert_eq!(server.last()["redirect_uri"], REDIRECT);
    greeted(client.call("person").await);
    assert!(finish(&callback).await.unwrap_err().contains("no authorization"));
    for redirect in [
        "http://acme.example/",
        "ftp://127.0.0.1/",
        "nowhere",
        "https://a.example/#x",
    ] {
        assert!(
            client
                .egress
                .begin_authorization("person", redirect, client.supply())
                .await
                .is_err()
        );
    }
    assert!(
        client
            .egress
            .begin_authorization("client", REDIRECT, client.supply())
            .await
            .is_err()
    );
}
