//! For unit tests: several ranks with a queue between them. `/` and `/r0` are rank 0's, `/r1` is rank
//! 1's, `/r2` rank 2's. Clients A and B have sessions everywhere and acknowledge at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use common::attr::Times;
use common::id::{
    ClientId, ClusterId, DirFragId, Epoch, Incarnation, Ino, MapEpoch, Rank, RequestId, Seq, Slot,
};
use common::mds_map::{MdsMap, RankEntry, RankState, Switch};
use common::name::NameHashKey;
use common::time::{Monotonic, Now, Timestamp};
use common::wire::reply::{Answer, Found, Outcome};
use common::wire::request::{Op, Request};
use common::wire::session::{Notice, ToMds};

use crate::cx::Wait;
use crate::fixture::{A, B, Fixture, conn, name};
use crate::input::Input;
use crate::journal::entry::{Entry, SubtreeClaim, SubtreeSnapshot};
use crate::message::PeerMsg;
use crate::namespace::Namespace;
use crate::row::{Dir, EntryKey, Key, Linkage, Parent, Row};
use crate::subtree::{DirAuth, Freeze};
use crate::timer::Timer;

pub(crate) const R0: Rank = Rank(0);
pub(crate) const R1: Rank = Rank(1);
pub(crate) const R2: Rank = Rank(2);
/// `/r0`, `/r1` and `/r2`.
pub(crate) const D0: Ino = Ino(0x10);
pub(crate) const D1: Ino = Ino(0x11);
pub(crate) const D2: Ino = Ino(0x12);

/// Numbers that look random, the same for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % bound as u64).unwrap()
    }
}

const HASH_KEY: NameHashKey = NameHashKey(1, 2);

pub(crate) struct Cluster {
    pub(crate) ranks: BTreeMap<Rank, Fixture>,
    queue: VecDeque<(Rank, Incarnation, Rank, PeerMsg)>,
    lives: BTreeMap<Rank, u64>,
    down: BTreeSet<Rank>,
    lost: BTreeSet<Rank>,
    epoch: u64,
    /// What clients were told, by whom.
    pub(crate) notices: Vec<(Rank, ClientId, Notice)>,
    /// These clients say nothing.
    pub(crate) silent: BTreeSet<ClientId>,
    /// Which link is the fastest next.
    pub(crate) chance: Option<Chance>,
    /// Nothing becomes durable by itself there.
    pub(crate) unsynced: BTreeSet<Rank>,
}

fn dir_row(parent: Option<Parent>) -> Dir {
    let at = Timestamp::from_secs(1000);
    Dir { parent, times: Times::all(at), mode: 0o777, ..Namespace::root(at) }
}

