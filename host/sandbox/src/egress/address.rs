//! Which IP addresses requests may be sent to.
//!
//! Pure. Addresses of the public internet are free; all others (this machine, its network, its cloud's metadata service) take a carve-out
//! by the operator, because what listens there trusts whoever can reach it. An address that only wraps another one is judged as the one
//! that the traffic ends at. What IPv6 has not handed out as global unicast is not public, so that a new special range is refused before
//! this table knows it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Why an address is not public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Special {
    kind: &'static str,
    source: &'static str,
    /// Hands out credentials of the machine to whoever asks: a range that happens to hold it does not open it.
    metadata: bool,
}

const fn special(kind: &'static str, source: &'static str) -> Special {
    Special {
        kind,
        source,
        metadata: false,
    }
}

const fn metadata(source: &'static str) -> Special {
    Special {
        kind: "a cloud's metadata service",
        source,
        metadata: true,
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6(first: [u16; 3], length: u8) -> Ipv6Net {
    let [a, b, c] = first;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), length)
}

/// The first that fits counts, so what is narrow stands before what is wide.
const V4: [(Ipv4Net, Special); 22] = [
    (
        v4(169, 254, 169, 254, 32),
        metadata("AWS, Azure, Google Cloud, OpenStack and others"),
    ),
    (v4(169, 254, 170, 2, 32), metadata("AWS ECS, task credentials")),
    (v4(169, 254, 170, 23, 32), metadata("AWS EKS, pod identity")),
    (
        v4(168, 63, 129, 16, 32),
        metadata("Azure, virtual public IP of the host"),
    ),
    (v4(100, 100, 100, 200, 32), metadata("Alibaba Cloud")),
    (
        v4(0, 0, 0, 0, 32),
        special("unspecified: this machine", "RFC 1122, section 3.2.1.3"),
    ),
    (
        v4(0, 0, 0, 0, 8),
        special("this network", "RFC 1122, section 3.2.1.3"),
    ),
    (v4(10, 0, 0, 0, 8), special("private", "RFC 1918")),
    (v4(100, 64, 0, 0, 10), special("carrier-grade NAT", "RFC 6598")),
    (
        v4(127, 0, 0, 0, 8),
        special("loopback", "RFC 1122, section 3.2.1.3"),
    ),
    (v4(169, 254, 0, 0, 16), special("link-local", "RFC 3927")),
    (v4(172, 16, 0, 0, 12), special("private", "RFC 1918")),
    (
        v4(192, 0, 0, 0, 24),
        special("for protocol assignments", "RFC 6890"),
    ),
    (v4(192, 0, 2, 0, 24), special("for documentation", "RFC 5737")),
    (v4(192, 88, 99, 0, 24), special("a 6to4 relay", "RFC 7526")),
    (v4(192, 168, 0, 0, 16), special("private", "RFC 1918")),
    (v4(198, 18, 0, 0, 15), special("for benchmarks", "RFC 2544")),
    (v4(198, 51, 100, 0, 24), special("for documentation", "RFC 5737")),
    (v4(203, 0, 113, 0, 24), special("for documentation", "RFC 5737")),
    (v4(224, 0, 0, 0, 4), special("multicast", "RFC 5771")),
    (v4(255, 255, 255, 255, 32), special("broadcast", "RFC 919")),
    (v4(240, 0, 0, 0, 4), special("reserved", "RFC 1112, section 4")),
];

const V6: [(Ipv6Net, Special); 15] = [
    (
        Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), 128),
        metadata("AWS"),
    ),
    (
        Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23), 128),
        metadata("AWS EKS, pod identity"),
    ),
    (
        Ipv6Net::new_assert(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128),
        metadata("Google Cloud"),
    ),
    (
        Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128),
        special("unspecified: this machine", "RFC 4291, section 2.5.2"),
    ),
    (
        Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128),
        special("loopback", "RFC 4291, section 2.5.3"),
    ),
    (
        v6([0, 0, 0], 96),
        special("IPv4-compatible, long withdrawn", "RFC 4291, section 2.5.5.1"),
    ),
    (
        v6([0x64, 0xff9b, 1], 48),
        special("translated into IPv4 by this network's own rules", "RFC 8215"),
    ),
    (v6([0x2001, 0, 0], 32), special("a Teredo tunnel", "RFC 4380")),
    (
        v6([0x2001, 0, 0], 23),
        special("for protocol assignments", "RFC 2928"),
    ),
    (
        v6([0x2001, 0xdb8, 0], 32),
        special("for documentation", "RFC 3849"),
    ),
    (v6([0x3fff, 0, 0], 20), special("for documentation", "RFC 9637")),
    (v6([0xfc00, 0, 0], 7), special("unique local", "RFC 4193")),
    (
        v6([0xfe80, 0, 0], 10),
        special("link-local", "RFC 4291, section 2.5.6"),
    ),
    (v6([0xfec0, 0, 0], 10), special("site-local", "RFC 3879")),
    (
        v6([0xff00, 0, 0], 8),
        special("multicast", "RFC 4291, section 2.7"),
    ),
];

