//! Who may do what: passwords, tokens, and how clients are told.

use std::sync::Arc;

use axum::body::Body;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use stecker_distribution::{Actions, Auth, Http, Passwords, Rule, TOKEN_PATH, TokenIssuer, hash_password};

use crate::world::{Answer, World, bytes, digest, scenarios};

fn passwords() -> Arc<Passwords> {
    let users = ["ada", "bob"].map(|user| (user.to_owned(), hash_password(&format!("{user}'s")).unwrap()));
    let rule = |user: Option<&str>, below: Option<&str>, actions| Rule {
        user: user.map(str::to_owned),
        below: below.map(|below| below.parse().unwrap()),
        actions,
    };
    let rules = vec![
        rule(None, Some("open"), Actions::PULL),
        rule(Some("ada"), None, Actions::ALL),
        rule(Some("bob"), Some("a"), Actions::PULL),
    ];
    Arc::new(Passwords::new(users, rules).unwrap())
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

async fn with(world: &World, method: &str, path: &str, authorization: &str) -> Answer {
    let headers = [("authorization", authorization)];
    let headers: &[(&str, &str)] = if authorization.is_empty() { &[] } else { &headers };
    world.ask(method, path, headers, Body::empty()).await
}

async fn passwords_open_what_they_may(mut world: World) {
    world.push_image("a", "latest", 1).await;
    world.push_image("open", "latest", 1).await;
    world.router = Http {
        registry: world.registry.clone(),
        auth: Auth::Basic {
            realm: "here".to_owned(),
            access: passwords(),
        },
        gate: None,
        discovery: None,
    }
    .router();
    let answer = with(&world, "GET", "/v2/", "").await.error(401, "UNAUTHORIZED");
    assert_eq!(
        answer.header("www-authenticate"),
        "Basic realm=\"here\", charset=\"UTF-8\""
    );
    let (ada, bob) = (basic("ada", "ada's"), basic("bob", "bob's"));
    for (method, path, who, status) in [
        ("GET", "/v2/", ada.as_str(), 200),
        ("GET", "/v2/", &basic("ada", "wrong"), 401),
        ("GET", "/v2/", "Basic !!!", 401),
        ("GET", "/v2/open/manifests/latest", "", 200),
        ("GET", "/v2/open/manifests/latest", &basic("eve", "x"), 401),
        ("POST", "/v2/open/blobs/uploads/", "", 401),
        ("GET", "/v2/a/manifests/latest", "", 401),
        ("GET", "/v2/a/manifests/latest", &bob, 200),
        ("GET", "/v2/ab/tags/list", &bob, 403),
        ("POST", "/v2/a/blobs/uploads/", &bob, 403),
        ("DELETE", "/v2/a/manifests/latest", &bob, 403),
        ("POST", "/v2/a/blobs/uploads/", &ada, 202),
        ("DELETE", "/v2/a/manifests/latest", &ada, 202),
    ] {
        with(&world, method, path, who).await.expect(status);
    }
}

async fn token(world: &World, who: &str, query: &str) -> serde_json::Value {
    let path = format!("{TOKEN_PATH}?service=registry{query}");
    let mut request = http::Request::get(path);
    if !who.is_empty() {
        request = request.header("authorization", who);
    }
    let response = tower::ServiceExt::oneshot(world.router.clone(), request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let status = response.status();
    let body = http_body_util::BodyExt::collect(response.into_body())
        .await
        .unwrap()
        .to_bytes();
    assert!(status == 200 || status == 401, "{status}");
    serde_json::from_slice(&body).unwrap()
}

async fn tokens_carry_what_was_asked_for_and_may_be(mut world: World) {
    let content = bytes(2, 100);
    let blob = world.push_blob("private", &content).await;
    world.push_image("a", "latest", 1).await;
    let issuer = TokenIssuer::new(&[3; 32], "registry", 300).unwrap();
    let auth = Auth::Bearer {
        realm: "http://here/v2/_token".to_owned(),
        service: "registry".to_owned(),
        issuer,
        access: passwords(),
    };
    world.router = Http {
        registry: world.registry.clone(),
        auth,
        gate: None,
        discovery: None,
    }
    .router();
    let answer = with(&world, "GET", "/v2/", "").await.error(401, "UNAUTHORIZED");
    assert_eq!(
        answer.header("www-authenticate"),
        "Bearer realm=\"http://here/v2/_token\",service=\"registry\""
    );
    let answer = with(&world, "POST", "/v2/a/blobs/uploads/", "")
        .await
        .error(401, "UNAUTHORIZED");
    assert!(
        answer
            .header("www-authenticate")
            .ends_with(",scope=\"repository:a:pull,push\"")
    );

    assert_eq!(
        token(&world, &basic("ada", "wrong"), "").await["errors"][0]["code"],
        "UNAUTHORIZED"
    );
    let (ada, bob) = (basic("ada", "ada's"), basic("bob", "bob's"));
    let given = token(
        &world,
        &bob,
        "&scope=repository:a:pull,push&scope=repository:private:pull",
    )
    .await;
    assert_eq!(given["token"], given["access_token"]);
    assert_eq!(given["expires_in"], 300);
    let bearer = format!("Bearer {}", given["token"].as_str().unwrap());
    with(&world, "GET", "/v2/", &bearer).await.expect(200);
    with(&world, "GET", "/v2/a/manifests/latest", &bearer)
        .await
        .expect(200);
    let answer = with(&world, "POST", "/v2/a/blobs/uploads/", &bearer)
        .await
        .error(401, "UNAUTHORIZED");
    assert!(
        answer
            .header("www-authenticate")
            .contains("error=\"insufficient_scope\"")
    );
    // A token for one repository does not read another one by mounting out of it.
    let given = token(&world, &ada, "&scope=repository:a:pull,push").await;
    let bearer = format!("Bearer {}", given["token"].as_str().unwrap());
    with(
        &world,
        "POST",
        &format!("/v2/a/blobs/uploads/?mount={blob}&from=private"),
        &bearer,
    )
    .await
    .expect(202);
    with(
        &world,
        "POST",
        &format!("/v2/a/blobs/uploads/?mount={blob}"),
        &bearer,
    )
    .await
    .expect(202);
    let given = token(
        &world,
        &ada,
        "&scope=repository:a:pull,push%20repository:private:pull",
    )
    .await;
    let both = format!("Bearer {}", given["token"].as_str().unwrap());
    with(
        &world,
        "POST",
        &format!("/v2/a/blobs/uploads/?mount={blob}&from=private"),
        &both,
    )
    .await
    .expect(201);
    assert_eq!(
        with(&world, "GET", &format!("/v2/a/blobs/{}", digest(&content)), &both)
            .await
            .expect(200)
            .body
            .as_deref(),
        Some(&content[..])
    );

    world.clock.pass(std::time::Duration::from_secs(301));
    let answer = with(&world, "GET", "/v2/a/manifests/latest", &bearer)
        .await
        .error(401, "UNAUTHORIZED");
    assert!(
        answer
            .header("www-authenticate")
            .contains("scope=\"repository:a:pull\",error=\"invalid_token\"")
    );
    // Nobody in particular gets what everybody may; and a password is as good as a token.
    let anonymous = token(&world, "", "&scope=repository:open:pull,push").await;
    let anonymous = format!("Bearer {}", anonymous["token"].as_str().unwrap());
    with(&world, "GET", "/v2/open/tags/list", &anonymous)
        .await
        .error(404, "NAME_UNKNOWN");
    with(&world, "GET", "/v2/a/manifests/latest", &anonymous)
        .await
        .expect(401);
    with(&world, "GET", "/v2/a/manifests/latest", &bob)
        .await
        .expect(200);
}

scenarios!(
    passwords_open_what_they_may,
    tokens_carry_what_was_asked_for_and_may_be
);
