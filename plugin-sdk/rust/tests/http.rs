//! The HTTP client against scripted answers and a tape.

use serde_json::{Value, json};
use std::time::Duration;
use stecker_sdk::http::{self, Client};
use stecker_sdk::testing::{self, Reply, Script, Tape, TestHost};

fn api() -> Client {
    Client::new("https://api.example/").credential("api")
}

fn host(script: Script) -> TestHost {
    let host = TestHost::new();
    host.script(script);
    host
}

#[test]
fn a_status_becomes_the_code_that_tells_what_to_do() {
    for (status, code) in [
        (302, "config"),
        (400, "data"),
        (401, "auth"),
        (403, "auth"),
        (404, "not-found"),
        (408, "transient"),
        (409, "conflict"),
        (422, "data"),
        (429, "rate-limited"),
        (500, "transient"),
        (501, "unsupported"),
        (503, "transient"),
    ] {
        let _host = host(
            Script::new()
                .expect(testing::get("/x"))
                .reply(status, json!({"detail": "because"})),
        );
        let error = api().get("/x").send().unwrap().error_for_status().unwrap_err();
        assert_eq!(error.code(), code, "{status}");
        assert!(
            error.message().contains("GET https://api.example/x") && error.message().contains("because"),
            "{error}"
        );
        assert_eq!(error.detail_of("status"), Some(status.to_string().as_str()));
    }
}

#[test]
fn retry_after_is_read_as_seconds_and_as_a_date() {
    let host = host(
        Script::new()
            .expect(testing::get("/x"))
            .reply_with(Reply::status(503).header("Retry-After", "120"))
            .expect(testing::get("/x"))
            .reply_with(Reply::status(429).header("Retry-After", "Thu, 01 Jan 2026 12:00:30 GMT"))
            .expect(testing::get("/x"))
            .reply_with(Reply::status(429).header("Retry-After", "soon")),
    );
    host.set_clock("2026-01-01T12:00:00Z");
    let wait = || {
        api()
            .get("/x")
            .send()
            .unwrap()
            .error_for_status()
            .unwrap_err()
            .retry_in()
    };
    assert_eq!(
        [wait(), wait(), wait()],
        [
            Some(Duration::from_secs(120)),
            Some(Duration::from_secs(30)),
            None
        ]
    );
}

#[test]
fn what_may_have_been_acted_on_is_told_from_what_was_not() {
    let _host = host(
        Script::new()
            .expect(testing::post("/x"))
            .lost()
            .expect(testing::post("/x"))
            .never_sent(),
    );
    let send = || api().post("/x").json(&json!({})).send().unwrap_err();
    assert!(send().maybe_sent());
    assert!(!send().maybe_sent());
}

#[test]
fn queries_and_segments_are_encoded() {
    let host = host(
        Script::new()
            .expect(testing::get("/a%2Fb%20c/..").query("q", "1&2=ü").query("q", "x"))
            .reply(200, json!({})),
    );
    let path = format!("/{}/..", http::segment("a/b c"));
    api()
        .get(&path)
        .query("q", "1&2=ü")
        .query("q", "x")
        .query_opt("none", None::<u8>)
        .send()
        .unwrap();
    assert_eq!(
        host.requests()[0].url,
        "https://api.example/a%2Fb%20c/..?q=1%262%3D%C3%BC&q=x"
    );
    assert_eq!(http::segment(".."), "%2E%2E");
    assert_eq!(
        http::get("https://x.example/p?a=1#f")
            .query("b", 2)
            .build()
            .unwrap()
            .url,
        "https://x.example/p?a=1&b=2#f"
    );
}

#[test]
fn a_request_that_cannot_be_built_is_not_sent() {
    let _host = host(Script::new().expect(testing::get("/good")).reply(200, json!([])));
    let answers = http::send_many(vec![
        http::get("/relative"),
        api().get("/good"),
        http::get("https:///nohost"),
    ]);
    assert_eq!(answers[0].as_ref().unwrap_err().code(), "config");
    assert!(answers[1].is_ok());
    assert_eq!(answers[2].as_ref().unwrap_err().code(), "config");
}

