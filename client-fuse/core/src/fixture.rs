//! A client among scripted ranks, for tests.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use common::attr::{Attr, FileKind, Times};
use common::error::FsError;
use common::id::{
    ClientId, ClusterId, DirFragId, Epoch, Incarnation, Ino, InoRange, MapEpoch, NoticeId, Rank,
    RequestId, Seq, Slot,
};
use common::mds_map::{MdsMap, RankEntry, RankState, Switch};
use common::name::{Name, NameHashKey};
use common::time::{Monotonic, Now, Timestamp};
use common::wire::reply::{Answer, Found, Outcome, Promise, Reply, Route};
use common::wire::request::{Caller, Op, Request};
use common::wire::session::{Notice, Opened, SessionAge, ToClient, ToMds};

use crate::client_core::{ClientCore, Params};
use crate::effect::{Done, Effect, Effects};
use crate::input::{Call, CallId, Input, LinkEnd, LinkId, References, Signal};
use crate::timer::Timer;

pub(crate) const R0: Rank = Rank(0);
pub(crate) const R1: Rank = Rank(1);
pub(crate) const R2: Rank = Rank(2);

pub(crate) fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

pub(crate) fn attr(ino: u64, kind: FileKind) -> Attr {
    Attr {
        ino: Ino(ino),
        kind,
        mode: 0o644,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        size: 0,
        times: Times::default(),
    }
}

pub(crate) fn file(ino: u64) -> Attr {
    attr(ino, FileKind::File)
}

pub(crate) fn here(ino: u64) -> Outcome {
    Outcome::Done(Answer::Found(Found::Here(file(ino))))
}

/// A directory whose authority answers.
pub(crate) fn dir_here(ino: u64, rank: Rank) -> Outcome {
    let attr = Some(attr(ino, FileKind::Dir));
    Outcome::Done(Answer::Found(Found::Dir { ino: Ino(ino), rank, attr }))
}

pub(crate) fn redirect(base: u64, rank: Rank, epoch: u64) -> Outcome {
    let base = DirFragId::whole(Ino(base));
    Outcome::Redirect(Route { base, rank, epoch: Epoch(epoch) })
}

/// The number a slot begins to lend: far above those that tests make up.
pub(crate) fn lent(rank: Rank) -> InoRange {
    let slot = Slot(rank.0);
    InoRange { first: Ino::new(slot, 0x1000), last: Ino::new(slot, 0x1fff) }
}

pub(crate) struct Fixture {
    pub(crate) core: ClientCore,
    pub(crate) map: MdsMap,
    pub(crate) now: Now,
    last_call: u64,
    /// What is yet to be looked at.
    pub(crate) sent: Vec<(Rank, ToMds)>,
    answers: BTreeMap<CallId, Result<Done, FsError>>,
    pub(crate) timers: BTreeMap<Timer, Monotonic>,
    /// Names the kernel was told to let go of.
    pub(crate) dropped: Vec<(Ino, Name)>,
    pub(crate) lost: Vec<RequestId>,
    /// With every reply.
    pub(crate) promise: Promise,
    links: BTreeMap<LinkId, Rank>,
    /// Newest link of each rank.
    pub(crate) link: BTreeMap<Rank, LinkId>,
    /// What ranks say of sessions that are opened.
    pub(crate) session_age: SessionAge,
    pub(crate) begun: Seq,
    /// What ranks say of when they carried something out.
    pub(crate) carried_out_after: NoticeId,
}

