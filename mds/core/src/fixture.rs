//! For unit tests: one rank, its clients' words by hand, and a store that answers at once.

use std::collections::{BTreeMap, BTreeSet};

use common::attr::SetAttr;
use common::id::{ClientId, ClusterId, Incarnation, Ino, MapEpoch, Rank, RequestId, Seq, Slot};
use common::mds_map::{MdsMap, RankEntry, RankState, Switch};
use common::name::{Name, NameHashKey};
use common::time::{Monotonic, Now, Timestamp};
use common::wire::admin::AdminReply;
use common::wire::reply::{Answer, Found, Outcome, Reply};
use common::wire::request::{
    Caller, Create, IfExists, Node, Op, Place, Rename, RenameMode, Request, Target,
};
use common::wire::session::{Notice, Opened, ToClient, ToMds};

use crate::cx::Wait;
use crate::effect::{Effect, Effects};
use crate::input::{ConnId, Fetch, FetchEnd, Fetched, Input, Restored};
use crate::journal::entry::Entry;
use crate::mds::{Mds, format_root};
use crate::message::PeerMsg;
use crate::params::Params;
use crate::row::{Change, Key, Linkage, Row};
use crate::timer::Timer;

pub(crate) const A: ClientId = ClientId(1);
pub(crate) const B: ClientId = ClientId(2);

pub(crate) struct Fixture {
    pub(crate) mds: Mds,
    pub(crate) now: Now,
    rows: BTreeMap<Key, Row>,
    journal: BTreeMap<Seq, Entry>,
    told: BTreeMap<ConnId, Vec<ToClient>>,
    wanted: Vec<RankState>,
    pub(crate) purges: Vec<Ino>,
    /// To other ranks.
    pub(crate) sent: Vec<(Rank, PeerMsg)>,
    /// To operators.
    pub(crate) answers: Vec<AdminReply>,
    /// What the clock is set for.
    pub(crate) timers: BTreeSet<Timer>,
    /// The store answers only when told to.
    pub(crate) slow: bool,
    pub(crate) asked: Vec<Fetch>,
    last_id: u64,
    last_ino: BTreeMap<ClientId, u64>,
    ranges: BTreeMap<ClientId, Opened>,
    epoch: u64,
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

fn params(rank: Rank, incarnation: u64) -> Params {
    let key = NameHashKey(1, 2);
    Params::new(rank, Slot(rank.0), Incarnation(incarnation), ClusterId(7), key)
}

/// Rows and journal.
pub(crate) type Store = (BTreeMap<Key, Row>, BTreeMap<Seq, Entry>);

impl Fixture {
    /// A new file system, served, with clients A and B.
    pub(crate) fn new() -> Self {
        let now = Now { monotonic: Monotonic(0), wall: Timestamp::from_secs(1000) };
        let (rows, entries) = format_root(now);
        let rows = rows.into_iter().map(|row| (row.key(), row)).collect();
        let journal = (0..).map(Seq).zip(entries).collect();
        let mut fixture = Self::start(Rank(0), now, rows, journal, 1, 0);
        fixture.follow_wishes(1);
        for client in [A, B] {
            fixture.connect(client, conn(client, 1));
        }
        fixture
    }

    /// One rank, as its store is; not yet granted anything.
    pub(crate) fn start(
        rank: Rank,
        now: Now,
        rows: BTreeMap<Key, Row>,
        journal: BTreeMap<Seq, Entry>,
        incarnation: u64,
        epoch: u64,
    ) -> Self {
        let restored = Restored {
            rows: rows.values().filter(|row| row.is_restored()).cloned().collect(),
            journal: journal.iter().map(|(seq, entry)| (*seq, entry.clone())).collect(),
        };
        let mut out = Effects::default();
        let mds = Mds::new(params(rank, incarnation), restored, now, &mut out);
        let mut fixture = Self {
            mds,
            now,
            rows,
            journal,
            told: BTreeMap::new(),
            wanted: Vec::new(),
            purges: Vec::new(),
            sent: Vec::new(),
            answers: Vec::new(),
            timers: BTreeSet::new(),
            slow: false,
            asked: Vec::new(),
            last_id: u64::from(rank.0) * 1_000_000,
            last_ino: BTreeMap::new(),
            ranges: BTreeMap::new(),
            epoch,
        };
        fixture.carry_out(out);
        fixture.make_durable();
        fixture
    }