#[test]
fn an_answer_that_does_not_fit_names_the_place() {
    #[derive(serde::Deserialize, Debug)]
    struct Answer {
        #[expect(dead_code, reason = "read by the parser")]
        ids: Vec<u64>,
    }
    let _host = host(
        Script::new()
            .expect(testing::get("/x"))
            .reply(200, json!({"ids": [1, "2"]})),
    );
    let error = api().get("/x").send().unwrap().json::<Answer>().unwrap_err();
    assert_eq!(
        (error.code(), error.detail_of("path")),
        ("schema", Some("/ids/1"))
    );
}

#[test]
fn graphql_errors_inside_a_200_are_errors() {
    let post = || testing::post("/graphql").json_including(json!({"variables": {"first": 2}}));
    let _host = host(
        Script::new()
            .expect(post()).reply(200, json!({"data": {"orders": [1, 2]}}))
            .expect(post()).reply(200, json!({"data": null, "errors": [
                {"message": "not yours", "path": ["orders", 0], "extensions": {"code": "FORBIDDEN"}}]}))
            .expect(post()).reply(400, json!({"errors": [{"message": "no such field", "extensions": {"code": "GRAPHQL_VALIDATION_FAILED"}}]}))
            .expect(post()).reply_with(Reply::bytes(502, "<html>bad gateway"))
            .expect(post()).reply(200, json!({"data": {"orders": "none"}})),
    );
    #[derive(serde::Deserialize, Debug)]
    struct Data {
        orders: Vec<u8>,
    }
    let ask = || {
        api().post("/graphql").graphql::<Data>(
            "query($first: Int) { orders(first: $first) }",
            &json!({"first": 2}),
        )
    };
    assert_eq!(ask().unwrap().orders, [1, 2]);
    let forbidden = ask().unwrap_err();
    assert_eq!(
        (forbidden.code(), forbidden.detail_of("path")),
        ("auth", Some("/orders/0"))
    );
    assert_eq!(ask().unwrap_err().code(), "schema");
    assert_eq!(ask().unwrap_err().code(), "transient");
    let odd = ask().unwrap_err();
    assert_eq!(
        (odd.code(), odd.detail_of("path")),
        ("schema", Some("/data/orders"))
    );
}

#[test]
fn a_tape_plays_pages_and_a_lost_answer() {
    let host = TestHost::new();
    host.tape(Tape::load(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tapes/two-pages.json")).unwrap());
    let mut all = Vec::new();
    for page in http::pages_by_link(api().get("/things").query("sort", "id").query("limit", 2)) {
        all.extend(page.unwrap().json::<Vec<u8>>().unwrap());
    }
    assert_eq!(all, [1, 2, 3]);
    let lost = api()
        .post("/things")
        .idempotency_key("k1")
        .json(&json!({"name": "four"}))
        .send()
        .unwrap_err();
    assert!(lost.maybe_sent());
}

#[test]
fn a_link_to_another_origin_is_not_followed() {
    let _host = host(Script::new().expect(testing::get("/things")).reply_with(
        Reply::json(200, json!([])).header("Link", "<https://evil.example/things?page=2>; rel=next"),
    ));
    let error = http::pages_by_link(api().get("/things"))
        .next()
        .unwrap()
        .unwrap_err();
    assert!(error.message().contains("evil.example"), "{error}");
}

#[test]
fn pages_by_a_cursor_in_the_body() {
    let _host = host(
        Script::new()
            .expect(testing::get("/things").no_query("cursor"))
            .reply(200, json!({"next": "c1"}))
            .expect(testing::get("/things").query("cursor", "c1"))
            .reply(200, json!({"next": null})),
    );
    let pages = http::pages(api().get("/things"), |response, _| {
        let body: Value = response.json()?;
        Ok(body["next"]
            .as_str()
            .map(|cursor| api().get("/things").query("cursor", cursor)))
    });
    assert_eq!(pages.filter_map(Result::ok).count(), 2);
}
