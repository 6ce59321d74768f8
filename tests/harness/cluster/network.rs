//! `Network`: each daemon and mount at an address of its own, so that links between them can be cut.
//!
//! A network namespace for each, all on one bridge. A link is cut by a route that swallows what is
//! sent: one way, if only one side has it. Dropped means removed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::process::Command;

use anyhow::Context;
use rustix::fs::{FlockOperation, flock};

use super::run;

#[derive(Debug)]
pub struct Network {
    /// Tells networks of this machine apart; also a part of their addresses.
    id: u8,
    members: RefCell<BTreeMap<String, u8>>,
    /// As long as it is held, nobody else on this machine uses the number.
    _lock: File,
}

/// A number that no other run has now; one that ended badly may have left its devices.
fn free_id() -> anyhow::Result<(u8, File)> {
    for id in 10..=250 {
        let path = std::env::temp_dir().join(format!("grovefs-test-net-{id}.lock"));
        let lock = File::options().create(true).append(true).open(path)?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return Ok((id, lock));
        }
    }
    anyhow::bail!("every network number is taken")
}

impl Network {
    /// # Errors
    /// Not root, or no network namespaces.
    pub fn new() -> anyhow::Result<Self> {
        let (id, lock) = free_id()?;
        let network = Self { id, members: RefCell::default(), _lock: lock };
        network.remove();
        let bridge = network.bridge();
        ip(&["link", "add", &bridge, "type", "bridge"])?;
        ip(&["addr", "add", &format!("{}/24", network.at(254)), "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])?;
        Ok(network)
    }

    fn bridge(&self) -> String {
        format!("gv{}", self.id)
    }

    fn at(&self, host: u8) -> String {
        format!("10.98.{}.{host}", self.id)
    }

    fn namespace(&self, host: u8) -> String {
        format!("gv{}-{host}", self.id)
    }

    /// The address of a member, which is made if it is new.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn address(&self, name: &str) -> anyhow::Result<String> {
        if let Some(host) = self.members.borrow().get(name) {
            return Ok(self.at(*host));
        }
        let host = u8::try_from(self.members.borrow().len() + 1).context("few members")?;
        let (namespace, port) = (self.namespace(host), format!("gv{}p{host}", self.id));
        ip(&["netns", "add", &namespace])?;
        ip(&["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &namespace])?;
        ip(&["link", "set", &port, "master", &self.bridge()])?;
        ip(&["link", "set", &port, "up"])?;
        let address = format!("{}/24", self.at(host));
        ip(&["-n", &namespace, "addr", "add", &address, "dev", "eth0"])?;
        for device in ["eth0", "lo"] {
            ip(&["-n", &namespace, "link", "set", device, "up"])?;
        }
        self.members.borrow_mut().insert(name.to_owned(), host);
        Ok(self.at(host))
    }

    /// What runs a program as a member.
    ///
    /// # Errors
    /// As [`Self::address`].
    pub fn enter(&self, name: &str, program: &std::path::Path) -> anyhow::Result<Command> {
        self.address(name)?;
        let host = self.members.borrow()[name];
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.namespace(host))).arg(program);
        Ok(command)
    }

    /// Nothing that one sends reaches the other any more.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn cut(&self, from: &str, to: &str) -> anyhow::Result<()> {
        self.route("replace", from, to)
    }

    /// # Errors
    /// What `ip` says.
    pub fn heal(&self, from: &str, to: &str) -> anyhow::Result<()> {
        self.route("del", from, to)
    }

    /// Whatever is cut is whole again.
    pub fn heal_all(&self) {
        let names: Vec<String> = self.members.borrow().keys().cloned().collect();
        for from in &names {
            for to in &names {
                // Most links are not cut.
                self.heal(from, to).ok();
            }
        }
    }

    fn route(&self, what: &str, from: &str, to: &str) -> anyhow::Result<()> {
        let to = format!("{}/32", self.address(to)?);
        self.address(from)?;
        let namespace = self.namespace(self.members.borrow()[from]);
        ip(&["-n", &namespace, "route", what, "blackhole", &to])
    }

    fn remove(&self) {
        for host in 1..=u8::try_from(self.members.borrow().len()).unwrap_or(0).max(12) {
            // What is not there need not be removed.
            ip(&["netns", "del", &self.namespace(host)]).ok();
        }
        ip(&["link", "del", &self.bridge()]).ok();
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.remove();
    }
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    run(Command::new("ip").args(arguments)).map(drop)
}
