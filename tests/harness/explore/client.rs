//! `ClientNode`: one client as the explorer sees it - the real [`ClientCore`], its connections and
//! what it was answered. It has no clock either.

use std::collections::{BTreeMap, BTreeSet};

use client_core::{
    Call, CallId, ClientCore, Done, Effect, Effects, Input, LinkEnd, LinkId, Params, Timer,
};
use common::error::FsError;
use common::id::{ClientId, Incarnation, MapEpoch, Rank};
use common::mds_map::MdsMap;
use common::wire::request::Caller;
use mds_core::input::ConnId;

use super::rank::{Letter, NOW};

pub const CLIENT: ClientId = ClientId(7);

#[derive(Clone, Debug, Hash)]
pub struct ClientNode {
    core: ClientCore,
    pub map_epoch: MapEpoch,
    links: BTreeMap<LinkId, Life>,
    /// Those that do not stand yet, the oldest first.
    connecting: Vec<LinkId>,
    pub timers: BTreeSet<Timer>,
    pub calls: u64,
    pub answers: BTreeMap<CallId, Result<Done, FsError>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Life {
    pub rank: Rank,
    pub incarnation: Incarnation,
}

/// Something that happens to the client.
#[derive(Clone, Debug)]
pub enum Local {
    Call(Box<Call>),
    Map(Box<MdsMap>),
    Letter(Life, Letter),
    /// What it asked for first is made, or refused.
    Connect(bool),
    Timer(Timer),
}

/// What it sends.
#[derive(Clone, Debug)]
pub struct Out {
    pub to: Life,
    pub letter: Letter,
}

impl Default for ClientNode {
    fn default() -> Self {
        Self {
            core: ClientCore::new(Params { client: CLIENT, nowsync: false }),
            map_epoch: MapEpoch(0),
            links: BTreeMap::new(),
            connecting: Vec::new(),
            timers: BTreeSet::new(),
            calls: 0,
            answers: BTreeMap::new(),
        }
    }
}

impl ClientNode {
    /// The life that the next connection is for.
    #[must_use]
    pub fn connects_to(&self) -> Option<Life> {
        self.connecting.first().map(|link| self.links[link])
    }

    #[must_use]
    pub fn map(&self) -> Option<&MdsMap> {
        self.core.map()
    }

    pub fn step(&mut self, local: Local) -> Vec<Out> {
        let mut outs = Vec::new();
        match local {
            Local::Call(call) => {
                self.calls += 1;
                let caller = Caller { uid: 0, gid: 0 };
                self.turn(Input::Call { id: CallId(self.calls), caller, call: *call }, &mut outs);
            }
            Local::Map(map) => {
                self.map_epoch = map.epoch;
                self.turn(Input::Map(*map), &mut outs);
            }
            Local::Letter(from, letter) => self.read(from, letter, &mut outs),
            Local::Connect(made) => {
                let link = self.connecting.remove(0);
                if made {
                    self.turn(Input::Connected { link }, &mut outs);
                } else {
                    self.lose(link, &mut outs);
                }
            }
            Local::Timer(timer) => {
                self.timers.remove(&timer);
                self.turn(Input::Timer(timer), &mut outs);
            }
        }
        outs
    }

    fn read(&mut self, from: Life, letter: Letter, outs: &mut Vec<Out>) {
        match letter {
            Letter::ToClient(ConnId(link), message) => {
                let link = LinkId(link);
                if self.links.contains_key(&link) {
                    self.turn(Input::FromMds { link, message }, outs);
                }
            }
            Letter::Closed(ConnId(link)) => self.lose(LinkId(link), outs),
            Letter::Broken => {
                let broken = self
                    .links
                    .iter()
                    .filter(|(link, life)| **life == from && !self.connecting.contains(link));
                let broken: Vec<LinkId> = broken.map(|(link, _)| *link).collect();
                for link in broken {
                    self.lose(link, outs);
                }
            }
            Letter::Peer(_) | Letter::ToMds(..) | Letter::Gone(_) => {
                unreachable!("said to ranks")
            }
        }
    }

    fn lose(&mut self, link: LinkId, outs: &mut Vec<Out>) {
        if self.links.remove(&link).is_some() {
            self.turn(Input::Disconnected { link, end: LinkEnd::Broken }, outs);
        }
    }

    fn turn(&mut self, input: Input, outs: &mut Vec<Out>) {
        let mut out = Effects::default();
        self.core.handle(NOW, input, &mut out);
        for effect in out.drain() {
            match effect {
                Effect::Connect { link, rank, incarnation, .. } => {
                    self.links.insert(link, Life { rank, incarnation });
                    self.connecting.push(link);
                }
                Effect::Disconnect { link } => {
                    self.connecting.retain(|other| *other != link);
                    if let Some(to) = self.links.remove(&link) {
                        outs.push(Out { to, letter: Letter::Gone(ConnId(link.0)) });
                    }
                }
                Effect::Send { link, message } => {
                    if let Some(to) = self.links.get(&link) {
                        let letter = Letter::ToMds(ConnId(link.0), message);
                        outs.push(Out { to: *to, letter });
                    }
                }
                Effect::Answer { call, result, .. } => {
                    let before = self.answers.insert(call, result);
                    assert!(before.is_none(), "one answer");
                }
                Effect::SetTimer { timer, .. } => {
                    self.timers.insert(timer);
                }
                Effect::StopTimer(timer) => {
                    self.timers.remove(&timer);
                }
                // A kernel that keeps nothing.
                Effect::Invalidate { id, .. } => self.turn(Input::Invalidated { id }, outs),
                Effect::DropCaches { .. }
                | Effect::DropName { .. }
                | Effect::Forgotten { .. }
                | Effect::Lost { .. } => {}
            }
        }
    }
}
