//! A product that lets its customers' transforms run inside of it. It needs this crate and nothing else of Stecker: no store, no flows,
//! no server.
//!
//! `cargo run -p stecker-sandbox --example embed -- transform.wasm '{"program":"."}'` reads one JSON value per line and prints what
//! the transform makes of it.

#![allow(clippy::print_stdout, reason = "an example speaks to a terminal")]

use std::{error::Error, io::BufRead as _, sync::Arc};

use stecker_model::{Grants, Limits, Name, Operation, Period, Record, Transformed};
use stecker_sandbox::{Binding, NoBlobs, NoCredentials, NoStorage, Sandbox, SandboxOptions, TracingObserver};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("give the component of a transform")?;
    let config = arguments.next().unwrap_or_else(|| "{}".to_owned());

    // Once per process. With a cache folder, the next start does not compile.
    let sandbox = Sandbox::new(SandboxOptions {
        cache_dir: Some(std::env::temp_dir().join("stecker-embed-cache")),
        ..SandboxOptions::default()
    })?;
    let release = sandbox.load(std::fs::read(path)?).await?;
    println!("# {}", release.describe().await?);

    // Once per customer. No grants: a transform computes, it does not reach anything.
    let session = release.bind(Binding {
        tenant: "customer-17".parse::<Name>()?,
        connection: "invoice-mapping".parse::<Name>()?,
        config,
        grants: Grants::default(),
        limits: Limits {
            memory_mib: 32,
            deadline: Period::from_secs(5),
            ..Limits::default()
        },
        http_bytes_today: 0,
        tenant_limits: stecker_model::TenantLimits::default(),
        instances: stecker_model::Instances::Fresh,
        credentials: Arc::new(NoCredentials),
        storage: Arc::new(NoStorage),
        blobs: Arc::new(NoBlobs),
        observer: Arc::new(TracingObserver),
    })?;

    for (number, line) in std::io::stdin().lock().lines().enumerate() {
        let record = Record {
            stream: "input".to_owned(),
            key: number.to_string(),
            operation: Operation::Upsert,
            payload: line?,
            before: None,
            event_time: None,
            source_version: String::new(),
            attributes: Vec::new(),
        };
        // Each call is one batch in a fresh instance, and whatever happens in it is a value.
        let called = session.apply(vec![record]).await;
        match called.result {
            Ok(answers) => answers.iter().for_each(show),
            Err(error) => println!("# {error}"),
        }
        println!(
            "# {} µs, {} bytes at most",
            called.usage.wall_us, called.usage.peak_memory
        );
    }
    Ok(())
}

fn show(answer: &Transformed) {
    match answer {
        Transformed::Emit(records) => records.iter().for_each(|record| println!("{}", record.payload)),
        Transformed::Drop(reason) => println!("# left out: {reason}"),
        Transformed::Reject(rejection) => println!("# rejected: {}: {}", rejection.code, rejection.reason),
    }
}
