//! What a good engineer would write by hand for one shop and one ERP: the limit that a host of plugins is measured against. It does what is
//! needed and no more: pages and the cursor in one transaction, a key for each sale, a restart goes on where it was.

mod intake;

use std::{
    io::{self, Write as _},
    sync::{Arc, Once},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};
use futures_util::future::try_join_all;
use serde::Deserialize;
use sqlx::{AnyPool, AssertSqlSafe, Row as _, any::AnyPoolOptions};
use stecker_benchmarks::shop::{Order, Sale};
use tokio::{
    sync::{Mutex, Semaphore, mpsc},
    task::JoinSet,
};

/// Orders of a page.
const PAGE: usize = 250;

/// The limit
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Bring every order over, once
    Deliver(Deliver),
    /// Take signed calls and append them to a file of SQLite
    Intake(intake::Intake),
}

#[derive(clap::Args)]
struct Deliver {
    /// Where shop and ERP are
    #[arg(long)]
    api: String,
    /// Where the ledger is; without it, nothing is kept
    #[arg(long)]
    database: Option<String>,
    /// Batches at the same time
    #[arg(long, default_value_t = 4)]
    lanes: usize,
    /// Orders of a batch
    #[arg(long, default_value_t = 50)]
    batch: usize,
    /// Requests at the same time
    #[arg(long, default_value_t = 64)]
    in_flight: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // An error says that the process has chosen one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    match Cli::parse().task {
        Task::Deliver(task) => {
            let delivered = task.run().await?;
            writeln!(io::stdout(), "{delivered}")?;
            Ok(())
        }
        Task::Intake(task) => task.run().await,
    }
}

#[derive(Deserialize)]
struct Page {
    orders: Vec<Order>,
    next: Option<u64>,
}

#[derive(Deserialize)]
struct Booked {
    id: String,
}

/// A batch of sales with their numbers.
type Batch = Vec<(i64, Sale)>;

struct Systems {
    client: reqwest::Client,
    api: String,
    in_flight: Semaphore,
}

impl Deliver {
    async fn run(self) -> Result<usize> {
        let ledger = match &self.database {
            Some(url) => Some(Ledger::open(url).await?),
            None => None,
        };
        let systems = Arc::new(Systems {
            client: reqwest::Client::builder().no_proxy().build()?,
            api: self.api,
            in_flight: Semaphore::new(self.in_flight),
        });
        let (batches, queue) = mpsc::channel::<Batch>(self.lanes * 2);
        let queue = Arc::new(Mutex::new(queue));
        let mut lanes = JoinSet::new();
        for _ in 0..self.lanes {
            let (queue, systems, ledger) = (Arc::clone(&queue), Arc::clone(&systems), ledger.clone());
            lanes.spawn(async move {
                let mut delivered = 0;
                loop {
                    let batch = queue.lock().await.recv().await;
                    let Some(batch) = batch else {
                        return Ok::<_, anyhow::Error>(delivered);
                    };
                    let booked =
                        try_join_all(batch.iter().map(|(seq, sale)| systems.book(*seq, sale))).await?;
                    delivered += booked.len();
                    if let Some(ledger) = &ledger {
                        ledger.settle(&booked).await?;
                    }
                }
            });
        }
        let mut after = 0;
        if let Some(ledger) = &ledger {
            let (cursor, open) = ledger.resume().await?;
            after = cursor;
            for batch in open.chunks(self.batch) {
                batches.send(batch.to_vec()).await?;
            }
        }
        loop {
            let page = systems.page(after).await?;
            let Some(last) = page.orders.last().map(|order| order.id) else {
                break;
            };
            let sales = page
                .orders
                .into_iter()
                .map(|order| Ok((i64::try_from(order.id)?, Sale::from(order))))
                .collect::<Result<Batch>>()?;
            if let Some(ledger) = &ledger {
                ledger.accept(&sales, last).await?;
            }
            for batch in sales.chunks(self.batch) {
                batches.send(batch.to_vec()).await?;
            }
            after = last;
            if page.next.is_none() {
                break;
            }
        }
        drop(batches);
        let mut delivered = 0;
        while let Some(lane) = lanes.join_next().await {
            delivered += lane??;
        }
        Ok(delivered)
    }
}

impl Systems {
    async fn page(&self, after: u64) -> Result<Page> {
        loop {
            let request = self
                .client
                .get(format!("{}/orders", self.api))
                .query(&[("after", after), ("limit", PAGE as u64)]);
            if let Some(answer) = Self::admitted(request.send().await?).await? {
                return Ok(answer.json().await?);
            }
        }
    }

