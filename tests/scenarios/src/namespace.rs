//! A host's network of its own: a namespace of the kernel with two links to this one, of which that to the database can be cut as a cable is. Needs
//! root, and `ip` (the package `iproute2`).

use std::{net::Ipv4Addr, process::Command};

use anyhow::{Context as _, Result, ensure};

/// Where everybody finds the systems at both ends, whatever namespace they are in.
pub(crate) const SYSTEMS: Ipv4Addr = Ipv4Addr::new(10, 215, 0, 1);
/// The interface that has that address.
const SYSTEMS_LINK: &str = "stk-systems";

/// The address of the systems, for as long as this is.
#[derive(Debug)]
pub(crate) struct Systems;

/// A namespace, for as long as this is.
#[derive(Debug)]
pub(crate) struct Namespace {
    number: u8,
}

fn ip(arguments: &str) -> Result<()> {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .context("there is no `ip`; install the package iproute2")?;
    ensure!(
        output.status.success(),
        "`ip {arguments}` failed (it takes root): {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

impl Systems {
    pub(crate) fn make() -> Result<Self> {
        // What a run that was killed has left.
        let _ = ip(&format!("link del {SYSTEMS_LINK}"));
        // A bridge without ports: not every kernel has dummy devices.
        ip(&format!("link add {SYSTEMS_LINK} type bridge"))?;
        let made = Self;
        ip(&format!("addr add {SYSTEMS}/32 dev {SYSTEMS_LINK}"))?;
        ip(&format!("link set {SYSTEMS_LINK} up"))?;
        Ok(made)
    }
}

impl Drop for Systems {
    fn drop(&mut self) {
        // There is nobody to tell.
        let _ = ip(&format!("link del {SYSTEMS_LINK}"));
    }
}

impl Namespace {
    /// Makes one, with its links up.
    pub(crate) fn make(number: u8) -> Result<Self> {
        let made = Self { number };
        made.remove();
        let name = made.name();
        ip(&format!("netns add {name}"))?;
        for (kind, network) in [("db", 213), ("up", 214)] {
            let (outside, inside) = (format!("stk-{kind}{number}"), format!("stk-{kind}{number}i"));
            ip(&format!("link add {outside} type veth peer name {inside}"))?;
            ip(&format!("link set {inside} netns {name}"))?;
            ip(&format!("addr add 10.{network}.{number}.1/30 dev {outside}"))?;
            ip(&format!("link set {outside} up"))?;
            ip(&format!(
                "-n {name} addr add 10.{network}.{number}.2/30 dev {inside}"
            ))?;
            ip(&format!("-n {name} link set {inside} up"))?;
        }
        ip(&format!("-n {name} link set lo up"))?;
        ip(&format!("-n {name} route add {SYSTEMS}/32 via 10.214.{number}.1"))?;
        Ok(made)
    }

    pub(crate) fn name(&self) -> String {
        format!("stecker-{}", self.number)
    }

    /// Where the wire to the database begins.
    pub(crate) fn before_database(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.number, 1)
    }

    /// Where a host in it can be called from outside.
    pub(crate) fn inside(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 214, self.number, 2)
    }

    /// Takes the link to the database down: what is sent is lost, and nobody is told.
    pub(crate) fn cut(&self) -> Result<()> {
        ip(&format!("link set stk-db{} down", self.number))
    }

    /// Takes it up again.
    pub(crate) fn heal(&self) -> Result<()> {
        ip(&format!("link set stk-db{} up", self.number))
    }

    fn remove(&self) {
        // What is not there need not go; links go with the namespace that one of their ends is in.
        let _ = ip(&format!("link del stk-db{}", self.number));
        let _ = ip(&format!("link del stk-up{}", self.number));
        let _ = ip(&format!("netns del {}", self.name()));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.remove();
    }
}
