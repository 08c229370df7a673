//! The smallest thing that may answer a webhook with a 2xx: checks the signature, appends the call to a file of SQLite, and answers once that is
//! durable.

use std::io::{self, Write as _};

use anyhow::Result;
use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use sqlx::AnyPool;
use stecker_benchmarks::shop;
use tokio::net::TcpListener;

#[derive(clap::Args)]
pub(crate) struct Intake {
    /// The file
    #[arg(long)]
    database: String,
    /// What calls are signed with
    #[arg(long)]
    secret: String,
}

#[derive(Clone)]
struct Server {
    pool: AnyPool,
    secret: String,
}

impl Intake {
    /// Prints its address, and serves until it is killed.
    pub(crate) async fn run(self) -> Result<()> {
        // One writer at a time is what SQLite has; a second connection would only wait for it.
        let pool = super::open(&self.database, 1).await?;
        sqlx::raw_sql("CREATE TABLE IF NOT EXISTS calls (id INTEGER PRIMARY KEY, headers TEXT NOT NULL, body BLOB NOT NULL)")
            .execute(&pool)
            .await?;
        let router = Router::new().route("/hooks", post(take)).with_state(Server {
            pool,
            secret: self.secret,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        writeln!(io::stdout(), "http://{address}/hooks")?;
        Ok(axum::serve(listener, router).await?)
    }
}

async fn take(State(server): State<Server>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let given = headers.get("x-signature").map(|value| value.as_bytes());
    if given != Some(shop::signature(&server.secret, &body).as_bytes()) {
        return StatusCode::UNAUTHORIZED;
    }
    let kept = sqlx::query("INSERT INTO calls (headers, body) VALUES ($1, $2)")
        .bind(format!("{headers:?}"))
        .bind(body.to_vec())
        .execute(&server.pool)
        .await;
    if kept.is_ok() {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    }
}
