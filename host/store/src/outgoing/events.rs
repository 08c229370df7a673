//! The outbox: what happened, written down for every webhook that wants to know, by the transaction in which it happened. So nothing is
//! told that did not happen, and nothing that happened is forgotten, wherever the process is killed.
//!
//! A tenant without webhooks pays one look at an empty range of an index. What is told names things and never holds a record's payload:
//! the receiver asks the API for more, where it has to say who it is.

use serde::Serialize;
use stecker_model::{
    Name, RecordState,
    api::{EventType, Reason},
};

use crate::{
    StoreError,
    due::parse_state,
    sql::{Columns, Sql, Tx, pieces, to_json},
};

/// What is told of an event, in the words of the API.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Data<'a> {
    tenant: &'a Name,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<&'a Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow: Option<&'a Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
}

impl<'a> Data<'a> {
    const fn of(tenant: &'a Name) -> Self {
        Self {
            tenant,
            connection: None,
            flow: None,
            stream: None,
            key: None,
            seq: None,
            external_id: None,
            reason: None,
        }
    }
}

/// The body of an event, as Standard Webhooks has it.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    event: EventType,
    timestamp: String,
    data: &'a Data<'a>,
}

/// RFC 3339, UTC, to the millisecond.
fn timestamp(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis)
        .unwrap_or_default()
        .strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
        .to_string()
}

/// A webhook as far as it matters to what happens.
struct Subscriber {
    id: String,
    events: Option<Vec<EventType>>,
    flows: Option<Vec<Name>>,
}

impl Subscriber {
    fn wants(&self, event: EventType, flow: Option<&Name>) -> bool {
        self.events.as_ref().is_none_or(|events| events.contains(&event))
            && self
                .flows
                .as_ref()
                .is_none_or(|flows| flow.is_some_and(|flow| flows.contains(flow)))
    }
}

async fn subscribers(tx: &mut Tx, tenant: &Name) -> Result<Vec<Subscriber>, StoreError> {
    let rows =
        sqlx::query("SELECT id, events, flows FROM subscriptions WHERE tenant = $1 AND disabled_at IS NULL")
            .bind(tenant.as_str())
            .fetch_all(&mut **tx)
            .await?;
    rows.iter()
        .map(|row| {
            Ok(Subscriber {
                id: row.text("id")?,
                events: row.maybe_json("events")?,
                flows: row.maybe_json("flows")?,
            })
        })
        .collect()
}

/// One row of the outbox.
struct Row<'a> {
    subscription: &'a str,
    event: EventType,
    body: String,
}

