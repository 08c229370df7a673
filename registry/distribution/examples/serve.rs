//! A registry over a folder, on a loopback address: `serve FOLDER [PORT]`. Prints its address and serves until it is killed.
//!
//! For trying things out, the environment may say: `DATABASE` (a URL; default: a SQLite file in the folder), `GRACE_MS` and
//! `COLLECT_MS` (how long what is pushed is kept unpublished, and how often garbage is collected; default: a day, never),
//! `DISTRIBUTION_USER` (`name:password`; default: everybody may do everything), `DISTRIBUTION_BASIC` (passwords instead of tokens).
#![expect(clippy::print_stdout, reason = "an example speaks to a terminal")]

use std::{env, error::Error, path::PathBuf, sync::Arc, time::Duration};

use stecker_distribution::{
    Actions, Auth, BlobStore, Discovery, Http, Passwords, Registry, RegistryOptions, Rule, TOKEN_PATH,
    TokenIssuer, hash_password,
};
use tokio::net::TcpListener;

fn millis(name: &str) -> Option<Duration> {
    env::var(name).ok()?.parse().ok().map(Duration::from_millis)
}

fn auth(address: &str) -> Result<Auth, Box<dyn Error>> {
    let Some((user, password)) = env::var("DISTRIBUTION_USER").ok().and_then(|text| {
        let (user, password) = text.split_once(':')?;
        Some((user.to_owned(), password.to_owned()))
    }) else {
        return Ok(Auth::Open);
    };
    let rules = vec![
        Rule {
            user: Some(user.clone()),
            below: None,
            actions: Actions::ALL,
        },
        Rule {
            user: None,
            below: Some("open".parse()?),
            actions: Actions::PULL,
        },
    ];
    let access = Arc::new(Passwords::new([(user, hash_password(&password)?)], rules)?);
    if env::var_os("DISTRIBUTION_BASIC").is_some() {
        return Ok(Auth::Basic {
            realm: "registry".to_owned(),
            access,
        });
    }
    let mut key = [0_u8; 32];
    rand::fill(&mut key);
    Ok(Auth::Bearer {
        realm: format!("http://{address}{TOKEN_PATH}"),
        service: "registry".to_owned(),
        issuer: TokenIssuer::new(&key, "registry", 300).ok_or("a key of 32 bytes is long enough")?,
        access,
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("usage: serve FOLDER [PORT]")?);
    let port: u16 = arguments.next().map_or(Ok(0), |port| port.parse())?;
    let blobs = BlobStore::folder(&folder.join("blobs"))?;
    let database = env::var("DATABASE")
        .unwrap_or_else(|_| format!("sqlite:{}", folder.join("registry.sqlite").display()));
    let mut options = RegistryOptions::default();
    if let Some(grace) = millis("GRACE_MS") {
        options.grace = grace;
    }
    let registry = Registry::open(&database, blobs, options).await?;
    if let Some(every) = millis("COLLECT_MS") {
        let registry = registry.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                if let Err(error) = registry.collect(true).await {
                    println!("collecting failed: {error}");
                }
            }
        });
    }
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?.to_string();
    let http = Http {
        registry,
        auth: auth(&address)?,
        gate: None,
        discovery: Some(Discovery {
            registry: address.clone(),
            namespace_prefix: String::new(),
        }),
    };
    println!("http://{address}");
    axum::serve(listener, http.router()).await?;
    Ok(())
}