impl Fixture {
    /// Three ranks, all active, and the sessions with them open by themselves when wanted.
    pub(crate) fn new() -> Self {
        let entry = |rank: u16| RankEntry {
            daemon: format!("mds{rank}"),
            incarnation: Incarnation(1),
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 7000 + rank)),
            state: RankState::Active,
        };
        let map = MdsMap {
            epoch: MapEpoch(1),
            cluster: ClusterId(7),
            name_hash_key: NameHashKey(1, 2),
            ranks: (0..3).map(|rank| (Rank(rank), entry(rank))).collect(),
            slots: (0..3).map(|rank| (Slot(rank), Rank(rank))).collect(),
            data_stores: Vec::new(),
            balancer: Switch::Off,
            lost: std::collections::BTreeSet::new(),
        };
        let mut fixture = Self {
            core: ClientCore::new(Params { client: ClientId(9), nowsync: true }),
            map: map.clone(),
            now: Now { monotonic: Monotonic(0), wall: Timestamp::from_secs(100) },
            last_call: 0,
            sent: Vec::new(),
            answers: BTreeMap::new(),
            timers: BTreeMap::new(),
            dropped: Vec::new(),
            lost: Vec::new(),
            promise: Promise::None,
            links: BTreeMap::new(),
            link: BTreeMap::new(),
            session_age: SessionAge::Resumed,
            begun: Seq(0),
            carried_out_after: NoticeId(u64::MAX),
        };
        fixture.input(Input::Map(map));
        fixture
    }

    /// Hands an input over and keeps what comes of it.
    pub(crate) fn input(&mut self, input: Input) {
        let mut out = Effects::default();
        self.core.handle(self.now, input, &mut out);
        let mut connecting = Vec::new();
        for effect in out.drain() {
            match effect {
                Effect::Connect { link, rank, .. } => {
                    self.links.insert(link, rank);
                    self.link.insert(rank, link);
                    connecting.push(link);
                }
                Effect::Disconnect { link } => {
                    self.links.remove(&link);
                }
                Effect::Send { link, message } => {
                    if let Some(rank) = self.links.get(&link) {
                        self.sent.push((*rank, message));
                    }
                }
                Effect::Answer { call, result, .. } => {
                    assert_eq!(self.answers.insert(call, result), None, "one answer to a call");
                }
                Effect::SetTimer { timer, at } => {
                    self.timers.insert(timer, at);
                }
                Effect::StopTimer(timer) => {
                    self.timers.remove(&timer);
                }
                Effect::DropName { dir, name } => self.dropped.push((dir, name)),
                Effect::Lost { change } => self.lost.push(change),
                Effect::Invalidate { .. }
                | Effect::DropCaches { .. }
                | Effect::Forgotten { .. } => {}
            }
        }
        for link in connecting {
            self.open(link);
        }
    }

    fn open(&mut self, link: LinkId) {
        let Some(rank) = self.links.get(&link).copied() else { return };
        if self.map.incarnation(rank).is_none() {
            return;
        }
        self.input(Input::Connected { link });
        let opened = Opened {
            session: self.session_age,
            begun: self.begun,
            lease: common::limit::LEASE,
            ranges: vec![lent(rank)],
            durable: Seq(0),
            map_epoch: self.map.epoch,
        };
        self.tell(rank, ToClient::Opened(opened));
    }

    pub(crate) fn tell(&mut self, rank: Rank, message: ToClient) {
        let link = self.link[&rank];
        self.input(Input::FromMds { link, message });
    }

    pub(crate) fn notice(&mut self, rank: Rank, id: u64, notice: Notice) {
        self.tell(rank, ToClient::Notice { id: NoticeId(id), notice });
    }

    pub(crate) fn call(&mut self, call: Call) -> CallId {
        self.last_call += 1;
        let id = CallId(self.last_call);
        self.input(Input::Call { id, caller: Caller::default(), call });
        id
    }

    pub(crate) fn refer(&mut self, change: References) {
        self.input(Input::References(change));
    }

    pub(crate) fn cancel(&mut self, id: CallId, signal: Signal) {
        self.input(Input::Cancel { id, signal });
    }

    /// The oldest request that was sent and not yet looked at.
    #[track_caller]
    pub(crate) fn request(&mut self) -> (Rank, Request) {
        let at = self
            .sent
            .iter()
            .position(|(_, message)| matches!(message, ToMds::Request(_)))
            .expect("a request was sent");
        match self.sent.remove(at) {
            (rank, ToMds::Request(request)) => (rank, request),
            _ => unreachable!(),
        }
    }

    /// Expects a request at `rank` and answers it.
    #[track_caller]
    pub(crate) fn serve(&mut self, rank: Rank, outcome: Outcome) -> Request {
        let (at, request) = self.request();
        assert_eq!(at, rank, "{request:?}");
        self.reply(rank, request.id, None, outcome);
        request
    }

    /// The same, for a change that is applied but not durable.
    #[track_caller]
    pub(crate) fn apply(&mut self, rank: Rank, seq: u64, outcome: Outcome) -> Request {
        let (at, request) = self.request();
        assert_eq!(at, rank, "{request:?}");
        self.reply(rank, request.id, Some(Seq(seq)), outcome);
        request
    }

    pub(crate) fn reply(
        &mut self,
        rank: Rank,
        id: RequestId,
        applied: Option<Seq>,
        outcome: Outcome,
    ) {
        let map_epoch = self.map.epoch;
        self.tell(
            rank,
            ToClient::Reply(Reply {
                id,
                applied,
                map_epoch,
                outcome,
                promise: self.promise,
                after: self.carried_out_after,
            }),
        );
    }

    #[track_caller]
    pub(crate) fn answer(&mut self, call: CallId) -> Result<Done, FsError> {
        self.answers.remove(&call).expect("the call was answered")
    }

    #[track_caller]
    pub(crate) fn assert_waiting(&self, call: CallId) {
        assert_eq!(self.answers.get(&call), None);
    }

    #[track_caller]
    pub(crate) fn assert_nothing_sent(&self) {
        assert_eq!(self.sent, []);
    }

    /// Lets time pass; what falls due happens in order.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now.monotonic.after(time);
        while let Some((timer, at)) = self.next_timer().filter(|(_, at)| *at <= until) {
            self.timers.remove(&timer);
            self.now.monotonic = self.now.monotonic.max(at);
            self.input(Input::Timer(timer));
        }
        self.now.monotonic = until;
    }

    fn next_timer(&self) -> Option<(Timer, Monotonic)> {
        self.timers.iter().map(|(timer, at)| (*timer, *at)).min_by_key(|(_, at)| *at)
    }

    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.timers.contains_key(&timer)
    }

    pub(crate) fn change_map(&mut self, change: impl FnOnce(&mut MdsMap)) {
        change(&mut self.map);
        self.map.epoch.0 += 1;
        self.input(Input::Map(self.map.clone()));
    }

    /// The process that held the rank is dead, and the monitor has noticed.
    pub(crate) fn kill(&mut self, rank: Rank) {
        self.change_map(|map| map.ranks.get_mut(&rank).unwrap().state = RankState::Down);
        self.sent.retain(|(at, _)| *at != rank);
    }

    /// Another process holds it.
    pub(crate) fn restart(&mut self, rank: Rank) {
        self.change_map(|map| {
            let entry = map.ranks.get_mut(&rank).unwrap();
            entry.state = RankState::Reconnect;
            entry.incarnation.0 += 1;
        });
    }

    /// The connection breaks; the process lives. What was on its way is lost.
    pub(crate) fn break_link(&mut self, rank: Rank) {
        let link = self.link[&rank];
        self.links.remove(&link);
        self.sent.retain(|(at, _)| *at != rank);
        self.input(Input::Disconnected { link, end: LinkEnd::Broken });
    }

    /// Looks a name up, at a rank that knows it. Leaves nothing to be looked at.
    #[track_caller]
    pub(crate) fn look_up(&mut self, dir: u64, text: &str, rank: Rank, outcome: Outcome) {
        let call = self.call(Call::Lookup { dir: Ino(dir), name: name(text) });
        self.serve(rank, outcome);
        assert!(matches!(self.answer(call), Ok(Done::Entry(_))));
        self.sent.clear();
    }

    /// Makes a file in a directory that others use as well; the change is not durable.
    #[track_caller]
    pub(crate) fn make(&mut self, text: &str, ino: u64, seq: u64) -> Request {
        let call = self.call(create(1, text));
        let request = self.apply(R0, seq, here(ino));
        assert!(matches!(self.answer(call), Ok(Done::Entry(_))));
        if self.sent.iter().any(|(_, message)| matches!(message, ToMds::Request(_))) {
            let (_, asked) = self.request();
            assert!(matches!(asked.op, Op::Hold { .. }), "{:?}", asked.op);
            self.reply(R0, asked.id, None, Outcome::Done(Answer::NotHeld));
        }
        self.sent.clear();
        request
    }
}

pub(crate) fn create(dir: u64, text: &str) -> Call {
    use common::wire::request::{IfExists, Node};
    Call::Create {
        dir: Ino(dir),
        name: name(text),
        node: Node::File,
        mode: 0o666,
        umask: 0o022,
        existing: IfExists::Refuse,
    }
}