/// All of IPv6 that is public is in here (IANA, "Internet Protocol Version 6 Address Space").
const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0], 3);
const NOT_GLOBAL: Special = special("not global unicast", "RFC 4291, section 2.4");

/// Where traffic to the address ends: IPv4-mapped (RFC 4291, section 2.5.5.2), NAT64 (RFC 6052, the well-known prefix) and 6to4
/// (RFC 3056) carry an IPv4 address.
pub(super) fn endpoint(address: IpAddr) -> IpAddr {
    let IpAddr::V6(wrapper) = address else {
        return address;
    };
    let two = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::from([a, b, c, d])
    };
    match wrapper.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => two(high, low),
        _ => address,
    }
}

/// Why an address that wraps no other is not public; none: it is.
fn why_special(address: IpAddr) -> Option<Special> {
    match address {
        IpAddr::V4(address) => V4
            .iter()
            .find(|(range, _)| range.contains(&address))
            .map(|(_, special)| *special),
        IpAddr::V6(address) => V6
            .iter()
            .find(|(range, _)| range.contains(&address))
            .map(|(_, special)| *special)
            .or_else(|| (!GLOBAL_UNICAST.contains(&address)).then_some(NOT_GLOBAL)),
    }
}

/// An address that a request may not be sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused {
    /// As it was written or resolved.
    pub(super) address: IpAddr,
    /// Who did not carve it out: `grant` or `ceiling`.
    pub(super) layer: &'static str,
    why: Special,
}

impl Refused {
    /// What a carve-out has to name.
    pub(super) fn endpoint(&self) -> IpAddr {
        endpoint(self.address)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, which ", self.address)?;
        let end = self.endpoint();
        if end != self.address {
            write!(f, "leads to {end}, which ")?;
        }
        write!(f, "is {} ({})", self.why.kind, self.why.source)
    }
}

/// The addresses that are open although they are not public: those of the grants that allow the request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct CarveOuts {
    /// The operator's.
    pub(super) grant: Vec<IpNet>,
    /// The tenant's ceiling, if there is one: it has to carve out the address as well.
    pub(super) ceiling: Option<Vec<IpNet>>,
}

impl CarveOuts {
    pub(super) fn admit(&self, address: IpAddr) -> Result<(), Refused> {
        let end = endpoint(address);
        let Some(why) = why_special(end) else {
            return Ok(());
        };
        let open = |ranges: &[IpNet]| {
            ranges.iter().any(|range| {
                range.contains(&end) && (!why.metadata || range.prefix_len() == range.max_prefix_len())
            })
        };
        let refused = |layer| Err(Refused { address, layer, why });
        if !open(&self.grant) {
            return refused("grant");
        }
        match &self.ceiling {
            Some(ceiling) if !open(ceiling) => refused("ceiling"),
            _ => Ok(()),
        }
    }
}