    /// `kill -9`: what was applied is there.
    pub(crate) fn restart(self) -> Self {
        let incarnation = self.mds.seq().incarnation().0 + 1;
        let mut next = self.next_life(Rank(0));
        next.follow_wishes(incarnation);
        next
    }

    /// A copy of the store, for [`Self::put_back`].
    pub(crate) fn store(&self) -> Store {
        (self.rows.clone(), self.journal.clone())
    }

    /// What the next life finds.
    pub(crate) fn put_back(&mut self, store: Store) {
        (self.rows, self.journal) = store;
    }

    /// The same store, in another incarnation.
    pub(crate) fn next_life(self, rank: Rank) -> Self {
        let incarnation = self.mds.seq().incarnation().0 + 1;
        let (rows, journal) = (self.rows, self.journal);
        let mut next = Self::start(rank, self.now, rows, journal, incarnation, self.epoch);
        next.last_id = self.last_id;
        next.last_ino = self.last_ino;
        next.ranges = self.ranges;
        next
    }

    /// A monitor that grants every stage.
    pub(crate) fn follow_wishes(&mut self, incarnation: u64) {
        while let Some(state) = self.wanted.pop() {
            self.wanted.clear();
            self.epoch += 1;
            let entry = RankEntry {
                daemon: "mds-0".into(),
                incarnation: Incarnation(incarnation),
                addr: ([127, 0, 0, 1], 1).into(),
                state,
            };
            let map = MdsMap {
                epoch: MapEpoch(self.epoch),
                cluster: ClusterId(7),
                name_hash_key: NameHashKey(1, 2),
                ranks: [(Rank(0), entry)].into(),
                slots: [(Slot(0), Rank(0))].into(),
                data_stores: Vec::new(),
                balancer: Switch::Off,
                lost: BTreeSet::new(),
            };
            self.input(Input::Map(map));
        }
    }

    pub(crate) fn connect(&mut self, client: ClientId, conn: ConnId) {
        self.say(client, conn, ToMds::Open { client, oldest: RequestId(0) });
        if !self.told.contains_key(&conn) {
            // The numbers it is lent must be.
            self.make_durable();
        }
        let Some(ToClient::Opened(opened)) = self.told(conn).into_iter().next() else {
            panic!("the session opens");
        };
        self.ranges.insert(client, opened);
        self.say(client, conn, ToMds::ClaimsDone);
        self.say(client, conn, ToMds::ReplayDone);
    }

    pub(crate) fn say(&mut self, client: ClientId, conn: ConnId, msg: ToMds) {
        self.input(Input::Client { conn, client, msg });
    }

    pub(crate) fn input(&mut self, input: Input) {
        let mut out = Effects::default();
        self.mds.handle(self.now, input, &mut out);
        self.carry_out(out);
    }

    pub(crate) fn wake(&mut self, wait: &Wait) {
        let mut out = Effects::default();
        self.mds.wake_for_test(self.now, wait, &mut out);
        self.carry_out(out);
    }

    fn carry_out(&mut self, mut out: Effects) {
        let effects: Vec<Effect> = out.drain().collect();
        for effect in &effects {
            if let Effect::Write(change) = effect {
                self.write(change.clone());
            }
        }
        for effect in effects {
            match effect {
                Effect::Journal { seq, entry } => {
                    self.journal.insert(seq, entry);
                }
                Effect::TrimJournal { seqs } => self.journal.retain(|seq, _| !seqs.contains(seq)),
                Effect::Tell { conn, msg } => self.told.entry(conn).or_default().push(msg),
                Effect::Fetch(fetch) if self.slow => self.asked.push(fetch),
                Effect::Fetch(fetch) => {
                    let fetched = self.fetch(fetch);
                    self.input(Input::Fetched(fetched));
                }
                Effect::Purge { ino } => self.purges.push(ino),
                Effect::WantState(state) => self.wanted.push(state),
                Effect::Send { to, msg } | Effect::SendBulk { to, msg } => {
                    self.sent.push((to, msg));
                }
                Effect::AnswerAdmin { reply, .. } => self.answers.push(reply),
                Effect::SetTimer { timer, .. } => {
                    self.timers.insert(timer);
                }
                Effect::StopTimer(timer) => {
                    self.timers.remove(&timer);
                }
                Effect::Write(_)
                | Effect::CloseConnection { .. }
                | Effect::SyncSoon
                | Effect::Reached(_)
                | Effect::Abort { .. } => {}
            }
        }
    }