    async fn book(&self, seq: i64, sale: &Sale) -> Result<(i64, String)> {
        let body = serde_json::to_vec(sale)?;
        loop {
            let request = self
                .client
                .post(format!("{}/sales", self.api))
                .header("content-type", "application/json")
                .header("idempotency-key", format!("order-{seq}-{}", sale.version))
                .body(body.clone());
            let turn = self.in_flight.acquire().await?;
            let answer = request.send().await?;
            drop(turn);
            if let Some(answer) = Self::admitted(answer).await? {
                return Ok((seq, answer.json::<Booked>().await?.id));
            }
        }
    }

    /// None: it has to be asked again, and the time for it has come.
    async fn admitted(answer: reqwest::Response) -> Result<Option<reqwest::Response>> {
        if answer.status() != reqwest::StatusCode::TOO_MANY_REQUESTS {
            return Ok(Some(answer.error_for_status()?));
        }
        let seconds = answer
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.parse().ok())
            .unwrap_or(1);
        answer.bytes().await?;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        Ok(None)
    }
}

#[derive(Clone)]
struct Ledger {
    pool: AnyPool,
}

impl Ledger {
    async fn open(url: &str) -> Result<Self> {
        let is_sqlite = url.starts_with("sqlite:");
        let pool = open(url, if is_sqlite { 1 } else { 8 }).await?;
        sqlx::raw_sql(
            "CREATE TABLE IF NOT EXISTS place (one BIGINT PRIMARY KEY, after_id BIGINT NOT NULL); \
             CREATE TABLE IF NOT EXISTS ledger (seq BIGINT PRIMARY KEY, payload TEXT NOT NULL, state TEXT NOT NULL, external_id TEXT); \
             CREATE INDEX IF NOT EXISTS ledger_open ON ledger (seq) WHERE state = 'queued';",
        )
        .execute(&pool)
        .await?;
        Ok(Self { pool })
    }

    /// Where to go on, and what was accepted and not delivered.
    async fn resume(&self) -> Result<(u64, Batch)> {
        let place = sqlx::query("SELECT after_id FROM place WHERE one = 1")
            .fetch_optional(&self.pool)
            .await?;
        let after = match place {
            Some(row) => u64::try_from(row.try_get::<i64, _>("after_id")?)?,
            None => 0,
        };
        let open = sqlx::query("SELECT seq, payload FROM ledger WHERE state = 'queued' ORDER BY seq")
            .fetch_all(&self.pool)
            .await?;
        let open = open
            .iter()
            .map(|row| {
                let payload: String = row.try_get("payload")?;
                Ok((row.try_get("seq")?, serde_json::from_str(&payload)?))
            })
            .collect::<Result<_>>()?;
        Ok((after, open))
    }

    /// A page and the place after it, in one transaction.
    async fn accept(&self, sales: &[(i64, Sale)], after: u64) -> Result<()> {
        let text = format!(
            "INSERT INTO ledger (seq, payload, state) VALUES {}",
            rows(sales.len(), |n| format!(
                "(${}, ${}, 'queued')",
                2 * n + 1,
                2 * n + 2
            ))
        );
        let mut tx = self.pool.begin().await?;
        let mut insert = sqlx::query(AssertSqlSafe(text));
        for (seq, sale) in sales {
            insert = insert.bind(*seq).bind(serde_json::to_string(sale)?);
        }
        insert.execute(&mut *tx).await?;
        sqlx::query(
            "INSERT INTO place (one, after_id) VALUES (1, $1) ON CONFLICT (one) DO UPDATE SET after_id = excluded.after_id",
        )
        .bind(i64::try_from(after)?)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    async fn settle(&self, booked: &[(i64, String)]) -> Result<()> {
        let text = format!(
            "WITH v (seq, id) AS (VALUES {}) UPDATE ledger SET state = 'delivered', external_id = v.id FROM v WHERE ledger.seq = v.seq",
            rows(booked.len(), |n| format!("(${}, ${})", 2 * n + 1, 2 * n + 2))
        );
        let mut tx = self.pool.begin().await?;
        let mut update = sqlx::query(AssertSqlSafe(text));
        for (seq, id) in booked {
            update = update.bind(*seq).bind(id.clone());
        }
        let done = update.execute(&mut *tx).await?;
        ensure!(
            done.rows_affected() == booked.len() as u64,
            "the ledger lacks what was delivered"
        );
        Ok(tx.commit().await?)
    }
}

fn rows(count: usize, row: impl Fn(usize) -> String) -> String {
    (0..count).map(row).collect::<Vec<_>>().join(", ")
}

/// On SQLite with the same promises that the host makes: what is committed survives a loss of power.
async fn open(url: &str, connections: u32) -> Result<AnyPool> {
    sqlx::any::install_default_drivers();
    let is_sqlite = url.starts_with("sqlite:");
    AnyPoolOptions::new()
        .max_connections(connections)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                if is_sqlite {
                    sqlx::raw_sql(
                        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384;",
                    )
                    .execute(connection)
                    .await?;
                }
                Ok(())
            })
        })
        .connect(url)
        .await
        .with_context(|| format!("{url} cannot be opened"))
}
