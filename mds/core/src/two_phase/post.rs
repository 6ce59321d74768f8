//! `Post`: what an operation of several ranks says, to others and to this rank itself, and what it
//! leaves for requests to go on with.

use std::collections::{BTreeMap, VecDeque};

use common::id::{Rank, Seq};

use crate::cx::{Cx, Stop, Wait};
use crate::effect::Effect;
use crate::journal::entry::Entry;
use crate::message::two_phase::TwoPhaseMsg;
use crate::request::{Done, Parked};

#[derive(Clone, Debug, Default, Hash)]
pub struct Post {
    /// From this rank to itself: it takes part in what it coordinates.
    to_self: VecDeque<TwoPhaseMsg>,
    /// Entries to be dropped when a position is durable.
    trims: BTreeMap<Seq, Vec<Seq>>,
    ended: Vec<Ended>,
    woken: Vec<Wait>,
}

/// What becomes of a request that was handed over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ended {
    Done {
        parked: Parked,
        applied: Option<Seq>,
        done: Done,
    },
    Stopped {
        parked: Parked,
        stop: Stop,
    },
    /// What was in the way is gone.
    Again {
        parked: Parked,
    },
}

impl Post {
    pub fn send(&mut self, cx: &mut Cx<'_>, to: Rank, msg: TwoPhaseMsg) {
        if to == cx.me() {
            self.to_self.push_back(msg);
        } else {
            cx.out.send(to, msg);
        }
    }

    pub fn next_to_self(&mut self) -> Option<TwoPhaseMsg> {
        self.to_self.pop_front()
    }

    /// Records a fact that somebody waits for.
    pub fn journal(&mut self, cx: &mut Cx<'_>, entry: Entry) -> Seq {
        let seq = cx.own.advance();
        cx.out.push(Effect::Journal { seq, entry });
        cx.out.push(Effect::SyncSoon);
        seq
    }

    /// When everything up to `durable` is, recovery needs these no more.
    pub fn trim(&mut self, durable: Seq, seqs: Vec<Seq>) {
        self.trims.entry(durable).or_default().extend(seqs);
    }

    pub fn on_durable(&mut self, cx: &mut Cx<'_>, through: Seq) {
        let later = self.trims.split_off(&through.next());
        let seqs: Vec<Seq> =
            std::mem::replace(&mut self.trims, later).into_values().flatten().collect();
        if !seqs.is_empty() {
            cx.out.push(Effect::TrimJournal { seqs });
        }
    }

    pub fn end(&mut self, ended: Ended) {
        self.ended.push(ended);
    }

    pub fn wake(&mut self, wait: Wait) {
        self.woken.push(wait);
    }

    /// What requests have to be told, in order.
    #[must_use]
    pub fn take(&mut self) -> (Vec<Ended>, Vec<Wait>) {
        (std::mem::take(&mut self.ended), std::mem::take(&mut self.woken))
    }
}
