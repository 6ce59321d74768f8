//! `RankNode`: one rank as the explorer sees it - the real [`Mds`] and its store - and what one local
//! event makes of it. A pure function, so each step is computed once, in however many worlds it
//! happens.
//!
//! A turn is one input. Its batch is written at once (`live`); it survives power loss from the next
//! sync on (`durable`), which is an event of its own. There is no clock: timers are set or not.

use std::collections::BTreeSet;

use common::id::{Incarnation, Rank};
use common::mds_map::{MdsMap, RankState};
use common::time::{Monotonic, Now, Timestamp};
use common::wire::admin::{AdminReply, AdminRequest};
use common::wire::session::{ToClient, ToMds};
use mds_core::input::{AdminId, ConnId, Fetch};
use mds_core::journal::entry::Entry;
use mds_core::message::PeerMsg;
use mds_core::timer::Timer;
use mds_core::{Effect, Effects, Input, Mds, Params};

use crate::sim::disk::{Batch, Disk, Step};

/// The moment at which everything happens.
pub const NOW: Now =
    Now { monotonic: Monotonic(1_000_000_000), wall: Timestamp { secs: 1_700_000_000, nanos: 0 } };

#[derive(Clone, Debug, Hash)]
pub struct RankNode {
    pub rank: Rank,
    /// Of the process, or of the last one.
    pub incarnation: Incarnation,
    pub disk: Disk,
    pub process: Option<Process>,
}

#[derive(Clone, Debug, Hash)]
pub struct Process {
    pub mds: Mds,
    /// What the transport knows: whom a message is for.
    pub map: MdsMap,
    pub timers: BTreeSet<Timer>,
    /// The stage of life it asks the monitor for.
    pub wanted: RankState,
    /// Questions to the store that are not answered yet.
    pub fetches: Vec<Fetch>,
    /// Somebody waits until what was written is durable.
    pub sync_awaited: bool,
}

/// Something that happens to one rank.
#[derive(Clone, Debug)]
pub enum Local {
    Input(Box<Input>),
    /// What was written becomes durable.
    Sync,
    /// The store answers a question.
    Fetched(usize),
    /// The process is gone; of what was not synced, so many batches survive.
    Die {
        kept: usize,
    },
    /// The next process, told this map; its first sync has ended.
    Start(Box<(Params, MdsMap)>),
}

/// What comes of it outside the rank.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Out {
    Send {
        to: Rank,
        life: Incarnation,
        lane: Lane,
        msg: PeerMsg,
    },
    /// To the client.
    Tell(Letter),
}

/// What can be said, to whomever.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Letter {
    Peer(PeerMsg),
    ToMds(ConnId, ToMds),
    /// The client has ended a connection, or it broke.
    Gone(ConnId),
    ToClient(ConnId, ToClient),
    /// The rank has ended a connection.
    Closed(ConnId),
    /// The rank is dead, and every connection to it broken.
    Broken,
}

/// Bulk messages and others do not wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    Ordered,
    Bulk,
}

impl RankNode {
    #[must_use]
    pub fn new(rank: Rank, disk: Disk) -> Self {
        Self { rank, incarnation: Incarnation(0), disk, process: None }
    }

    /// One local event. Transitions that the journal records for people go to `log`.
    pub fn step(&mut self, local: Local, slow_store: bool, log: &mut Vec<String>) -> Vec<Out> {
        let mut outs = Vec::new();
        match local {
            Local::Input(input) => self.turn(*input, &mut outs, log),
            Local::Sync => {
                self.sync(&mut outs, log);
            }
            Local::Fetched(index) => {
                let fetch = self.running().fetches.remove(index);
                let found = self.disk.fetch(&fetch);
                self.turn(Input::Fetched(found), &mut outs, log);
            }
            Local::Die { kept } => {
                self.process = None;
                outs.push(Out::Tell(Letter::Broken));
                self.disk.lose_power_but_for(kept);
            }
            Local::Start(with) => self.start(*with, &mut outs, log),
        }
        while !slow_store && self.process.as_ref().is_some_and(|it| !it.fetches.is_empty()) {
            let fetch = self.running().fetches.remove(0);
            let found = self.disk.fetch(&fetch);
            self.turn(Input::Fetched(found), &mut outs, log);
        }
        outs
    }

    fn running(&mut self) -> &mut Process {
        self.process.as_mut().expect("only the living do something")
    }

