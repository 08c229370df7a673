//! The simulators as a process of their own.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::json;
use stecker_simulators::{Announcement, Faults, Remote};

use crate::client::Client;

fn spawn(arguments: &[&str]) -> (Child, BufReader<ChildStdout>, Announcement) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_stecker-simulators"))
        .args(["--orders", "40", "--exit-with-stdin"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    (child, stdout, serde_json::from_str(&line).unwrap())
}

#[tokio::test]
async fn another_process_steers_the_systems_and_reads_the_account() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ports.json");
    let (mut child, _stdout, announced) = spawn(&["--port-file", file.to_str().unwrap(), "--seed", "3"]);
    let written: Announcement = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!((&written, announced.orders, announced.seed), (&announced, 40, 3));
    assert_eq!(announced.pid, child.id());

    let remote = Remote::new(&announced).unwrap();
    let client = Client::new(&announced);
    remote
        .set_faults(&Faults {
            too_many_requests: 1.0,
            ..Faults::off()
        })
        .await
        .unwrap();
    assert_eq!(client.shop("/api/v1/orders").await.unwrap().0, 429);
    remote.set_faults(&Faults::off()).await.unwrap();
    let created = remote.create_orders(2).await.unwrap();
    let changed = remote.update_orders(&[created[0].id], false).await.unwrap();
    assert_eq!(changed[0].version, 2);
    client.deliver(&client.read_orders(20).await).await;
    let account = remote.account().await.unwrap();
    assert!(account.verdict().orders_are_right());
    assert_eq!(
        (
            account.verdict().booked,
            account.verdict().permanently_rejected.len()
        ),
        (41, 1)
    );
    let item = account.erp.rejections.keys().next().unwrap().clone();
    let id = account.shop.orders[&item].id;
    client
        .deliver(&remote.update_orders(&[id], true).await.unwrap())
        .await;
    assert_eq!(remote.account().await.unwrap().verdict().booked, 42);

    let refused = remote.update_orders(&[1], false).await.unwrap_err().to_string();
    assert!(refused.contains("404") && refused.contains("[1]"), "{refused}");
    let out_of_range = Faults {
        slow: 2.0,
        ..Faults::off()
    };
    assert!(
        remote
            .set_faults(&out_of_range)
            .await
            .unwrap_err()
            .to_string()
            .contains("from 0 to 1")
    );

    drop(child.stdin.take());
    assert!(
        child.wait().unwrap().success(),
        "the end of the input is a clean end"
    );
    assert!(
        remote
            .account()
            .await
            .unwrap_err()
            .to_string()
            .contains("do not answer")
    );
}

#[cfg(unix)]
#[test]
fn a_signal_ends_the_process_cleanly_even_in_the_middle_of_a_hanging_call() {
    let (mut child, _stdout, announced) = spawn(&["--faults", "demo"]);
    let control = Remote::new(&announced).unwrap();
    let client = Client::new(&announced);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let hang: Faults = serde_json::from_value(json!({ "hang": 1.0, "hang_ms": 600_000 })).unwrap();
    runtime.block_on(control.set_faults(&hang)).unwrap();
    let hanging = runtime.spawn(async move { client.shop("/api/v1/stock").await });
    runtime.block_on(async {
        while !control
            .account()
            .await
            .unwrap()
            .faults
            .contains_key(&stecker_simulators::Fault::Hang)
        {
            tokio::task::yield_now().await;
        }
    });
    let killed = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    assert!(child.wait().unwrap().success());
    assert_eq!(runtime.block_on(hanging).unwrap(), None);
}

#[test]
fn a_taken_port_is_explained() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_stecker-simulators"))
        .args(["--erp-port", &port])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && said.contains(&port) && said.contains("free the port"),
        "{said}"
    );
}