    fn write(&mut self, change: Change) {
        match change {
            Change::Put(row) => {
                self.rows.insert(row.key(), row);
            }
            Change::Delete(key) => {
                self.rows.remove(&key);
            }
            Change::DeleteFragment(id) => self.rows.retain(|key, _| match key {
                Key::Entry(entry) => entry.dir != id.ino || !id.frag.contains(entry.hash),
                Key::Dir(dir) => *dir != id,
                _ => true,
            }),
            Change::DeleteCompletedBelow(client, oldest) => self.rows.retain(
                |key, _| !matches!(key, Key::Completed(owner, id) if *owner == client && *id < oldest),
            ),
            Change::DeleteCompleted(client) => {
                self.rows.retain(|key, _| !matches!(key, Key::Completed(owner, _) if *owner == client));
            }
        }
    }

    pub(crate) fn fetch(&self, fetch: Fetch) -> Fetched {
        match fetch {
            Fetch::Entry(key) => {
                let row = self.rows.get(&Key::Entry(key.clone()));
                Fetched::Entry(
                    key,
                    row.map(|row| match row {
                        Row::Entry(_, linkage) => linkage.clone(),
                        row => panic!("{row:?} is no entry"),
                    }),
                )
            }
            Fetch::Entries { frag, after } => {
                let entries = self
                    .rows
                    .values()
                    .filter_map(|row| match row {
                        Row::Entry(key, linkage) => Some((key.clone(), linkage.clone())),
                        _ => None,
                    })
                    .filter(|(key, _)| {
                        key.dir == frag.ino && after.as_ref().is_none_or(|after| key > after)
                    })
                    .collect();
                Fetched::Entries { frag, after, entries, end: FetchEnd::Last }
            }
            Fetch::Dir(id) => Fetched::Dir(
                id,
                self.rows.get(&Key::Dir(id)).map(|row| match row {
                    Row::Dir(_, dir) => dir.clone(),
                    row => panic!("{row:?} is no directory"),
                }),
            ),
            Fetch::Inode(ino) => Fetched::Inode(
                ino,
                self.rows.get(&Key::Inode(ino)).map(|row| match row {
                    Row::Inode(_, inode) => inode.clone(),
                    row => panic!("{row:?} is no inode"),
                }),
            ),
        }
    }

    pub(crate) fn row(&self, key: &Key) -> Option<&Row> {
        self.rows.get(key)
    }

    pub(crate) fn make_durable(&mut self) {
        let through = self.mds.seq();
        self.input(Input::Durable { through });
    }

    /// Something that has nothing to do with the rest made it write its map of subtrees.
    pub(crate) fn checkpoint(&mut self) {
        let mut out = Effects::default();
        self.mds.holdings_for_test().checkpoint(&mut out);
        self.carry_out(out);
    }

    pub(crate) fn told(&mut self, conn: ConnId) -> Vec<ToClient> {
        self.told.remove(&conn).unwrap_or_default()
    }

    pub(crate) fn new_ino(&mut self, client: ClientId) -> Ino {
        let used = self.last_ino.entry(client).or_default();
        *used += 1;
        Ino(self.ranges[&client].ranges[0].first.0 + *used)
    }

    pub(crate) fn request(&mut self, op: Op) -> Request {
        self.last_id += 1;
        self.now.wall.secs += 1;
        Request {
            id: RequestId(self.last_id),
            oldest: RequestId(0),
            caller: Caller { uid: 1000, gid: 100 },
            at: self.now.wall,
            replay: None,
            op,
        }
    }

    /// Asks, and expects the answer as soon as the other client has dropped what it may have cached.
    pub(crate) fn ask(&mut self, client: ClientId, op: Op) -> Outcome {
        let request = self.request(op);
        let id = request.id;
        self.say(client, conn(client, 1), ToMds::Request(request));
        let other = if client == A { B } else { A };
        self.ack_some(other, is_of_caches);
        self.reply(client, id).expect("an answer at once").outcome
    }

