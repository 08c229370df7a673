//! From names to addresses: resolved once per connection, every address checked, and only checked addresses connected to.
//!
//! The check sits in the hook that the client connects through, not before it: whatever a name server answers the second time, the
//! answer that was judged is the one that is used. One forbidden address refuses the whole answer: it is either a mistake or an attack, and
//! trying the next address would hide both.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::{CarveOuts, Refused};

/// Of one question to one server.
const QUERY_TIME: Duration = Duration::from_secs(3);
const CACHED_ANSWERS: u64 = 1_024;
/// However long an answer says that it holds: who moves a system should not have to restart the host.
const MAX_TTL: Duration = Duration::from_secs(300);

/// Who is asked for addresses. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Resolver {
    /// The operating system, with its hosts file.
    System,
    /// These name servers only. Answers are kept for as long as they hold, and checked again for every connection.
    Servers(Arc<TokioResolver>),
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "System",
            Self::Servers(_) => "Servers(…)",
        })
    }
}

impl Resolver {
    /// Without servers: the system's.
    pub(crate) fn new(servers: &[SocketAddr]) -> Result<Self, String> {
        if servers.is_empty() {
            return Ok(Self::System);
        }
        let servers = servers.iter().map(|server| {
            let on_its_port = |mut connection: ConnectionConfig| {
                connection.port = server.port();
                connection
            };
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(on_its_port);
            NameServerConfig::new(server.ip(), true, connections.into())
        });
        // No domain and no search list: a name is asked for as it is written.
        let config = ResolverConfig::from_name_servers(servers.collect());
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        options.use_hosts_file = ResolveHosts::Never;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.timeout = QUERY_TIME;
        options.cache_size = CACHED_ANSWERS;
        options.positive_max_ttl = Some(MAX_TTL);
        options.negative_max_ttl = Some(MAX_TTL);
        builder
            .build()
            .map(|resolver| Self::Servers(Arc::new(resolver)))
            .map_err(|error| error.to_string())
    }

    async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, Unresolved> {
        let unresolved = |why: String| Unresolved {
            host: host.to_owned(),
            why,
        };
        match self {
            Self::System => {
                let found = tokio::net::lookup_host((host, 0))
                    .await
                    .map_err(|error| unresolved(error.to_string()))?;
                Ok(found.map(|address| address.ip()).collect())
            }
            Self::Servers(resolver) => {
                // With the dot of the root, it is complete.
                let found = resolver
                    .lookup_ip(format!("{host}."))
                    .await
                    .map_err(|error| unresolved(error.to_string()))?;
                Ok(found.iter().collect())
            }
        }
    }
}

/// A name without an address.
#[derive(Debug, thiserror::Error)]
#[error("the name `{host}` has no address: {why}")]
pub(super) struct Unresolved {
    host: String,
    why: String,
}

/// A name with addresses that requests may not be sent to. The client carries it back to the caller.
#[derive(Debug, thiserror::Error)]
#[error("the name resolves to addresses that are not open to the connection")]
pub(super) struct ForbiddenAddresses(pub(super) Vec<Refused>);

/// All of the addresses, or why none of them is used.
fn check(addresses: Vec<IpAddr>, carve_outs: &CarveOuts) -> Result<Vec<IpAddr>, ForbiddenAddresses> {
    let admitted = |address: &IpAddr| carve_outs.admit(*address).err();
    let refused: Vec<Refused> = addresses.iter().filter_map(admitted).collect();
    if refused.is_empty() {
        Ok(addresses)
    } else {
        Err(ForbiddenAddresses(refused))
    }
}

/// What the client of one origin resolves names with.
pub(super) struct Guarded {
    pub(super) resolver: Resolver,
    pub(super) carve_outs: Arc<CarveOuts>,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolver, carve_outs) = (self.resolver.clone(), Arc::clone(&self.carve_outs));
        Box::pin(async move {
            let found = resolver.lookup(name.as_str()).await?;
            let checked = check(found, &carve_outs)?;
            // The client puts in the port.
            let addresses: Addrs = Box::new(checked.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_forbidden_address_refuses_them_all() {
        let carve_outs = CarveOuts {
            grant: vec!["10.0.0.0/8".parse().unwrap()],
            ceiling: None,
        };
        let addresses =
            |texts: &[&str]| -> Vec<IpAddr> { texts.iter().map(|text| text.parse().unwrap()).collect() };
        let good = addresses(&["1.1.1.1", "10.1.2.3", "2606:4700::1"]);
        assert_eq!(check(good.clone(), &carve_outs).unwrap(), good);
        let bad = addresses(&["1.1.1.1", "127.0.0.1", "10.1.2.3", "fe80::1"]);
        let ForbiddenAddresses(refused) = check(bad, &carve_outs).unwrap_err();
        let refused: Vec<IpAddr> = refused.iter().map(|refused| refused.address).collect();
        assert_eq!(refused, addresses(&["127.0.0.1", "fe80::1"]));
    }
}
