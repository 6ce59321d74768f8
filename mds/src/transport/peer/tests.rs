use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use common::id::{ClusterId, Ino, MapEpoch};
use common::mds_map::Switch;
use common::name::NameHashKey;
use common::wire::hello::Identity;
use mds_core::Input;
use mds_core::message::replica::ReplicaMsg;
use quinn::Connection;
use tempfile::TempDir;
use transport::test_authority::TestAuthority;
use transport::{Role, server_endpoint};

use super::*;
use crate::inbox::{Arrival, inbox};
use crate::kill_points::KillPoints;
use crate::outlet::{Clients, Outlet, Questions};
use crate::purge::Purger;
use crate::readers::Readers;
use crate::store::Store;
use crate::syncer::{Syncer, Written};
use crate::transport::listener::{Reception, receive};
use crate::transport::monitor::Wishes;

const CLUSTER: ClusterId = ClusterId(7);
const PATIENCE: Duration = Duration::from_secs(20);

/// A rank without a core: what arrives for it can be seen, its connections can be broken.
struct Daemon {
    reception: Arc<Reception>,
    arrivals: mpsc::Receiver<Arrival>,
    endpoint: Endpoint,
    connections: Arc<Mutex<Vec<Connection>>>,
    _folder: TempDir,
}

impl Daemon {
    fn new(authority: &TestAuthority, me: Rank, incarnation: Incarnation) -> Self {
        let credentials = authority.issue(&format!("mds{me}"), Role::Mds).load().unwrap();
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let endpoint = server_endpoint(&credentials, listen).unwrap();
        let folder = TempDir::new().unwrap();
        let store = Arc::new(Store::create(folder.path()).unwrap());
        let (inbox, arrivals) = inbox();
        let identity = Identity::Mds { rank: me, incarnation, received: 0 };
        let hello = Hello::new(CLUSTER, identity, None);
        let outlet = Outlet {
            clients: Clients::default(),
            questions: Questions::default(),
            peers: Peers::new(hello, me, endpoint.clone()),
            readers: Readers::start(&store, &inbox).unwrap(),
            purger: Purger::start(None, inbox.clone()).unwrap(),
            syncer: Syncer::start(store, Written::default(), inbox.clone()).unwrap(),
            wishes: Wishes::new().0,
            kill_points: KillPoints::default(),
        };
        let map_epoch = Arc::new(AtomicU64::new(1));
        let who = (CLUSTER, me, incarnation);
        let reception = Arc::new(Reception::new(who, map_epoch, inbox, Arc::new(outlet)));
        let connections = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(accept(endpoint.clone(), Arc::clone(&reception), Arc::clone(&connections)));
        Self { reception, arrivals, endpoint, connections, _folder: folder }
    }

    fn entry(&self) -> RankEntry {
        RankEntry {
            daemon: format!("mds{}", self.reception.me),
            incarnation: self.reception.incarnation,
            addr: self.endpoint.local_addr().unwrap(),
            state: RankState::Active,
        }
    }

    fn peers(&self) -> &Peers {
        &self.reception.outlet.peers
    }