/// Rows and journal of each rank.
fn store(rank: Rank) -> (BTreeMap<Key, Row>, BTreeMap<Seq, Entry>) {
    let bases = [(R0, D0, "r0"), (R1, D1, "r1"), (R2, D2, "r2")];
    let mut rows = Vec::new();
    let mut subtrees = BTreeMap::new();
    let claim = |auth, parent| SubtreeClaim { auth, epoch: Epoch(1), parent };
    if rank == R0 {
        let root = Dir { entries: 3, subdirs: 3, ..dir_row(None) };
        rows.push(Row::Dir(DirFragId::whole(Ino::ROOT), root));
        subtrees.insert(DirFragId::whole(Ino::ROOT), claim(R0, None));
    }
    for (auth, ino, text) in bases {
        let parent = Parent { dir: Ino::ROOT, name: name(text) };
        if rank == R0 {
            let key = EntryKey {
                dir: Ino::ROOT,
                hash: HASH_KEY.hash(&parent.name),
                name: parent.name.clone(),
            };
            rows.push(Row::Entry(key, Linkage::Dir { ino }));
        }
        if rank == auth {
            rows.push(Row::Dir(DirFragId::whole(ino), dir_row(Some(parent))));
        }
        if auth != R0 && (rank == R0 || rank == auth) {
            subtrees.insert(DirFragId::whole(ino), claim(auth, Some(Ino::ROOT)));
        }
    }
    let snapshot = SubtreeSnapshot { subtrees, released: BTreeMap::new() };
    let rows = rows.into_iter().map(|row| (row.key(), row)).collect();
    (rows, [(Seq(0), Entry::SubtreeMap(snapshot))].into())
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let now = Now { monotonic: Monotonic(0), wall: Timestamp::from_secs(1000) };
        let ranks = [R0, R1, R2].map(|rank| {
            let (rows, journal) = store(rank);
            (rank, Fixture::start(rank, now, rows, journal, 1, 0))
        });
        let mut cluster = Self {
            ranks: ranks.into(),
            queue: VecDeque::new(),
            lives: [(R0, 1), (R1, 1), (R2, 1)].into(),
            down: BTreeSet::new(),
            lost: BTreeSet::new(),
            epoch: 0,
            notices: Vec::new(),
            silent: BTreeSet::new(),
            chance: None,
            unsynced: BTreeSet::new(),
        };
        cluster.issue_map();
        for rank in [R0, R1, R2] {
            cluster.connect(rank);
        }
        cluster.run();
        cluster
    }

    pub(crate) fn at(&mut self, rank: Rank) -> &mut Fixture {
        self.ranks.get_mut(&rank).unwrap()
    }

    pub(crate) fn issue_map(&mut self) {
        let map = self.next_map();
        self.tell_all(&map);
    }

    fn tell_all(&mut self, map: &MdsMap) {
        for rank in self.up() {
            self.at(rank).input(Input::Map(map.clone()));
        }
    }

    fn next_map(&mut self) -> MdsMap {
        self.epoch += 1;
        let entry = |(rank, life): (&Rank, &u64)| {
            let state = if self.down.contains(rank) { RankState::Down } else { RankState::Active };
            let entry = RankEntry {
                daemon: format!("mds-{}", rank.0),
                incarnation: Incarnation(*life),
                addr: ([127, 0, 0, 1], 1).into(),
                state,
            };
            (*rank, entry)
        };
        MdsMap {
            epoch: MapEpoch(self.epoch),
            cluster: ClusterId(7),
            name_hash_key: HASH_KEY,
            ranks: self.lives.iter().map(entry).collect(),
            slots: [R0, R1, R2].map(|rank| (Slot(rank.0), self.heir(rank))).into(),
            data_stores: Vec::new(),
            balancer: Switch::Off,
            lost: self.lost.clone(),
        }
    }

    fn heir(&self, rank: Rank) -> Rank {
        if self.lost.contains(&rank) { R0 } else { rank }
    }

    /// The rank is gone, with all that was on its way to or from it.
    pub(crate) fn kill(&mut self, rank: Rank) {
        self.collect();
        self.queue.retain(|(from, _, to, _)| *from != rank && *to != rank);
        self.down.insert(rank);
        self.issue_map();
    }

    /// Its store is destroyed, an operator says.
    pub(crate) fn lose(&mut self, rank: Rank) {
        self.lives.remove(&rank);
        self.lost.insert(rank);
        self.issue_map();
    }

    /// Its next life, with what it had applied.
    pub(crate) fn revive(&mut self, rank: Rank) {
        self.be_born(rank);
        let mut map = self.next_map();
        map.ranks.entry(rank).and_modify(|entry| entry.state = RankState::Resolve);
        self.tell_all(&map);
        self.issue_map();
        self.connect(rank);
    }

    /// Its next life, as far as it comes without its clients.
    pub(crate) fn begin_reviving(&mut self, rank: Rank) {
        self.be_born(rank);
        for state in [RankState::Resolve, RankState::Reconnect] {
            let mut map = self.next_map();
            map.ranks.entry(rank).and_modify(|entry| entry.state = state);
            self.tell_all(&map);
        }
    }

    /// It dies and comes back, and only itself knows so far: what it says is heard first.
    pub(crate) fn replace(&mut self, rank: Rank) {
        self.collect();
        self.queue.retain(|(from, _, to, _)| *from != rank && *to != rank);
        self.be_born(rank);
        let map = self.next_map();
        self.at(rank).input(Input::Map(map));
        self.connect(rank);
        self.run();
        self.issue_map();
    }

    fn be_born(&mut self, rank: Rank) {
        let fixture = self.ranks.remove(&rank).unwrap();
        self.ranks.insert(rank, fixture.next_life(rank));
        *self.lives.get_mut(&rank).unwrap() += 1;
        self.down.remove(&rank);
    }

    fn connect(&mut self, rank: Rank) {
        for client in [A, B] {
            self.at(rank).connect(client, conn(client, 1));
        }
    }

    fn collect(&mut self) {
        for (rank, fixture) in &mut self.ranks {
            // None: it is lost.
            let Some(life) = self.lives.get(rank).copied().map(Incarnation) else { continue };
            for (to, msg) in std::mem::take(&mut fixture.sent) {
                if !self.down.contains(rank) && !self.down.contains(&to) {
                    self.queue.push_back((*rank, life, to, msg));
                }
            }
        }
    }

    /// The oldest message; of some pair of ranks, if links differ in speed.
    fn choose(&mut self) -> usize {
        let Some(chance) = &mut self.chance else { return 0 };
        let firsts: Vec<usize> = (0..self.queue.len())
            .filter(|at| {
                let pair = |at: usize| (self.queue[at].0, self.queue[at].2);
                (0..*at).all(|before| pair(before) != pair(*at))
            })
            .collect();
        if firsts.is_empty() { 0 } else { firsts[chance.below(firsts.len())] }
    }

    /// Delivers a message, or makes everything durable if there is none. False: at rest.
    pub(crate) fn step(&mut self) -> bool {
        self.collect();
        let next = self.choose();
        if let Some((from, incarnation, to, msg)) = self.queue.remove(next) {
            self.at(to).input(Input::Peer { from, incarnation, msg });
        } else {
            for (rank, fixture) in &mut self.ranks {
                if !self.down.contains(rank)
                    && !self.unsynced.contains(rank)
                    && fixture.mds.holdings().durable < fixture.mds.seq()
                {
                    fixture.make_durable();
                }
            }
        }
        self.ack();
        self.collect();
        !self.queue.is_empty()
            || self.ranks.iter().any(|(rank, fixture)| {
                !self.down.contains(rank)
                    && !self.unsynced.contains(rank)
                    && fixture.mds.holdings().durable < fixture.mds.seq()
            })
    }

    /// Messages that were sent and have not arrived.
    pub(crate) fn under_way(&mut self) -> Vec<(Rank, Rank, PeerMsg)> {
        self.collect();
        self.queue.iter().map(|(from, _, to, msg)| (*from, *to, msg.clone())).collect()
    }

    pub(crate) fn up(&self) -> Vec<Rank> {
        self.lives.keys().copied().filter(|rank| !self.down.contains(rank)).collect()
    }

    /// One message, as if it had come over the wire.
    pub(crate) fn tell(&mut self, from: Rank, to: Rank, msg: PeerMsg) {
        let incarnation = Incarnation(self.lives[&from]);
        self.at(to).input(Input::Peer { from, incarnation, msg });
    }

    pub(crate) fn ack(&mut self) {
        for (rank, fixture) in &mut self.ranks {
            for client in [A, B] {
                if !self.silent.contains(&client) {
                    let notices = fixture.ack_notices(client);
                    self.notices.extend(notices.into_iter().map(|notice| (*rank, client, notice)));
                }
            }
        }
    }

    pub(crate) fn run(&mut self) {
        for _ in 0..1000 {
            if !self.step() {
                return;
            }
        }
        panic!("the cluster comes to rest");
    }

    /// Runs until something at a rank waits for what that state waits for.
    pub(crate) fn run_until(&mut self, rank: Rank, state: &str) {
        for _ in 0..1000 {
            if self.states(rank).contains(&state) {
                return;
            }
            self.step();
        }
        panic!("rank {rank} comes to {state}, not {:?}", self.states(rank));
    }

    pub(crate) fn states(&mut self, rank: Rank) -> Vec<&'static str> {
        self.at(rank).mds.two_phase().states().map(|(_, state)| state).collect()
    }

    pub(crate) fn send(&mut self, rank: Rank, client: ClientId, op: Op) -> Request {
        let request = self.at(rank).request(op);
        self.at(rank).say(client, conn(client, 1), ToMds::Request(request.clone()));
        request
    }

    pub(crate) fn reply(&mut self, rank: Rank, client: ClientId, id: RequestId) -> Option<Outcome> {
        self.at(rank).reply(client, id).map(|reply| reply.outcome)
    }

    /// Asks, runs to rest, and expects one answer.
    pub(crate) fn ask(&mut self, rank: Rank, client: ClientId, op: Op) -> Outcome {
        let id = self.send(rank, client, op).id;
        self.run();
        let outcome = self.reply(rank, client, id).expect("an answer");
        assert_eq!(self.reply(rank, client, id), None, "one answer");
        outcome
    }

    /// What a name stands for, and the link count if that is known there.
    pub(crate) fn lookup(&mut self, rank: Rank, dir: Ino, text: &str) -> Option<(Ino, u32)> {
        match self.ask(rank, B, Op::Lookup { dir, name: name(text) }) {
            Outcome::Done(Answer::Found(Found::Here(attr))) => Some((attr.ino, attr.nlink)),
            Outcome::Done(Answer::Found(Found::Dir { ino, .. })) => Some((ino, 0)),
            Outcome::Done(Answer::Found(Found::Remote { ino, attr, .. })) => {
                Some((ino, attr.map_or(0, |attr| attr.nlink)))
            }
            Outcome::Refused(common::error::FsError::NotFound) => None,
            outcome => panic!("look up {text}: {outcome:?}"),
        }
    }

    /// What a directory counts is what is in it.
    pub(crate) fn assert_counts(&mut self, rank: Rank, dir: Ino) {
        let linkages: Vec<Linkage> = self.at(rank).entries(dir);
        let subdirs = linkages.iter().filter(|it| matches!(it, Linkage::Dir { .. })).count();
        let counts = (linkages.len() as u64, u32::try_from(subdirs).unwrap());
        assert_eq!(self.counts(rank, dir), counts, "{dir}");
    }

    /// Names and sub-directories a directory counts.
    pub(crate) fn counts(&mut self, rank: Rank, dir: Ino) -> (u64, u32) {
        match self.at(rank).row(&Key::Dir(DirFragId::whole(dir))) {
            Some(Row::Dir(_, row)) => (row.entries, row.subdirs),
            row => panic!("{row:?} is no directory"),
        }
    }

    pub(crate) fn freeze(&mut self, rank: Rank, dir: Ino) {
        self.at(rank).mds.freeze_for_test(DirFragId::whole(dir), Freeze::Frozen);
    }

    pub(crate) fn thaw(&mut self, rank: Rank, dir: Ino) {
        let base = DirFragId::whole(dir);
        self.at(rank).mds.freeze_for_test(base, Freeze::Live);
        self.at(rank).wake(&Wait::Thaw(base));
    }

    /// A directory is not in the cache any more, and the store is slow.
    pub(crate) fn evict(&mut self, rank: Rank, dir: Ino) {
        self.at(rank).mds.uncache_for_test(dir);
        self.at(rank).slow = true;
    }

    /// S15: the authority knows of every replica, under the same nonce.
    #[track_caller]
    pub(crate) fn assert_registered(&self, holder: Rank) {
        for (dir, replica) in self.ranks[&holder].mds.holdings().spine.replicas() {
            let authority = self.ranks[&replica.authority].mds.holdings();
            let gone = matches!(authority.namespace.dir(dir), Ok(None));
            let mut holders = authority.spine.holders(dir);
            let known =
                gone || holders.any(|(rank, nonce)| (rank, nonce) == (holder, replica.nonce));
            assert!(known, "{dir} at {holder}: {replica:?}");
            assert_eq!(replica.doubt, None, "{dir} at {holder}");
        }
    }

    /// Replicas that are not needed are given back.
    pub(crate) fn trim(&mut self, rank: Rank) {
        self.at(rank).input(Input::Timer(Timer::Spine));
    }

    /// Each rank's own invariants hold.
    #[track_caller]
    pub(crate) fn assert_sound(&self) {
        for rank in self.up() {
            assert_eq!(self.ranks[&rank].mds.check(), Ok(()), "{rank}");
        }
    }

    /// No operation of several ranks is under way.
    #[track_caller]
    pub(crate) fn assert_settled(&self) {
        for (rank, fixture) in self.ranks.iter().filter(|(rank, _)| !self.lost.contains(rank)) {
            assert!(fixture.mds.two_phase().is_idle(), "{rank}: {:?}", fixture.mds.two_phase());
            assert_eq!(fixture.mds.waiting(), 0, "{rank}");
            self.assert_registered(*rank);
        }
    }

    /// S3, S21 and the rest that must hold when nothing goes on.
    pub(crate) fn assert_at_rest(&mut self) {
        self.assert_settled();
        for (rank, fixture) in self.ranks.iter().filter(|(rank, _)| !self.lost.contains(rank)) {
            let own = fixture.mds.holdings();
            assert!(own.locks.is_empty(), "{rank}: {:?}", own.locks);
            assert_eq!(own.subtrees.auth_pins(), 0, "{rank}");
            let open: Vec<&Entry> =
                fixture.journal().filter(|entry| !matches!(entry, Entry::SubtreeMap(_))).collect();
            assert_eq!(open, [] as [&Entry; 0], "{rank}");
        }
    }

    pub(crate) fn auth(&mut self, rank: Rank, dir: Ino) -> Option<(Rank, Option<Ino>)> {
        let subtree = self.at(rank).mds.holdings().subtrees.get(DirFragId::whole(dir))?;
        match subtree.auth {
            DirAuth::Sole(auth) => Some((auth, subtree.parent)),
            auth @ DirAuth::Ambiguous { .. } => panic!("{auth:?}"),
        }
    }
}
