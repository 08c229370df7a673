//! Names that resolve to whatever the test's own name server says, differently each time it is asked.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::atomic::{AtomicUsize, Ordering},
};

use hickory_resolver::proto::{
    op::{Message, OpCode},
    rr::{RData, Record, RecordType, rdata},
};
use tokio::net::UdpSocket;

use super::*;

/// Answers the nth question for an address with the nth list, the last one again and again, and never for longer than the moment.
struct NameServer {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

async fn name_server(answers: Vec<Vec<IpAddr>>) -> NameServer {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut packet = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut packet).await {
            let question = Message::from_vec(&packet[..length]).unwrap();
            let query = question.queries[0].clone();
            let mut answer = Message::response(question.metadata.id, OpCode::Query);
            answer.metadata.recursion_available = true;
            answer.add_query(query.clone());
            if query.query_type() == RecordType::A {
                let turn = count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
                for address in &answers[turn] {
                    let data = match address {
                        IpAddr::V4(address) => RData::A(rdata::A(*address)),
                        IpAddr::V6(address) => RData::AAAA(rdata::AAAA(*address)),
                    };
                    answer.add_answer(Record::from_rdata(query.name().clone(), 0, data));
                }
            }
            socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
        }
    });
    NameServer { address, asked }
}

const HERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A server on 127.0.0.2 that serves one request per connection (or keeps them), and a canary on the same port of 127.0.0.1: the port,
/// and how many connections came to each.
async fn two_hosts(keep_alive: bool) -> (u16, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let (server, canary) = loop {
        let server = TcpListener::bind((HERE, 0)).await.unwrap();
        let port = server.local_addr().unwrap().port();
        // Somebody else may have the port there.
        if let Ok(canary) = TcpListener::bind(("127.0.0.1", port)).await {
            break (server, canary);
        }
    };
    let port = server.local_addr().unwrap().port();
    let (reached, alarmed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (reached_here, alarmed_here) = (Arc::clone(&reached), Arc::clone(&alarmed));
    tokio::spawn(async move {
        while canary.accept().await.is_ok() {
            alarmed_here.fetch_add(1, Ordering::SeqCst);
        }
    });
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = server.accept().await {
            reached_here.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                loop {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(socket.read_u8().await?);
                    }
                    let connection = if keep_alive { "keep-alive" } else { "close" };
                    let host = String::from_utf8_lossy(&head).to_ascii_lowercase();
                    let host = host.split("host: ").nth(1).unwrap_or_default();
                    let host = host.lines().next().unwrap_or_default().to_owned();
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\nconnection: {connection}\r\ncontent-length: {}\r\n\r\n{host}",
                        host.len()
                    );
                    socket.write_all(answer.as_bytes()).await?;
                    if !keep_alive {
                        return socket.shutdown().await;
                    }
                }
            });
        }
    });
    (port, reached, alarmed)
}

/// A connection to `shop.example` that may go to 127.0.0.2, resolved by the given name server only.
fn connection(port: u16, dns: &NameServer, addresses: &[&str]) -> Egress {
    let address = format!("shop.example:{port}");
    let mut binding = binding(&address, true);
    binding.grants.http[0].addresses = addresses.iter().map(|text| (*text).to_owned()).collect();
    bound(&address, &binding, &Network::new(&[dns.address]).unwrap())
}