/// Writes events down for those who want them.
async fn put(
    tx: &mut Tx,
    tenant: &Name,
    subscribers: &[Subscriber],
    happened: &[(EventType, Data<'_>)],
    now: i64,
) -> Result<(), StoreError> {
    let mut rows = Vec::new();
    for (event, data) in happened {
        let mut wanting = subscribers
            .iter()
            .filter(|one| one.wants(*event, data.flow))
            .peekable();
        if wanting.peek().is_none() {
            continue;
        }
        let body = to_json(&Body {
            event: *event,
            timestamp: timestamp(now),
            data,
        })?;
        rows.extend(wanting.map(|subscriber| Row {
            subscription: &subscriber.id,
            event: *event,
            body: body.clone(),
        }));
    }
    for piece in pieces(&rows) {
        let mut sql = Sql::new(
            "INSERT INTO outbox (tenant, id, subscription, event, created_at, body, state, tries, next_try_at, claim, attempts) \
             VALUES ",
        );
        sql.rows(piece, |values, row| {
            values
                .value(tenant.as_str())
                .value(format!("msg_{}", uuid::Uuid::now_v7().simple()))
                .value(row.subscription)
                .value(row.event.as_str())
                .value(now)
                .value(&*row.body)
                .value("waiting")
                .value(0_i64)
                .value(now)
                .value(0_i64)
                .value("[]");
        });
        sql.query(tx.backend())?.execute(&mut **tx).await?;
    }
    Ok(())
}

/// What is told of a record that came into a state; none: nothing is.
pub(crate) const fn of_state(state: RecordState) -> Option<EventType> {
    match state {
        RecordState::Delivered => Some(EventType::RecordDelivered),
        RecordState::Quarantined => Some(EventType::RecordQuarantined),
        RecordState::Dropped => Some(EventType::RecordDropped),
        RecordState::Discarded => Some(EventType::RecordDiscarded),
        RecordState::Queued | RecordState::Sending | RecordState::Retrying | RecordState::Unknown => None,
    }
}

/// Tells of records of a flow that were moved a moment ago, by the states that they have now. Only those are given of which there is
/// something to tell ([`of_state`]).
pub(crate) async fn records(
    tx: &mut Tx,
    tenant: &Name,
    flow: &Name,
    seqs: &[i64],
    now: i64,
) -> Result<(), StoreError> {
    if seqs.is_empty() {
        return Ok(());
    }
    let subscribers = subscribers(tx, tenant).await?;
    let told = [
        EventType::RecordDelivered,
        EventType::RecordQuarantined,
        EventType::RecordDropped,
        EventType::RecordDiscarded,
    ];
    let any = |one: &Subscriber| told.iter().any(|event| one.wants(*event, Some(flow)));
    if !subscribers.iter().any(any) {
        return Ok(());
    }
    let mut happened = Vec::with_capacity(seqs.len());
    for piece in pieces(seqs) {
        let mut sql = Sql::with_keys(tenant, flow, piece);
        sql.push(
            "SELECT r.seq, r.state, r.stream, r.key, r.external_id, r.reason FROM v \
             JOIN records AS r ON r.tenant = v.tenant AND r.flow = v.flow AND r.seq = v.seq ORDER BY r.seq",
        );
        for row in sql.query(tx.backend())?.fetch_all(&mut **tx).await? {
            let Some(event) = of_state(parse_state(&row.text("state")?)?) else {
                continue;
            };
            let data = Data {
                flow: Some(flow),
                stream: Some(row.text("stream")?),
                key: Some(row.text("key")?),
                seq: Some(row.int("seq")?),
                external_id: row.maybe_text("external_id")?,
                reason: row.maybe_json("reason")?,
                ..Data::of(tenant)
            };
            happened.push((event, data));
        }
    }
    put(tx, tenant, &subscribers, &happened, now).await
}

fn because(code: &str, message: &str) -> Option<Reason> {
    (!message.is_empty()).then(|| Reason {
        code: code.to_owned(),
        message: message.to_owned(),
        path: None,
    })
}

/// Tells of a flow that was paused, and why, or resumed.
pub(crate) async fn flow(
    tx: &mut Tx,
    tenant: &Name,
    flow: &Name,
    paused: Option<&str>,
    now: i64,
) -> Result<(), StoreError> {
    let event = match paused {
        Some(_) => EventType::FlowPaused,
        None => EventType::FlowResumed,
    };
    let data = Data {
        flow: Some(flow),
        reason: because("paused", paused.unwrap_or_default()),
        ..Data::of(tenant)
    };
    let subscribers = subscribers(tx, tenant).await?;
    put(tx, tenant, &subscribers, &[(event, data)], now).await
}

/// Tells of the circuit of a connection that was opened, and why, or closed.
pub(crate) async fn circuit(
    tx: &mut Tx,
    tenant: &Name,
    connection: &Name,
    opened: Option<&str>,
    now: i64,
) -> Result<(), StoreError> {
    let event = match opened {
        Some(_) => EventType::CircuitOpen,
        None => EventType::CircuitClose,
    };
    let data = Data {
        connection: Some(connection),
        reason: because("circuit-open", opened.unwrap_or_default()),
        ..Data::of(tenant)
    };
    let subscribers = subscribers(tx, tenant).await?;
    put(tx, tenant, &subscribers, &[(event, data)], now).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscriber(events: Option<&[EventType]>, flows: Option<&[&str]>) -> Subscriber {
        Subscriber {
            id: String::new(),
            events: events.map(<[_]>::to_vec),
            flows: flows.map(|flows| flows.iter().map(|flow| flow.parse().unwrap()).collect()),
        }
    }

    #[test]
    fn who_wants_what() {
        use EventType::{CircuitOpen, FlowPaused, RecordDelivered};
        let flow: Name = "orders".parse().unwrap();
        let of_flow = [(RecordDelivered, Some(&flow)), (FlowPaused, Some(&flow))];
        let of_connection = [(CircuitOpen, None)];
        for (subscriber, wanted) in [
            (subscriber(None, None), [true, true, true]),
            (subscriber(Some(&[FlowPaused]), None), [false, true, false]),
            (subscriber(None, Some(&["orders"])), [true, true, false]),
            (subscriber(None, Some(&["stock"])), [false, false, false]),
            (
                subscriber(Some(&[CircuitOpen]), Some(&["orders"])),
                [false, false, false],
            ),
        ] {
            let got: Vec<bool> = of_flow
                .into_iter()
                .chain(of_connection)
                .map(|(event, flow)| subscriber.wants(event, flow))
                .collect();
            assert_eq!(got, wanted);
        }
    }

    #[test]
    fn a_body_is_as_the_specification_has_it() {
        let tenant = Name::default_tenant();
        let data = Data {
            seq: Some(7),
            external_id: Some("S-1".to_owned()),
            ..Data::of(&tenant)
        };
        let body = Body {
            event: EventType::RecordDelivered,
            timestamp: timestamp(1_667_507_170_344),
            data: &data,
        };
        assert_eq!(
            to_json(&body).unwrap(),
            r#"{"type":"record.delivered","timestamp":"2022-11-03T20:26:10.344Z","data":{"tenant":"default","seq":7,"external-id":"S-1"}}"#
        );
    }
}
