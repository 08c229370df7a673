//! Which of several hosts a flow belongs to, without anybody who says so.
//!
//! Every host ranks all hosts that are alive for every flow, by a hash that all of them compute alike (rendezvous hashing, Thaler and
//! Ravishankar 1998): flows spread evenly, and when a host comes or goes, only its own flows move. Leases make sure that a flow has one host,
//! also while hosts disagree about who is alive; so this decides about load and never about right.

/// The host that a flow belongs to; none if there is no host.
pub(crate) fn home<'n>(nodes: &'n [String], tenant: &str, flow: &str) -> Option<&'n str> {
    nodes
        .iter()
        .max_by_key(|node| (rank(node, tenant, flow), node.as_str()))
        .map(String::as_str)
}

/// FNV-1a, then the finalizer of `MurmurHash3`, which spreads what differs only at the end. Fixed for ever: hosts of different versions work
/// side by side.
fn rank(node: &str, tenant: &str, flow: &str) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in [node, tenant, flow] {
        // A byte that is in no name, so that no two triples are one text.
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn nodes(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn homes(nodes: &[String]) -> Vec<&str> {
        (0..3_000)
            .map(|n| home(nodes, &format!("tenant-{}", n % 50), &format!("flow-{n}")).unwrap())
            .collect()
    }

    #[test]
    fn flows_spread_evenly() {
        let nodes = nodes(&["one", "two", "three"]);
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for home in homes(&nodes) {
            *counts.entry(home).or_default() += 1;
        }
        for (node, count) in counts {
            assert!((900..1_100).contains(&count), "{node} has {count} of 3,000");
        }
    }

    #[test]
    fn only_the_flows_of_a_host_that_is_gone_move() {
        let (before, after) = (nodes(&["one", "two", "three"]), nodes(&["one", "three"]));
        for (was, is) in homes(&before).into_iter().zip(homes(&after)) {
            assert!(was == is || was == "two");
        }
    }

    #[test]
    fn hosts_agree_whatever_order_they_see() {
        let (one, other) = (nodes(&["b", "a"]), nodes(&["a", "b"]));
        assert_eq!(homes(&one), homes(&other));
        assert_eq!(home(&[], "tenant", "flow"), None);
        // Changing this moves every flow of a cluster in which versions are mixed.
        assert_eq!(rank("a", "b", "c"), rank("a", "b", "c"));
        assert_eq!(
            home(&one, "default", "orders-to-erp"),
            Some(home(&other, "default", "orders-to-erp").unwrap())
        );
    }
}