/// What `localhost` may resolve to (RFC 6761, section 6.3).
pub(super) const LOOPBACK: [IpNet; 2] = [
    IpNet::V4(v4(127, 0, 0, 0, 8)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(carve_outs: &CarveOuts, address: &str) -> Result<(), String> {
        carve_outs
            .admit(address.parse().unwrap())
            .map_err(|refused| refused.to_string())
    }

    #[test]
    fn only_the_public_internet_is_free() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00::1",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
        ] {
            assert_eq!(admitted(&CarveOuts::default(), address), Ok(()), "{address}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        for (address, why) in [
            ("0.0.0.0", "unspecified"),
            ("0.1.2.3", "this network"),
            ("10.255.255.255", "private (RFC 1918)"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.168.0.1", "private"),
            ("100.64.0.1", "carrier-grade"),
            ("100.127.255.255", "carrier-grade"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.255", "loopback"),
            ("169.254.0.1", "link-local"),
            ("192.0.0.192", "protocol assignments"),
            ("192.0.2.7", "documentation"),
            ("192.88.99.1", "6to4 relay"),
            ("198.18.0.1", "benchmarks"),
            ("198.19.255.255", "benchmarks"),
            ("198.51.100.1", "documentation"),
            ("203.0.113.1", "documentation"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.254", "reserved"),
            ("255.255.255.255", "broadcast"),
            ("169.254.169.254", "metadata"),
            ("169.254.170.2", "metadata"),
            ("168.63.129.16", "metadata"),
            ("100.100.100.200", "metadata"),
            ("fd00:ec2::254", "metadata"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::7f00:1", "IPv4-compatible"),
            ("::ffff:0:7f00:1", "not global unicast"),
            ("100::1", "not global unicast"),
            ("1fff:ffff::1", "not global unicast"),
            ("4000::1", "not global unicast"),
            ("5f00::1", "not global unicast"),
            ("2001::1", "Teredo"),
            ("2001:20::1", "protocol assignments"),
            ("2001:db8::1", "documentation"),
            ("3fff::1", "documentation"),
            ("fc00::1", "unique local"),
            ("fdff::1", "unique local"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("fec0::1", "site-local"),
            ("ff02::1", "multicast"),
            ("64:ff9b:1::7f00:1", "this network's own rules"),
            ("::ffff:127.0.0.1", "leads to 127.0.0.1, which is loopback"),
            (
                "::ffff:169.254.169.254",
                "leads to 169.254.169.254, which is a cloud's metadata",
            ),
            ("64:ff9b::10.1.2.3", "leads to 10.1.2.3, which is private"),
            ("64:ff9b::7f00:1", "leads to 127.0.0.1, which is loopback"),
            ("2002:7f00:1::", "leads to 127.0.0.1, which is loopback"),
            ("2002:a9fe:a9fe::1", "leads to 169.254.169.254"),
        ] {
            let refused = admitted(&CarveOuts::default(), address).unwrap_err();
            assert!(refused.contains(why), "{address}: {refused}");
        }
    }

    fn ranges(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn carve_outs_open_what_they_name() {
        let open = |grant: &[&str], ceiling: Option<&[&str]>, address: &str| {
            let carve_outs = CarveOuts {
                grant: ranges(grant),
                ceiling: ceiling.map(ranges),
            };
            carve_outs
                .admit(address.parse().unwrap())
                .map_err(|refused| refused.layer)
        };
        assert_eq!(open(&["10.1.2.3/32"], None, "10.1.2.3"), Ok(()));
        assert_eq!(open(&["10.1.2.3/32"], None, "10.1.2.4"), Err("grant"));
        assert_eq!(open(&["10.1.2.0/24"], None, "10.1.2.4"), Ok(()));
        assert_eq!(open(&["10.1.2.0/24"], None, "64:ff9b::10.1.2.4"), Ok(()));
        assert_eq!(open(&["fd00::/8"], None, "fd00::7"), Ok(()));
        assert_eq!(open(&["10.0.0.0/8"], Some(&["10.1.0.0/16"]), "10.1.2.3"), Ok(()));
        assert_eq!(
            open(&["10.0.0.0/8"], Some(&["10.1.0.0/16"]), "10.2.2.3"),
            Err("ceiling")
        );
        assert_eq!(open(&["10.0.0.0/8"], Some(&[]), "10.2.2.3"), Err("ceiling"));
        assert_eq!(open(&[], Some(&["10.0.0.0/8"]), "10.2.2.3"), Err("grant"));
        assert_eq!(open(&[], Some(&[]), "1.1.1.1"), Ok(()));
    }

    #[test]
    fn a_range_never_opens_a_metadata_service() {
        for (range, exact, address) in [
            ("169.254.0.0/16", "169.254.169.254/32", "169.254.169.254"),
            ("0.0.0.0/0", "168.63.129.16/32", "::ffff:168.63.129.16"),
            ("fd00::/8", "fd00:ec2::254/128", "fd00:ec2::254"),
        ] {
            let with = |texts: &[&str]| CarveOuts {
                grant: ranges(texts),
                ceiling: None,
            };
            assert!(admitted(&with(&[range]), address).is_err(), "{range}");
            assert_eq!(admitted(&with(&[range, exact]), address), Ok(()), "{exact}");
        }
    }
}
