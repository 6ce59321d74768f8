//! `World`: who is there, what is stored where, and what is ordered.
//!
//! ```text
//!  /                 rank 0
//!  ├── r1/           exporter              the region: from /r1/a down to /r1/a/t
//!  │   └── a/        exporter, moves
//!  │       ├── f     a file
//!  │       └── t/    the owner of the bound, if there is one
//!  └── r2/           importer
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

use client_core::Call;
use common::attr::{Attr, FileKind, Times};
use common::id::{
    ClusterId, DirFragId, Epoch, Incarnation, Ino, MapEpoch, MigrationId, Rank, Slot,
};
use common::mds_map::{MdsMap, RankEntry, RankState, Switch};
use common::name::{Name, NameHashKey};
use mds_core::Params;
use mds_core::journal::entry::{Entry, SubtreeClaim, SubtreeSnapshot};
use mds_core::message::PeerMsg;
use mds_core::message::two_phase::TwoPhaseMsg;
use mds_core::row::{Dir, EntryKey, Inode, Linkage, Parent, Row};

use super::rank::{NOW, RankNode};
use crate::mistake;
use crate::sim::disk::Disk;

const HASH_KEY: NameHashKey = NameHashKey(1, 2);

/// The region's base, the file in it, and the base of the subtree nested in it.
pub const REGION: Ino = Ino(0x20);
pub const FILE: Ino = Ino(0x30);
pub const BOUND: Ino = Ino(0x21);

#[derive(Clone, Debug)]
pub struct World {
    pub ranks: u16,
    pub exporter: Rank,
    pub dirs: Vec<Place>,
    pub region: Ino,
    /// Ranks that replicate the base from the start.
    pub bystanders: Vec<Rank>,
    pub orders: Vec<Order>,
    /// Who may die.
    pub mortal: Vec<Rank>,
    /// The importer once gave the region away, and has not deleted it yet. It has changed since.
    pub leftovers: bool,
    /// Who does not come back from the dead.
    pub buried: Vec<Rank>,
    /// The store's answers may be late; else they come at once.
    pub slow_store: bool,
    /// Given-away fragments may be deleted while other things go on; else only when nothing does.
    pub sweeps_early: bool,
    /// What ranks hold against each other may be late; else it comes first: it changes nothing.
    pub claims_late: bool,
    /// How often a bystander asks for the base, of its own accord.
    pub asks: u8,
    /// How often somebody looks at which replicas are needed.
    pub trims: u8,
    /// Clients rename directories; else what ranks say about the rename lock matters to nobody.
    pub renames: bool,
    pub client: Option<Script>,
    /// Nothing is in the region.
    pub empty: bool,
}

/// What the client does; the first so many before the story begins.
#[derive(Clone, Debug)]
pub struct Script {
    pub calls: Vec<Planned>,
    pub prepared: u8,
}

/// A call, and what it changes.
#[derive(Clone, Debug)]
pub struct Planned {
    pub call: Call,
    pub edits: Vec<Edit>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    Gone(Ino, &'static str),
    Made(Ino, &'static str, Ino),
    /// A directory is removed.
    NoDir(Ino),
    /// A directory is elsewhere: its surroundings are not those of this [`World`].
    Moved(Ino),
}

/// A directory, and whose it is.
#[derive(Clone, Debug)]
pub struct Place {
    pub ino: Ino,
    /// `None`: the root.
    pub parent: Option<Parent>,
    pub rank: Rank,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    pub at: Rank,
    pub dir: Ino,
    pub to: Rank,
}

#[must_use]
pub fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).expect("a good name")
}

fn place(ino: Ino, (dir, text): (Ino, &str), rank: Rank) -> Place {
    Place { ino, parent: Some(Parent { dir, name: name(text) }), rank }
}

impl World {
    /// Rank 1 gives `/r1/a` to rank 2, with rank 0 and perhaps more looking on.
    fn new(ranks: u16, exporter: Rank, importer: Rank) -> Self {
        let (above, beside) = (Ino(0x10), Ino(0x11));
        let dirs = vec![
            Place { ino: Ino::ROOT, parent: None, rank: Rank::ROOT },
            place(above, (Ino::ROOT, "r1"), exporter),
            place(beside, (Ino::ROOT, "r2"), importer),
            place(REGION, (above, "a"), exporter),
        ];
        Self {
            ranks,
            exporter,
            dirs,
            region: REGION,
            bystanders: Vec::new(),
            orders: vec![Order { at: exporter, dir: REGION, to: importer }],
            mortal: (0..ranks).map(Rank).collect(),
            leftovers: false,
            buried: Vec::new(),
            slow_store: false,
            sweeps_early: false,
            claims_late: false,
            asks: 0,
            trims: 0,
            renames: false,
            client: None,
            empty: false,
        }
    }