    /// The number in the next message, who sent it, and in which life.
    async fn next(&mut self) -> (u64, Rank, Incarnation) {
        let arrival = tokio::time::timeout(PATIENCE, self.arrivals.recv()).await.unwrap();
        match arrival {
            Some(Arrival::Input(Input::Peer { from, incarnation, msg })) => {
                (number_in(&msg), from, incarnation)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Breaks whatever connections it has accepted.
    fn break_connections(&self) {
        for connection in self.connections.lock().drain(..) {
            connection.close(quinn::VarInt::from_u32(9), b"cut");
        }
    }
}

async fn accept(
    endpoint: Endpoint,
    reception: Arc<Reception>,
    connections: Arc<Mutex<Vec<Connection>>>,
) {
    while let Some(incoming) = endpoint.accept().await {
        let (reception, connections) = (Arc::clone(&reception), Arc::clone(&connections));
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            connections.lock().push(connection.clone());
            let _ = receive(connection, &reception).await;
        });
    }
}

fn message(number: u64) -> PeerMsg {
    ReplicaMsg::Discover { dir: Ino(number) }.into()
}

fn number_in(msg: &PeerMsg) -> u64 {
    let PeerMsg::Replica(ReplicaMsg::Discover { dir }) = msg else { panic!("{msg:?}") };
    dir.0
}

fn map(epoch: u64, daemons: &[&Daemon]) -> MdsMap {
    MdsMap {
        epoch: MapEpoch(epoch),
        cluster: CLUSTER,
        name_hash_key: NameHashKey(1, 2),
        ranks: daemons.iter().map(|daemon| (daemon.reception.me, daemon.entry())).collect(),
        slots: BTreeMap::new(),
        data_stores: Vec::new(),
        balancer: Switch::Off,
        lost: std::collections::BTreeSet::new(),
    }
}

/// Two lanes, numbered apart: control counts up from 0, bulk from a million.
const BULK: u64 = 1_000_000;

#[tokio::test]
async fn every_message_arrives_once_and_in_order_over_broken_connections() {
    const MESSAGES: u64 = 20_000;
    let authority = TestAuthority::new();
    let sender = Daemon::new(&authority, Rank(0), Incarnation(3));
    let mut receiver = Daemon::new(&authority, Rank(1), Incarnation(5));
    sender.peers().follow(&map(1, &[&sender, &receiver]));
    for number in 0..MESSAGES {
        sender.peers().send(Rank(1), message(number));
        if number % 4 == 0 {
            sender.peers().send_bulk(Rank(1), message(BULK + number / 4));
        }
    }
    let (mut control, mut bulk) = (0, BULK);
    while control < MESSAGES || bulk < BULK + MESSAGES / 4 {
        let (number, from, incarnation) = receiver.next().await;
        assert_eq!((from, incarnation), (Rank(0), Incarnation(3)));
        let next = if number < BULK { &mut control } else { &mut bulk };
        assert_eq!(number, *next);
        *next += 1;
        if (control + bulk - BULK).is_multiple_of(3000) {
            receiver.break_connections();
        }
    }
    sender.peers().send(Rank(1), message(MESSAGES));
    assert_eq!(receiver.next().await.0, MESSAGES, "and nothing twice");
}

#[tokio::test]
async fn a_new_incarnation_gets_nothing_that_was_meant_for_the_old() {
    let authority = TestAuthority::new();
    let sender = Daemon::new(&authority, Rank(0), Incarnation(1));
    let mut old = Daemon::new(&authority, Rank(1), Incarnation(1));
    sender.peers().follow(&map(1, &[&sender, &old]));
    sender.peers().send(Rank(1), message(0));
    assert_eq!(old.next().await.0, 0);
    old.endpoint.close(quinn::VarInt::from_u32(0), b"dead");
    sender.peers().send(Rank(1), message(1));

    let mut new = Daemon::new(&authority, Rank(1), Incarnation(2));
    sender.peers().follow(&map(2, &[&sender, &new]));
    sender.peers().send(Rank(1), message(2));
    assert_eq!(new.next().await.0, 2);
    sender.peers().send(Rank(7), message(3));
    sender.peers().send(Rank(1), message(4));
    assert_eq!(new.next().await.0, 4, "to a rank that is not there: dropped");
}

#[tokio::test]
async fn a_superseded_sender_is_not_heard_any_more() {
    let authority = TestAuthority::new();
    let mut receiver = Daemon::new(&authority, Rank(1), Incarnation(1));
    let new = Daemon::new(&authority, Rank(0), Incarnation(9));
    new.peers().follow(&map(1, &[&receiver]));
    new.peers().send(Rank(1), message(0));
    assert_eq!(receiver.next().await, (0, Rank(0), Incarnation(9)));

    let old = Daemon::new(&authority, Rank(0), Incarnation(8));
    old.peers().follow(&map(1, &[&receiver]));
    old.peers().send(Rank(1), message(1));
    new.peers().send(Rank(1), message(2));
    assert_eq!(receiver.next().await, (2, Rank(0), Incarnation(9)));
    // The old one's refused attempts go on beside; none of its messages has come by now.
    new.peers().send(Rank(1), message(3));
    assert_eq!(receiver.next().await, (3, Rank(0), Incarnation(9)));
}
