//! A name server on UDP (RFC 1035) that answers as a scenario says, also with lies.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME},
    },
};
use tokio::{net::UdpSocket, task::JoinSet};

use crate::scenario::Zone;

pub(crate) struct NameServer {
    address: SocketAddr,
    zones: Arc<Mutex<Zones>>,
    /// Ends with the server.
    _answering: JoinSet<()>,
}

#[derive(Default)]
struct Zones {
    zones: Vec<Zone>,
    /// Queries so far, by name and type.
    asked: HashMap<(String, RecordType), usize>,
}

impl NameServer {
    pub(crate) async fn start() -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = socket.local_addr()?;
        let zones = Arc::<Mutex<Zones>>::default();
        let mut answering = JoinSet::new();
        answering.spawn(serve(socket, Arc::clone(&zones)));
        Ok(Self {
            address,
            zones,
            _answering: answering,
        })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on these, from their first answers on.
    pub(crate) fn set(&self, zones: &[Zone]) {
        let mut current = self.zones.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Zones {
            zones: zones.to_vec(),
            asked: HashMap::new(),
        };
    }
}

async fn serve(socket: UdpSocket, zones: Arc<Mutex<Zones>>) {
    let mut buffer = vec![0; 4_096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let Some(Ok(query)) = buffer.get(..length).map(Message::from_vec) else {
            continue;
        };
        let answer = zones
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .answer(&query);
        if let Some(Ok(bytes)) = answer.map(|answer| answer.to_vec()) {
            // Whoever asked and went away does not want to know.
            socket.send_to(&bytes, from).await.ok();
        }
    }
}

impl Zones {
    fn answer(&mut self, query: &Message) -> Option<Message> {
        let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
        answer.metadata.recursion_desired = query.metadata.recursion_desired;
        answer.metadata.recursion_available = true;
        answer.add_queries(query.queries.iter().cloned());
        let question = query.queries.first()?;
        let name = plain(question.name());
        let Some(zone) = self.zones.iter().find(|zone| zone.name == name).cloned() else {
            answer.metadata.response_code = ResponseCode::NXDomain;
            return Some(answer);
        };
        if zone.silent {
            return None;
        }
        let mut owner = question.name().clone();
        let mut zone = zone;
        while let Some(alias) = &zone.alias {
            let target = Name::from_ascii(format!("{alias}.")).ok()?;
            answer.add_answer(record(&owner, RData::CNAME(CNAME(target.clone()))));
            owner = target;
            zone = self.zones.iter().find(|other| other.name == *alias)?.clone();
        }
        let kind = question.query_type();
        let asked = self.asked.entry((zone.name, kind)).or_default();
        let turn = (*asked).min(zone.answers.len().saturating_sub(1));
        *asked += 1;
        for address in zone.answers.get(turn).into_iter().flatten() {
            let data = match (kind, address) {
                (RecordType::A, IpAddr::V4(address)) => RData::A(A(*address)),
                (RecordType::AAAA, IpAddr::V6(address)) => RData::AAAA(AAAA(*address)),
                _ => continue,
            };
            answer.add_answer(record(&owner, data));
        }
        Some(answer)
    }
}

/// To be used once: a cache that keeps it longer has only itself to blame.
fn record(owner: &Name, data: RData) -> Record {
    Record::from_rdata(owner.clone(), 0, data)
}

fn plain(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}