    /// A client that has looked up everything does this while the region moves.
    #[must_use]
    pub fn with_client(mut self, before: Vec<Planned>, during: Vec<Planned>) -> Self {
        let look =
            |dir, text| Planned { call: Call::Lookup { dir, name: name(text) }, edits: vec![] };
        let mut calls = Vec::new();
        for place in &self.dirs {
            let entries = self.entries(place.ino);
            for (key, _) in entries {
                calls.push(Planned {
                    call: Call::Lookup { dir: key.dir, name: key.name },
                    edits: Vec::new(),
                });
            }
        }
        for planned in &before {
            for edit in &planned.edits {
                if let Edit::Made(dir, text, _) = edit {
                    calls.push(planned.clone());
                    calls.push(look(*dir, text));
                }
            }
        }
        self.client = Some(Script {
            prepared: u8::try_from(calls.len()).expect("there are few"),
            calls: calls.into_iter().chain(during).collect(),
        });
        self
    }

    /// Whether a directory may be removed or moved: then it is not where this world says.
    #[must_use]
    pub fn is_unsettled(&self, dir: Ino) -> bool {
        let planned = self.client.iter().flat_map(|script| &script.calls);
        let mut edits = planned.flat_map(|planned| &planned.edits);
        edits.any(|edit| matches!(edit, Edit::NoDir(ino) | Edit::Moved(ino) if *ino == dir))
    }

    /// Exporter (rank 0) and importer.
    #[must_use]
    pub fn two() -> Self {
        Self::new(2, Rank(0), Rank(1))
    }

    /// Exporter, importer, and rank 0 as a bystander.
    #[must_use]
    pub fn three() -> Self {
        Self { bystanders: vec![Rank(0)], ..Self::new(3, Rank(1), Rank(2)) }
    }

    /// As three, but that the region is a directory of the root: rank 0 redirects to it.
    #[must_use]
    pub fn neighbor() -> Self {
        let mut world = Self::three();
        world.dirs.retain(|place| place.ino != REGION);
        world.dirs.push(place(REGION, (Ino::ROOT, "a"), world.exporter));
        world
    }

    /// Exporter, importer, rank 0 as a bystander, and rank 3 as the owner of a bound.
    #[must_use]
    pub fn four() -> Self {
        let mut world = Self::new(4, Rank(1), Rank(2));
        world.bystanders = vec![Rank(0), Rank(3)];
        world.dirs.push(place(BOUND, (REGION, "t"), Rank(3)));
        world
    }

    /// The region is to go to the importer, and then back; what it leaves behind may be deleted late.
    #[must_use]
    pub fn and_back(mut self) -> Self {
        let first = self.orders[0];
        self.orders.push(Order { at: first.to, dir: first.dir, to: first.at });
        self.sweeps_early = true;
        self
    }

    /// The order is given again, whatever became of the first.
    #[must_use]
    pub fn and_again(mut self) -> Self {
        self.orders.push(self.orders[0]);
        self
    }

    #[must_use]
    pub fn parent(&self, dir: Ino) -> Option<Ino> {
        let place = self.dirs.iter().find(|place| place.ino == dir)?;
        place.parent.as_ref().map(|parent| parent.dir)
    }

    /// Whose a directory must be, if the region is `owner`'s.
    #[must_use]
    pub fn owner(&self, place: &Place, owner: Rank) -> Rank {
        if place.ino == self.region { owner } else { place.rank }
    }

    /// The bases nested in the region.
    #[must_use]
    pub fn bounds(&self) -> Vec<Ino> {
        self.bases()
            .filter(|place| self.parent(place.ino) == Some(self.region))
            .map(|it| it.ino)
            .collect()
    }

    /// Directories whose authority differs from that of the one above.
    fn bases(&self) -> impl Iterator<Item = &Place> {
        self.dirs.iter().filter(|place| match &place.parent {
            None => true,
            Some(parent) => {
                self.dirs.iter().any(|above| above.ino == parent.dir && above.rank != place.rank)
            }
        })
    }

    /// Whether a message makes any difference in this world.
    #[must_use]
    pub fn heeds(&self, msg: &PeerMsg) -> bool {
        self.renames || !matches!(msg, PeerMsg::TwoPhase(TwoPhaseMsg::RenameHolds { .. }))
    }

    /// The order to be given when so many are left.
    #[must_use]
    pub fn order_number(&self, left: u8) -> u8 {
        let all = u8::try_from(self.orders.len()).expect("there are few orders");
        all - 1 - left
    }

    #[must_use]
    pub fn params(&self, node: &RankNode, incarnation: Incarnation, map: &MdsMap) -> Params {
        let slot = Slot(node.rank.0);
        let params = Params::new(node.rank, slot, incarnation, map.cluster, map.name_hash_key);
        mistake::perhaps(params)
    }