#[tokio::test]
async fn a_name_that_moves_into_the_machine_is_not_followed() {
    let (port, reached, alarmed) = two_hosts(false).await;
    let dns = name_server(vec![vec![HERE.into()], vec![Ipv4Addr::LOCALHOST.into()]]).await;
    let egress = connection(port, &dns, &["127.0.0.2"]);
    let ask = || get(format!("http://shop.example:{port}/"));
    let response = send(&egress, ask()).await.unwrap();
    assert_eq!(
        String::from_utf8(response.body).unwrap(),
        format!("shop.example:{port}"),
        "the host is named as the guest named it"
    );
    for _ in 0..3 {
        match send(&egress, ask()).await {
            Err(Failure::Denied(denial)) => {
                assert_eq!(
                    (denial.rule.as_str(), denial.layer.as_str()),
                    ("http.address", "grant")
                );
                assert!(
                    denial.asked.contains("127.0.0.1, which is loopback"),
                    "{}",
                    denial.asked
                );
                assert!(denial.smallest_grant.contains("addresses = [\"127.0.0.1\"]"));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(reached.load(Ordering::SeqCst), 1);
    assert_eq!(alarmed.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn one_forbidden_address_among_good_ones_refuses_them_all() {
    let (port, reached, alarmed) = two_hosts(false).await;
    for bad in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0"] {
        let bad: IpAddr = bad.parse().unwrap();
        for answer in [vec![HERE.into(), bad], vec![bad, HERE.into()]] {
            let dns = name_server(vec![answer]).await;
            let egress = connection(port, &dns, &["127.0.0.2"]);
            let answer = send(&egress, get(format!("http://shop.example:{port}/"))).await;
            assert_eq!(denied_by(answer), "http.address", "{bad}");
        }
    }
    assert_eq!(reached.load(Ordering::SeqCst), 0);
    assert_eq!(alarmed.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_connection_is_resolved_once() {
    let (port, reached, alarmed) = two_hosts(true).await;
    let dns = name_server(vec![vec![HERE.into()], vec![Ipv4Addr::LOCALHOST.into()]]).await;
    let egress = connection(port, &dns, &["127.0.0.2"]);
    for _ in 0..5 {
        let response = send(&egress, get(format!("http://shop.example:{port}/"))).await;
        assert_eq!(response.unwrap().status, 200);
    }
    assert_eq!(dns.asked.load(Ordering::SeqCst), 1);
    assert_eq!(reached.load(Ordering::SeqCst), 1);
    assert_eq!(alarmed.load(Ordering::SeqCst), 0);
}

/// A connection that one grant opened into the network must not carry what another allows only to the public internet.
#[tokio::test]
async fn connections_are_not_shared_between_grants() {
    let (port, reached, _) = two_hosts(true).await;
    let dns = name_server(vec![vec![HERE.into()]]).await;
    let address = format!("shop.example:{port}");
    let mut binding = binding(&address, true);
    binding.grants.http[0].addresses = vec!["127.0.0.2".to_owned()];
    binding.grants.http[0].methods = vec!["GET".to_owned()];
    let mut public = binding.grants.http[0].clone();
    public.addresses.clear();
    public.methods = vec!["POST".to_owned()];
    binding.grants.http.push(public);
    let egress = bound(&address, &binding, &Network::new(&[dns.address]).unwrap());
    let url = format!("http://shop.example:{port}/");
    assert_eq!(send(&egress, get(url.clone())).await.unwrap().status, 200);
    let mut post = get(url);
    post.method = "POST".to_owned();
    assert_eq!(denied_by(send(&egress, post).await), "http.address");
    assert_eq!(reached.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_name_without_an_address_was_not_sent_to() {
    let dns = name_server(vec![Vec::new()]).await;
    let egress = connection(80, &dns, &[]);
    let error = error(send(&egress, get("http://shop.example:80/".to_owned())).await);
    assert_eq!(
        (error.kind(), error.detail("sent")),
        (ErrorCode::Transient, Some("no")),
        "{error}"
    );
    assert!(error.message.contains("has no address"), "{error}");
}

#[tokio::test]
async fn what_the_host_sends_itself_goes_by_the_same_addresses() {
    let (port, reached, alarmed) = two_hosts(false).await;
    let dns = name_server(vec![vec![HERE.into()]]).await;
    let poster = Network::new(&[dns.address]).unwrap().poster();
    let receiver = |addresses: &[&str]| HttpGrant {
        host: format!("hooks.example:{port}"),
        schemes: vec!["http".to_owned()],
        addresses: addresses.iter().map(|range| (*range).to_owned()).collect(),
        ..HttpGrant::default()
    };
    let tenant = Name::default_tenant();
    let url = format!("http://hooks.example:{port}/hook");
    let within = Duration::from_secs(10);
    let closed = [receiver(&[])];
    let answer = poster
        .post(&tenant, (&url, &closed), &[], String::new(), within)
        .await;
    let Err(post::PostError::Refused(why)) = answer else {
        panic!("{answer:?}");
    };
    assert!(
        why.contains("127.0.0.2") && why.contains("[[receivers]]"),
        "{why}"
    );
    assert_eq!(reached.load(Ordering::SeqCst), 0, "nothing was sent");
    let open = [receiver(&["127.0.0.2/32"])];
    let answer = poster
        .post(&tenant, (&url, &open), &[], String::new(), within)
        .await;
    assert_eq!(answer.unwrap().status, 200);
    assert_eq!(
        (reached.load(Ordering::SeqCst), alarmed.load(Ordering::SeqCst)),
        (1, 0)
    );
}
