//! One process at a time in a data folder, and how others find it.

use std::{net::TcpListener, time::Duration};

use stecker_server::{DataFolder, Host, HostError, HostOptions, Server};

use crate::{Running, options};

#[tokio::test]
async fn a_second_host_is_refused_and_told_where_the_first_is() {
    let running = Running::start().await;
    let refusal = Server::start(options(&running.dir)).await.unwrap_err();
    assert!(matches!(refusal, HostError::Folder(_)));
    let text = refusal.to_string();
    for part in [
        "in use by `stecker serve`",
        &std::process::id().to_string(),
        &running.server.context().url,
        "--server",
        "stop it",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let refusal = Host::open(&HostOptions::new(running.dir.path(), "stecker flow"))
        .await
        .unwrap_err();
    assert_eq!(refusal.to_string(), text);
}

#[tokio::test]
async fn the_folder_tells_where_the_server_is_for_as_long_as_it_is_there() {
    let running = Running::start().await;
    let path = running.dir.path().to_owned();
    let context = DataFolder::server_of(&path).unwrap();
    assert_eq!(&context, running.server.context());
    assert_eq!(context.pid, std::process::id());
    assert_eq!(context.url, format!("http://{}", running.server.address()));
    assert_eq!(
        std::fs::read_to_string(&context.token_file).unwrap().trim(),
        running.token
    );

    let Running { server, dir, .. } = running;
    tokio::time::timeout(Duration::from_secs(30), server.shutdown())
        .await
        .unwrap();
    assert_eq!(DataFolder::server_of(&path), None);
    let host = Host::open(&HostOptions::new(dir.path(), "stecker flow"))
        .await
        .unwrap();
    host.close().await;
}

#[tokio::test]
async fn the_token_stays_the_same_from_one_start_to_the_next() {
    let Running {
        server, dir, token, ..
    } = Running::start().await;
    server.shutdown().await;
    let again = Server::start(options(&dir)).await.unwrap();
    assert_eq!(
        std::fs::read_to_string(&again.context().token_file)
            .unwrap()
            .trim(),
        token
    );
    again.shutdown().await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_and_the_folder_is_free_again() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut wish = options(&dir);
    wish.listen = taken.local_addr().unwrap();
    let text = Server::start(wish).await.unwrap_err().to_string();
    assert!(
        text.contains(&taken.local_addr().unwrap().to_string()) && text.contains("--listen"),
        "{text}"
    );
    Server::start(options(&dir)).await.unwrap().shutdown().await;
}

#[tokio::test]
async fn a_database_that_is_none_is_named_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("stecker.sqlite");
    let text = "this is a letter and no database, and it is long enough to be looked at as one";
    std::fs::write(&file, text).unwrap();
    let refusal = Server::start(options(&dir)).await.unwrap_err();
    assert!(matches!(refusal, HostError::Store { .. }), "{refusal:?}");
    assert!(refusal.to_string().contains("stecker.sqlite"), "{refusal}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    assert_eq!(DataFolder::server_of(dir.path()), None);
}