    /// Everybody is down.
    #[must_use]
    pub fn first_map(&self) -> MdsMap {
        let entry = |rank: u16| RankEntry {
            daemon: format!("mds.{rank}"),
            incarnation: Incarnation(0),
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 7000 + rank)),
            state: RankState::Down,
        };
        MdsMap {
            epoch: MapEpoch(1),
            cluster: ClusterId(1),
            name_hash_key: HASH_KEY,
            ranks: (0..self.ranks).map(|rank| (Rank(rank), entry(rank))).collect(),
            slots: (0..self.ranks).map(|rank| (Slot(rank), Rank(rank))).collect(),
            data_stores: Vec::new(),
            lost: BTreeSet::new(),
            balancer: Switch::Off,
        }
    }

    /// A rank's store: what it is the authority for, and the bases at its borders.
    #[must_use]
    pub fn disk(&self, rank: Rank) -> Disk {
        let mut rows = Vec::new();
        for place in self.dirs.iter().filter(|place| place.rank == rank) {
            let entries = self.entries(place.ino);
            let subdirs = entries.iter().filter(|(_, it)| it.kind() == FileKind::Dir).count();
            let dir = Dir {
                mode: 0o777,
                uid: 0,
                gid: 0,
                times: Times::all(NOW.wall),
                entries: entries.len() as u64,
                subdirs: u32::try_from(subdirs).expect("there are few"),
                parent: place.parent.clone(),
                xattrs: BTreeMap::new(),
                pin: None,
            };
            rows.push(Row::Dir(DirFragId::whole(place.ino), dir));
            rows.extend(entries.into_iter().map(|(key, linkage)| Row::Entry(key, linkage)));
        }
        let subtrees = self.bases().filter(|place| self.concerns(place, rank)).map(|place| {
            let parent = place.parent.as_ref().map(|parent| parent.dir);
            let claim = SubtreeClaim { auth: place.rank, epoch: Epoch(1), parent };
            (DirFragId::whole(place.ino), claim)
        });
        let snapshot = SubtreeSnapshot { subtrees: subtrees.collect(), released: BTreeMap::new() };
        let mut journal = vec![Entry::SubtreeMap(snapshot)];
        if self.leftovers && rank == self.orders[0].to {
            self.leave_over(rank, &mut rows, &mut journal);
        }
        Disk::formatted(rows, journal)
    }

    /// What an earlier migration has left: a name that is gone, and the list of what is to be deleted.
    fn leave_over(&self, rank: Rank, rows: &mut Vec<Row>, journal: &mut Vec<Entry>) {
        let id = MigrationId { exporter: rank, incarnation: Incarnation(0), number: 1 };
        let base = DirFragId::whole(self.region);
        let (key, linkage) = self.entries(self.region).pop().expect("there is a file in it");
        let gone = name("gone");
        rows.push(Row::Entry(EntryKey { hash: HASH_KEY.hash(&gone), name: gone, ..key }, linkage));
        rows.push(Row::Drop(id, base, None));
        let parent = self.parent(self.region);
        journal.push(Entry::Export { id, base, to: self.exporter, epoch: Epoch(1), parent });
    }

    /// Its own base, or one nested in what is its own.
    fn concerns(&self, place: &Place, rank: Rank) -> bool {
        let above = place.parent.as_ref().map(|parent| parent.dir);
        let above = self.dirs.iter().find(|it| Some(it.ino) == above);
        place.rank == rank || above.is_some_and(|above| above.rank == rank)
    }

    fn entries(&self, dir: Ino) -> Vec<(EntryKey, Linkage)> {
        let key = |name: &Name| EntryKey { dir, hash: HASH_KEY.hash(name), name: name.clone() };
        let subdirs = self.dirs.iter().filter_map(|place| {
            let parent = place.parent.as_ref().filter(|parent| parent.dir == dir)?;
            Some((key(&parent.name), Linkage::Dir { ino: place.ino }))
        });
        let file = (dir == self.region && !self.empty).then(|| {
            let attr = Attr {
                ino: FILE,
                kind: FileKind::File,
                mode: 0o644,
                nlink: 1,
                uid: 0,
                gid: 0,
                rdev: 0,
                size: 0,
                times: Times::all(NOW.wall),
            };
            let inode = Inode { attr, xattrs: BTreeMap::new(), symlink: Box::default(), moves: 0 };
            (key(&name("f")), Linkage::Primary(Box::new(inode)))
        });
        subdirs.chain(file).collect()
    }

    /// Every name and every directory, once each, in order, when so many calls have been answered.
    #[must_use]
    pub fn content(&self, calls: u64) -> (Vec<(Ino, String, Ino)>, Vec<Ino>) {
        let entries = self.dirs.iter().flat_map(|place| self.entries(place.ino));
        let mut names: Vec<_> =
            entries.map(|(key, it)| (key.dir, key.name.to_string(), it.ino())).collect();
        let mut dirs: Vec<Ino> = self.dirs.iter().map(|place| place.ino).collect();
        let planned = self.client.iter().flat_map(|script| &script.calls);
        for (_, planned) in (0..calls).zip(planned) {
            for edit in &planned.edits {
                match edit {
                    Edit::Gone(dir, text) => {
                        names.retain(|(at, name, _)| (at, name.as_str()) != (dir, *text));
                    }
                    Edit::Made(dir, text, ino) => names.push((*dir, (*text).to_owned(), *ino)),
                    Edit::NoDir(dir) => dirs.retain(|other| other != dir),
                    Edit::Moved(_) => {}
                }
            }
        }
        names.sort();
        dirs.sort_unstable();
        (names, dirs)
    }
}