    /// Acknowledges every notice to a client, and tells what they were.
    pub(crate) fn ack_notices(&mut self, client: ClientId) -> Vec<Notice> {
        self.ack_some(client, |_| true)
    }

    fn ack_some(&mut self, client: ClientId, wanted: impl Fn(&Notice) -> bool) -> Vec<Notice> {
        let conn = conn(client, 1);
        let (notices, rest): (Vec<ToClient>, Vec<ToClient>) =
            self.told(conn).into_iter().partition(|msg| match msg {
                ToClient::Notice { notice, .. } => wanted(notice),
                _ => false,
            });
        self.told.entry(conn).or_default().extend(rest);
        let mut seen = Vec::new();
        for msg in notices {
            if let ToClient::Notice { id, notice } = msg {
                self.say(client, conn, ToMds::Acked(id));
                seen.push(notice);
            }
        }
        seen
    }

    pub(crate) fn answer_fetches(&mut self) {
        self.slow = false;
        for fetch in std::mem::take(&mut self.asked) {
            let fetched = self.fetch(fetch);
            self.input(Input::Fetched(fetched));
        }
    }

    pub(crate) fn entries(&self, dir: Ino) -> Vec<Linkage> {
        let entries = self.rows.values().filter_map(|row| match row {
            Row::Entry(key, linkage) if key.dir == dir => Some(linkage.clone()),
            _ => None,
        });
        entries.collect()
    }

    pub(crate) fn journal(&self) -> impl Iterator<Item = &Entry> {
        self.journal.values()
    }

    /// The answer to a request, if it has come; keeps everything else.
    pub(crate) fn reply(&mut self, client: ClientId, id: RequestId) -> Option<Reply> {
        let told = self.told.entry(conn(client, 1)).or_default();
        let position =
            told.iter().position(|msg| matches!(msg, ToClient::Reply(reply) if reply.id == id))?;
        match told.remove(position) {
            ToClient::Reply(reply) => Some(reply),
            msg => unreachable!("{msg:?} was looked for as a reply"),
        }
    }

    pub(crate) fn create(&mut self, client: ClientId, dir: Ino, text: &str) -> Ino {
        let ino = self.new_ino(client);
        let create = Create {
            dir,
            name: name(text),
            ino,
            node: Node::File,
            mode: 0o644,
            umask: 0,
            existing: IfExists::Refuse,
        };
        match self.ask(client, Op::Create(create)) {
            Outcome::Done(Answer::Found(Found::Here(attr))) => attr.ino,
            outcome => panic!("create {text}: {outcome:?}"),
        }
    }

    pub(crate) fn mkdir(&mut self, client: ClientId, dir: Ino, text: &str) -> Ino {
        let ino = self.new_ino(client);
        let op = Op::Mkdir { dir, name: name(text), ino, mode: 0o755, umask: 0, exclusive: false };
        match self.ask(client, op) {
            Outcome::Done(Answer::Found(Found::Dir { ino, .. })) => ino,
            outcome => panic!("mkdir {text}: {outcome:?}"),
        }
    }

    pub(crate) fn rename(
        &mut self,
        client: ClientId,
        from: (Ino, &str),
        to: (Ino, &str),
    ) -> Outcome {
        self.ask(client, rename_op(from, to, RenameMode::Replace))
    }

    pub(crate) fn truncate(&mut self, client: ClientId, target: Target, size: u64) -> Outcome {
        self.ask(
            client,
            Op::Setattr { target, set: SetAttr { size: Some(size), ..SetAttr::default() } },
        )
    }
}

fn is_of_caches(notice: &Notice) -> bool {
    matches!(notice, Notice::Changed { .. } | Notice::ChangedAtHome { .. })
}

pub(crate) fn rename_op(from: (Ino, &str), to: (Ino, &str), mode: RenameMode) -> Op {
    Op::Rename(Rename {
        from_dir: from.0,
        from: name(from.1),
        to_dir: to.0,
        to: name(to.1),
        mode,
        from_rank: Rank(0),
    })
}

pub(crate) fn conn(client: ClientId, number: u64) -> ConnId {
    ConnId(client.0 * 1000 + number)
}

pub(crate) fn in_entry(ino: Ino, dir: Ino, text: &str) -> Target {
    Target { ino, place: Place::Entry { dir, name: name(text) } }
}
