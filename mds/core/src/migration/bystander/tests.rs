//! A bystander takes in what is newer than what it knows, and acknowledges everything.

use common::id::{DirFragId, Epoch, Ino, MigrationId, Rank};
use common::wire::request::Op;

use crate::cluster_fixture::{Cluster, D0, D1, R0, R1, R2};
use crate::fixture::{A, name};
use crate::message::PeerMsg;
use crate::message::migration::{MigrationMsg, Step};
use crate::subtree::{DirAuth, Freeze};

const DOUBT: DirAuth = DirAuth::Ambiguous { first: R1, second: R2 };

struct Bystander(Cluster);

impl Bystander {
    /// Rank 0, which holds the directory above `/r1`.
    fn new() -> Self {
        Self(Cluster::new())
    }

    /// Rank 1 says so; the acknowledgement names what was said.
    #[track_caller]
    fn hears(&mut self, dir: Ino, auth: DirAuth, epoch: u64) {
        let incarnation = self.0.ranks[&R1].mds.seq().incarnation();
        let id = MigrationId { exporter: R1, incarnation, number: 1 };
        let base = DirFragId::whole(dir);
        let msg = |step| PeerMsg::Migration(MigrationMsg { id, base, step });
        self.0.tell(R1, R0, msg(Step::Notify { auth, epoch: Epoch(epoch), dirs: vec![D1] }));
        let ack = (R0, R1, msg(Step::NotifyAck { auth }));
        assert_eq!(self.0.under_way(), [ack]);
        self.0.run();
    }

    fn knows(&self, dir: Ino) -> (DirAuth, Freeze) {
        let own = self.0.ranks[&R0].mds.holdings();
        let subtree = own.subtrees.get(DirFragId::whole(dir)).unwrap();
        (subtree.auth, subtree.freeze)
    }
}

fn owned_by(rank: Rank) -> (DirAuth, Freeze) {
    (DirAuth::Sole(rank), Freeze::Live)
}

#[test]
fn it_follows_a_migration() {
    let mut bystander = Bystander::new();
    assert_eq!(bystander.knows(D1), owned_by(R1));
    bystander.hears(D1, DOUBT, 5);
    assert_eq!(bystander.knows(D1), (DOUBT, Freeze::Frozen));
    bystander.hears(D1, DirAuth::Sole(R2), 5);
    assert_eq!(bystander.knows(D1), owned_by(R2));
}

#[test]
fn it_parks_while_in_doubt_and_then_redirects() {
    let mut bystander = Bystander::new();
    bystander.hears(D1, DOUBT, 5);
    let id = bystander.0.send(R0, A, Op::Lookup { dir: D1, name: name("f") }).id;
    bystander.0.run();
    assert_eq!(bystander.0.reply(R0, A, id), None);
    bystander.hears(D1, DirAuth::Sole(R2), 5);
    let outcome = bystander.0.reply(R0, A, id);
    let redirected = matches!(
        &outcome,
        Some(common::wire::reply::Outcome::Redirect(route)) if route.rank == R2
    );
    assert!(redirected, "{outcome:?}");
}

#[test]
fn an_older_notice_is_ignored() {
    let mut bystander = Bystander::new();
    bystander.hears(D1, DirAuth::Sole(R2), 5);
    bystander.hears(D1, DOUBT, 4);
    assert_eq!(bystander.knows(D1), owned_by(R2));
    bystander.hears(D1, DirAuth::Sole(R1), 4);
    assert_eq!(bystander.knows(D1), owned_by(R2));
}

#[test]
fn what_is_its_own_nobody_takes_by_telling() {
    let mut bystander = Bystander::new();
    let root = bystander.knows(Ino::ROOT);
    bystander.hears(Ino::ROOT, DirAuth::Sole(R1), 1);
    assert_eq!(bystander.knows(Ino::ROOT), root);
    assert!(!bystander.0.ranks[&R0].mds.holdings().is_read_only());
    // By a higher claim: one of the two is wrong, and whoever has the lower one changes nothing more.
    bystander.hears(Ino::ROOT, DirAuth::Sole(R1), 9);
    assert_eq!(bystander.knows(Ino::ROOT), root);
    assert!(bystander.0.ranks[&R0].mds.holdings().is_read_only());
}

#[test]
fn a_base_it_does_not_know_is_acknowledged_all_the_same() {
    let mut bystander = Bystander::new();
    bystander.hears(D0, DOUBT, 9);
    let own = bystander.0.ranks[&R0].mds.holdings();
    assert!(own.subtrees.get(DirFragId::whole(D0)).is_none());
    assert!(own.subtrees.clock() >= Epoch(9), "its own claims will be higher");
}

/// What it holds is around the base: forgotten, the base would seem to be its own.
#[test]
fn a_doubt_does_not_make_it_the_owner_after_a_restart() {
    let mut bystander = Bystander::new();
    bystander.hears(D1, DOUBT, 5);
    bystander.0.at(R0).checkpoint();
    bystander.0.kill(R0);
    bystander.0.revive(R0);
    assert_eq!(bystander.knows(D1), owned_by(R1));
}

/// Neither of those who could tell it remembers that it was warned.
#[test]
fn its_doubt_ends_when_exporter_and_importer_have_both_died() {
    let mut bystander = Bystander::new();
    bystander.hears(D1, DOUBT, 5);
    let cluster = &mut bystander.0;
    cluster.kill(R2);
    cluster.kill(R1);
    cluster.run();
    assert_ne!(bystander.knows(D1), owned_by(R1), "only its journal can tell");
    bystander.0.revive(R1);
    bystander.0.run();
    assert_eq!(bystander.knows(D1), owned_by(R1));
}