    fn start(
        &mut self,
        (params, map): (Params, MdsMap),
        outs: &mut Vec<Out>,
        log: &mut Vec<String>,
    ) {
        self.incarnation = params.incarnation;
        self.disk.reopen();
        let mut out = Effects::default();
        let mds = Mds::new(params, self.disk.restore(), NOW, &mut out);
        self.process = Some(Process {
            mds,
            map: map.clone(),
            timers: BTreeSet::new(),
            wanted: RankState::Replay,
            fetches: Vec::new(),
            sync_awaited: false,
        });
        self.carry_out(out, outs, log);
        self.turn(Input::Map(map), outs, log);
        self.sync(outs, log);
    }

    fn sync(&mut self, outs: &mut Vec<Out>, log: &mut Vec<String>) {
        self.running().sync_awaited = false;
        if let Some(through) = self.disk.written() {
            self.disk.synced(through);
            self.turn(Input::Durable { through }, outs, log);
        }
    }

    fn turn(&mut self, input: Input, outs: &mut Vec<Out>, log: &mut Vec<String>) {
        let process = self.running();
        match &input {
            Input::Map(map) => process.map = map.clone(),
            Input::Timer(timer) => {
                process.timers.remove(timer);
            }
            _ => {}
        }
        let mut out = Effects::default();
        process.mds.handle(NOW, input, &mut out);
        self.carry_out(out, outs, log);
    }

    /// The batch first, then the rest.
    fn carry_out(&mut self, mut out: Effects, outs: &mut Vec<Out>, log: &mut Vec<String>) {
        let mut batch = Batch::default();
        let mut purged = Vec::new();
        let mut awaited = false;
        for effect in out.drain() {
            match effect {
                Effect::Write(change) => batch.steps.push(Step::Change(change)),
                Effect::Journal { entry: Entry::Step(step), .. } => {
                    // For people: recovery ignores them.
                    log.push(format!("{:?} {} -> {}", step.role, step.from, step.to));
                }
                Effect::Journal { seq, entry } => batch.steps.push(Step::Journal(seq, entry)),
                Effect::TrimJournal { seqs } => batch.steps.push(Step::TrimJournal(seqs)),
                Effect::Purge { ino } => purged.push(ino),
                Effect::SyncSoon => awaited = true,
                effect => self.carry_out_rest(effect, outs),
            }
        }
        if !batch.steps.is_empty() {
            batch.applied = self.running().mds.seq();
            self.disk.write(batch);
        }
        // What is awaited may have been written before.
        self.running().sync_awaited |= awaited && self.disk.unsynced() > 0;
        for ino in purged {
            self.turn(Input::Purged { ino }, outs, log);
        }
    }

    fn carry_out_rest(&mut self, effect: Effect, outs: &mut Vec<Out>) {
        let process = self.process.as_mut().expect("it has just taken a turn");
        let mut send = |to, lane, msg| {
            if let Some(life) = process.map.incarnation(to) {
                outs.push(Out::Send { to, life, lane, msg });
            }
        };
        match effect {
            Effect::Send { to, msg } => send(to, Lane::Ordered, msg),
            Effect::SendBulk { to, msg } => send(to, Lane::Bulk, msg),
            Effect::Tell { conn, msg } => outs.push(Out::Tell(Letter::ToClient(conn, msg))),
            Effect::CloseConnection { conn } => outs.push(Out::Tell(Letter::Closed(conn))),
            Effect::Fetch(fetch) => process.fetches.push(fetch),
            Effect::SetTimer { timer, .. } => {
                process.timers.insert(timer);
            }
            Effect::StopTimer(timer) => {
                process.timers.remove(&timer);
            }
            Effect::WantState(state) => process.wanted = state,
            Effect::AnswerAdmin { .. } | Effect::Reached(_) => {}
            Effect::Abort { reason } => panic!("the rank ends itself: {reason}"),
            Effect::Write(_)
            | Effect::Journal { .. }
            | Effect::TrimJournal { .. }
            | Effect::SyncSoon
            | Effect::Purge { .. } => unreachable!("part of the batch, or after it"),
        }
    }

    /// Asks as an operator would, and leaves no trace of it.
    #[must_use]
    pub fn question(&self, request: AdminRequest) -> Option<AdminReply> {
        let mut mds = self.process.as_ref()?.mds.clone();
        let mut out = Effects::default();
        mds.handle(NOW, Input::Admin { id: AdminId(0), request }, &mut out);
        out.drain().find_map(|effect| match effect {
            Effect::AnswerAdmin { reply, .. } => Some(reply),
            _ => None,
        })
    }
}
