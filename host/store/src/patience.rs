//! How long a host waits for a Postgres that says nothing.
//!
//! A network that is cut says nothing either: without a bound, what waits for an answer waits until the kernel gives up, a quarter of an hour and
//! more, or for ever where a proxy stands in between. The other side of the same cut is a server that keeps the locks of a host it cannot hear
//! any more. So both ends are given bounds: each statement here, each session there. SQLite is in the same process and needs none.
//!
//! Whoever meets a bound gets an error and begins anew; what a transaction that was cut off at its `COMMIT` came to is found out by
//! looking, never by guessing.

use std::{io, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::BoxStream};
use sqlx::{
    Any, AnyConnection, AnyPool, Connection as _, Describe, Either, Execute, Executor, SqlStr,
    any::{AnyPoolOptions, AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo},
};

/// For an answer, or a part of one. Nothing that this crate asks takes a tenth of that.
pub(crate) const ANSWER: Duration = Duration::from_secs(20);
/// For a sign of life.
pub(crate) const PING: Duration = Duration::from_secs(5);
/// For so long, a connection that worked is taken to work.
const FRESH: Duration = Duration::from_secs(1);
/// For a connection, of which the pool makes several attempts.
const CONNECTION: Duration = Duration::from_secs(20);

/// What a server is told of each session. A transaction that says nothing for five seconds is that of a host that cannot be heard: it is
/// rolled back, so that another host can have its leases.
const SESSION: &str = "SET idle_in_transaction_session_timeout = '5s'";
/// How the statements of this crate are planned: along the indexes that they were written for, once, and without regard to figures. A ledger
/// that fills in a minute is ahead of what the server knows of it; left to itself it reads whole tables, of which it believes that they are small,
/// for every fifty rows. With these, nothing but a missing index leads to that. Compiling such plans is not worth it either.
const PLANS: [&str; 5] = [
    "SET enable_seqscan = off",
    "SET enable_hashjoin = off",
    "SET enable_mergejoin = off",
    "SET plan_cache_mode = force_generic_plan",
    "SET jit = off",
];
/// That its connection is gone is found out within seconds, too. Not every server can do all of it, nor every connection.
const WIRE: [&str; 4] = [
    "SET tcp_keepalives_idle = 5",
    "SET tcp_keepalives_interval = 2",
    "SET tcp_keepalives_count = 3",
    "SET tcp_user_timeout = '10s'",
];

fn silence() -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(
        io::ErrorKind::TimedOut,
        "the database did not answer in time: it is overloaded, or cannot be reached any more",
    ))
}

/// Waits no longer than that.
pub(crate) async fn within<T>(
    patience: Option<Duration>,
    future: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    match patience {
        None => future.await,
        Some(patience) => tokio::time::timeout(patience, future)
            .await
            .unwrap_or_else(|_| Err(silence())),
    }
}

/// Connections of a Postgres. One that does not answer is given up, when it is handed out as when it is given back, and another one made.
pub(crate) fn postgres_pool(connections: u32) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(connections.max(1))
        .acquire_timeout(CONNECTION)
        // Done below, with a bound.
        .test_before_acquire(false)
        .before_acquire(|connection, use_of| {
            Box::pin(async move {
                // What was good a moment ago is; asking each time would cost as much as most statements do.
                if use_of.idle_for >= FRESH {
                    within(Some(PING), connection.ping()).await?;
                }
                Ok(true)
            })
        })
        .after_release(|connection, _| {
            Box::pin(async move { within(Some(PING), connection.ping()).await.map(|()| true) })
        })
        .after_connect(|connection, _| {
            Box::pin(async move {
                connection.execute(SESSION).await?;
                for setting in WIRE.into_iter().chain(PLANS) {
                    if let Err(error) = connection.execute(setting).await {
                        tracing::debug!(%error, setting, "this server does not have a setting");
                    }
                }
                Ok(())
            })
        })
}

/// Something that statements are sent to, with a bound on how long an answer takes.
#[derive(Debug)]
pub(crate) struct Patient<E> {
    to: E,
    patience: Option<Duration>,
}

impl<'p> Patient<&'p AnyPool> {
    pub(crate) fn new(pool: &'p AnyPool, patience: Option<Duration>) -> Self {
        Self { to: pool, patience }
    }
}

/// A transaction's connection.
#[derive(Debug)]
pub(crate) struct Guarded {
    pub(crate) tx: sqlx::Transaction<'static, Any>,
    pub(crate) patience: Option<Duration>,
}

impl Guarded {
    fn patient(&mut self) -> Patient<&mut AnyConnection> {
        Patient {
            patience: self.patience,
            to: &mut self.tx,
        }
    }
}

type Step = Result<Either<AnyQueryResult, AnyRow>, sqlx::Error>;

impl<'c, E> Executor<'c> for Patient<E>
where
    E: Executor<'c, Database = Any>,
{
    type Database = Any;

    fn fetch_many<'e, 'q: 'e, Q>(self, query: Q) -> BoxStream<'e, Step>
    where
        'c: 'e,
        Q: 'q + Execute<'q, Any>,
    {
        let steps = self.to.fetch_many(query);
        let Some(patience) = self.patience else {
            return steps;
        };
        futures_util::stream::unfold(Some(steps), move |steps| async move {
            let mut steps = steps?;
            match tokio::time::timeout(patience, steps.next()).await {
                Ok(step) => step.map(|step| (step, Some(steps))),
                Err(_) => Some((Err(silence()), None)),
            }
        })
        .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, Q>(self, query: Q) -> BoxFuture<'e, Result<Option<AnyRow>, sqlx::Error>>
    where
        'c: 'e,
        Q: 'q + Execute<'q, Any>,
    {
        within(self.patience, self.to.fetch_optional(query)).boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [AnyTypeInfo],
    ) -> BoxFuture<'e, Result<AnyStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        within(self.patience, self.to.prepare_with(sql, parameters)).boxed()
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Any>, sqlx::Error>>
    where
        'c: 'e,
    {
        within(self.patience, self.to.describe(sql)).boxed()
    }
}

impl<'c> Executor<'c> for &'c mut Guarded {
    type Database = Any;

    fn fetch_many<'e, 'q: 'e, Q>(self, query: Q) -> BoxStream<'e, Step>
    where
        'c: 'e,
        Q: 'q + Execute<'q, Any>,
    {
        self.patient().fetch_many(query)
    }

    fn fetch_optional<'e, 'q: 'e, Q>(self, query: Q) -> BoxFuture<'e, Result<Option<AnyRow>, sqlx::Error>>
    where
        'c: 'e,
        Q: 'q + Execute<'q, Any>,
    {
        self.patient().fetch_optional(query)
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [AnyTypeInfo],
    ) -> BoxFuture<'e, Result<AnyStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        self.patient().prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Any>, sqlx::Error>>
    where
        'c: 'e,
    {
        self.patient().describe(sql)
    }
}
