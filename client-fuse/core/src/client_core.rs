//! `ClientCore`: owns the parts, and hands each input to the part it concerns.

use std::collections::BTreeSet;

use common::id::{ClientId, Ino, Rank, RequestId};
use common::mds_map::MdsMap;
use common::time::Now;
use common::wire::reply::{Answer, Found};
use common::wire::request::{Op, Place, Target};
use common::wire::session::{Opened, SessionAge, ToClient, ToMds};

use crate::atlas::Atlas;
use crate::call::{CallTable, file_lock};
use crate::cx::Cx;
use crate::effect::{Effect, Effects};
use crate::exclusive::Exclusives;
use crate::give_back::{GiveBack, Whereabouts, note_lost_locks, on_references, release_if_unused};
use crate::input::{Input, LinkEnd, LinkId};
use crate::invalidation::Invalidations;
use crate::number::NumberPool;
use crate::pending::{Finished, Owner, Pending};
use crate::session::{Continuity, SessionTable};
use crate::timer::Timer;

mod notice;

/// Claims in one message.
const CLAIMS_MAX: usize = 1024;

/// What is decided when the file system is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Params {
    /// Chosen at random; no other mount has it.
    pub client: ClientId,
    /// Whether changes may be answered before a rank has made them, where nobody else can see that.
    pub nowsync: bool,
}

/// One mount's view of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientCore {
    atlas: Atlas,
    sessions: SessionTable,
    numbers: NumberPool,
    pending: Pending,
    calls: CallTable,
    give_back: GiveBack,
    invalidations: Invalidations,
}

/// Splits the core into what bringing requests to their answers may touch, and the rest.
macro_rules! cx {
    ($core:ident, $now:expr, $out:expr) => {
        &mut Cx {
            now: $now,
            atlas: &mut $core.atlas,
            sessions: &mut $core.sessions,
            numbers: &mut $core.numbers,
            out: $out,
        }
    };
}

impl ClientCore {
    #[must_use]
    pub fn new(params: Params) -> Self {
        Self {
            atlas: Atlas { exclusives: Exclusives::new(params.nowsync), ..Atlas::default() },
            sessions: SessionTable::new(params.client),
            numbers: NumberPool::default(),
            pending: Pending::default(),
            calls: CallTable::default(),
            give_back: GiveBack::default(),
            invalidations: Invalidations::default(),
        }
    }

    /// The only way in. Same state, same `now`, same input: same effects.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Effects) {
        match input {
            Input::Call { id, caller, call } => {
                let cx = cx!(self, now, out);
                self.calls.begin(id, (caller, call), &mut self.pending, cx);
            }
            Input::References(change) => {
                let (pending, give_back) = (&mut self.pending, &mut self.give_back);
                on_references(change, give_back, pending, cx!(self, now, out));
            }
            Input::Cancel { id, signal } => {
                let cx = cx!(self, now, out);
                self.calls.cancel(id, signal, &mut self.pending, &mut self.give_back, cx);
            }
            Input::Connected { link } => {
                self.sessions.on_connected(link, self.pending.oldest(), now, out);
            }
            Input::Disconnected { link, end } => self.on_disconnected(link, end, now, out),
            Input::FromMds { link, message } => self.on_message(link, message, now, out),
            Input::Invalidated { id } => {
                if let Some((link, notice)) = self.invalidations.on_done(id, out)
                    && self.sessions.rank_at(link).is_some()
                {
                    out.send(link, ToMds::Acked(notice));
                }
            }
            Input::Map(map) => self.on_map(map, now, out),
            Input::Timer(timer) => self.on_timer(timer, now, out),
            Input::Close => self.sessions.close(out),
        }
        self.settle(now, out);
        self.invalidations.hold_back(out);
    }

    /// The map by which ranks are found. None before the first.
    #[must_use]
    pub fn map(&self) -> Option<&MdsMap> {
        self.atlas.map.as_ref()
    }

    /// Changes that were answered and that a rank may still lose with its power, in the order in which it
    /// has made them.
    pub fn at_risk(&self, rank: Rank) -> impl Iterator<Item = RequestId> + '_ {
        self.pending.at_risk(rank)
    }

    /// Changes that were answered and of which no rank has said that they are made.
    pub fn unmade(&self) -> impl Iterator<Item = RequestId> + '_ {
        self.pending.answered_unmade()
    }

    fn on_message(&mut self, link: LinkId, message: ToClient, now: Now, out: &mut Effects) {
        let Some(rank) = self.sessions.rank_at(link) else { return };
        match message {
            ToClient::Opened(opened) => self.on_opened(rank, link, &opened, now, out),
            ToClient::Reply(reply) => {
                self.pending.on_reply(rank, reply, cx!(self, now, out));
            }
            ToClient::Renewed { more, .. } => {
                self.sessions.on_renewed(rank, now, out);
                if let Some(range) = more {
                    self.numbers.add(rank, range);
                }
                self.pending.on_numbers(rank, cx!(self, now, out));
            }
            ToClient::Notice { id, notice } => {
                self.on_notice((rank, link), (id, &notice), now, out)
            }
            ToClient::Durable { through } => self.pending.on_durable(rank, through),
            ToClient::Route(route) => {
                let to = route.rank;
                self.atlas.routes.told(route);
                self.pending.authority_moved();
                // What we hold there came without us: it is given up unless we come.
                let _it_will_open = self.sessions.want(to, self.atlas.map.as_ref(), out);
            }
            ToClient::NotHeld { target, latest } => {
                self.give_back.is_not_held(&target, latest, &self.pending, cx!(self, now, out));
            }
            ToClient::NotLocked { ino, locks } => {
                self.atlas.locks.lost(ino, &locks);
                note_lost_locks(ino, locks.len());
            }
            ToClient::Evicted => {
                if let Some(rank) = self.sessions.on_evicted(link, now, out) {
                    self.on_evicted(rank, now, out);
                }
            }
        }
    }

    /// Claims come first, then what may be lost, then everything else.
    fn on_opened(
        &mut self,
        rank: Rank,
        link: LinkId,
        opened: &Opened,
        now: Now,
        out: &mut Effects,
    ) {
        let first = self.sessions.is_first(rank);
        match self.sessions.on_opened(link, opened.begun, now, out) {
            None => return,
            Some(Continuity::Kept) => {}
            Some(Continuity::Broken) => self.on_evicted(rank, now, out),
        }
        if self.sessions.is_new_life(rank) {
            self.pending.forget_copies(rank);
        }
        for range in &opened.ranges {
            self.numbers.add(rank, *range);
        }
        self.atlas.inodes.forget_moves();
        if self.sessions.is_new_life(rank) || (first && opened.session == SessionAge::Resumed) {
            // It does not know what an earlier life has told us, nor, if it has what another rank had, what
            // that one has; and waits for this.
            self.drop_caches(now, out);
        }
        let claims = GiveBack::claims(rank, &self.atlas, &self.pending);
        for pins in claims.chunks(CLAIMS_MAX) {
            out.send(link, ToMds::Claim { pins: pins.to_vec() });
        }
        let held: BTreeSet<Ino> =
            self.atlas.exclusives.dirs().chain(self.pending.unmade_dirs()).collect();
        let held: Vec<Ino> = held.into_iter().collect();
        for dirs in held.chunks(CLAIMS_MAX) {
            out.send(link, ToMds::ClaimExclusive { dirs: dirs.to_vec() });
        }
        out.send(link, ToMds::ClaimsDone);
        self.pending.has_claimed(rank);
        self.pending.replay(rank, link, cx!(self, now, out));
        out.send(link, ToMds::ReplayDone);
        self.pending.on_open(rank, cx!(self, now, out));
        for (from, notice) in self.sessions.take_expected(rank) {
            if let Some(link) = self.sessions.open_link(from) {
                out.send(link, ToMds::Acked(notice));
            }
        }
    }

    fn drop_caches(&mut self, now: Now, out: &mut Effects) {
        let inodes = self.atlas.capabilities.drop_all(now.monotonic);
        if !inodes.is_empty() {
            out.push(Effect::DropCaches { inodes });
        }
    }

    fn on_disconnected(&mut self, link: LinkId, end: LinkEnd, now: Now, out: &mut Effects) {
        let Some(rank) = self.sessions.on_disconnected(link, end, now, out) else { return };
        match end {
            LinkEnd::Broken => self.pending.on_lost(rank),
            LinkEnd::Evicted => self.on_evicted(rank, now, out),
        }
    }

    /// The rank has ended the session, and with it forgotten what it did for us: nothing that it may
    /// have done already is sent again. What it has lent is not ours any more; what we refer to is
    /// claimed anew.
    fn on_evicted(&mut self, rank: Rank, now: Now, out: &mut Effects) {
        // Nobody tells us any more what changes.
        self.atlas.exclusives.drop_all();
        self.drop_caches(now, out);
        self.pending.forget_copies(rank);
        let lost = self.pending.on_evicted(rank);
        self.numbers.drop_rank(rank);
        self.calls.note_lost(lost);
        tracing::error!(
            rank = rank.0,
            changes_in_doubt = lost,
            "the rank has ended our session; a new one begins"
        );
    }

    /// A rank's store is destroyed. What it did for us and may not have been repeated elsewhere is lost.
    fn on_rank_lost(&mut self, rank: Rank, now: Now, out: &mut Effects) {
        self.atlas.exclusives.drop_all();
        self.drop_caches(now, out);
        self.pending.forget_copies(rank);
        for (from, notice) in self.sessions.on_lost(rank, out) {
            if let Some(link) = self.sessions.open_link(from) {
                out.send(link, ToMds::Acked(notice));
            }
        }
        let lost = self.pending.on_evicted(rank);
        self.numbers.drop_rank(rank);
        self.calls.note_lost(lost);
        self.atlas.routes.lost(rank);
        tracing::error!(rank = rank.0, changes_in_doubt = lost, "a rank's store is destroyed");
    }

    fn on_map(&mut self, map: MdsMap, now: Now, out: &mut Effects) {
        if self.atlas.map.as_ref().is_some_and(|known| known.epoch >= map.epoch) {
            return;
        }
        for lost in self.sessions.on_map(&map, out) {
            self.pending.on_lost(lost);
        }
        let known = self.atlas.map.replace(map);
        let known = known.map(|map| map.lost).unwrap_or_default();
        let lost = self.atlas.map.iter().flat_map(|map| &map.lost);
        let lost: Vec<Rank> = lost.copied().filter(|rank| !known.contains(rank)).collect();
        for rank in lost {
            self.on_rank_lost(rank, now, out);
        }
        self.pending.on_map(cx!(self, now, out));
    }

    fn on_timer(&mut self, timer: Timer, now: Now, out: &mut Effects) {
        match timer {
            Timer::Renew(rank) => {
                let oldest = self.pending.oldest_asked().unwrap_or(now.monotonic);
                self.atlas.capabilities.trim(now.monotonic, oldest);
                self.pending.trim_overtaken(oldest);
                self.atlas.exclusives.trim_wishes(now.monotonic);
                let left = self.numbers.left(rank);
                self.sessions.renew(rank, left, now, out);
                self.let_go(rank, out);
            }
            Timer::Lease(rank) => {
                if self.sessions.on_lease_timer(rank, now, out) {
                    self.pending.on_lost(rank);
                }
            }
            Timer::Reconnect(rank) => {
                self.sessions.on_reconnect_timer(rank, self.atlas.map.as_ref(), out);
            }
            Timer::Retry(id) => self.pending.on_retry_timer(id, cx!(self, now, out)),
            Timer::GiveBack => self.give_back.on_timer(&mut self.pending, cx!(self, now, out)),
        }
    }

    /// Takes answers to those who wait for them, until nobody has one left.
    fn settle(&mut self, now: Now, out: &mut Effects) {
        self.calls.let_flushes_go(&mut self.pending, cx!(self, now, out));
        loop {
            self.pending.go_on(cx!(self, now, out));
            self.finish_answered(now, out);
            self.calls.on_made(&self.pending, cx!(self, now, out));
            self.calls.let_early_go(&mut self.pending, cx!(self, now, out));
            self.calls.let_syncs_go(&mut self.pending, cx!(self, now, out));
            if self.pending.is_settled() {
                break;
            }
        }
        let pending = &self.pending;
        for recall in self.atlas.exclusives.take_recalls(|dir| pending.is_dir_made(dir)) {
            if self.sessions.rank_at(recall.link).is_some() {
                out.send(recall.link, ToMds::Acked(recall.notice));
            }
        }
        self.give_back.on_answered(&self.pending, cx!(self, now, out));
    }

    /// Tells a rank which directories in its part of the tree we do not hold any more.
    fn let_go(&mut self, rank: Rank, out: &mut Effects) {
        let Some(link) = self.sessions.open_link(rank) else { return };
        let (routes, inodes) = (&self.atlas.routes, &self.atlas.inodes);
        let pending = &self.pending;
        let is_its_own = |dir| routes.rank(dir, inodes) == rank && pending.is_dir_made(dir);
        let dirs = self.atlas.exclusives.take_unheld(is_its_own);
        for dirs in dirs.chunks(CLAIMS_MAX) {
            out.send(link, ToMds::LetGo { dirs: dirs.to_vec() });
        }
    }

    /// A change that was answered could not be made, or nobody knows. What we believe of it is not so.
    fn on_unmade(&mut self, finished: &Finished, now: Now, out: &mut Effects) {
        let Err(error) = &finished.result else { return };
        let (request, op) = (finished.id.0, &finished.op);
        tracing::error!(request, %error, ?op, "a change was answered and could not be made");
        self.calls.note_lost(1);
        self.calls.is_never_made(finished.id, out);
        self.atlas.exclusives.drop_all();
        self.drop_caches(now, out);
        out.push(Effect::Lost { change: finished.id });
    }

    fn finish_answered(&mut self, now: Now, out: &mut Effects) {
        while let Some(finished) = self.pending.take_finished() {
            self.count_pin(&finished, now, out);
            file_lock::on_answered(&finished, &mut self.pending, cx!(self, now, out));
            if let (Op::Wrote { target, kill_privileges: true, .. }, Ok(_)) =
                (&finished.op, &finished.result)
                && self.atlas.capabilities.clears_privileges(target.ino)
            {
                self.invalidations.begin(None, None, vec![target.ino], out);
            }
            if self.atlas.capabilities.take_loose() {
                out.push(Effect::DropCaches { inodes: Vec::new() });
            }
            let cx = cx!(self, now, out);
            match finished.owner {
                Owner::Call(id) => {
                    let changed = finished.result.is_ok() && finished.op.is_change();
                    let dir = finished.op.dir().filter(|_| changed);
                    let (pending, give_back) = (&mut self.pending, &mut self.give_back);
                    self.calls.on_finished(id, finished, pending, give_back, cx);
                    if let Some(dir) = dir
                        && self.atlas.exclusives.wants(dir, now.monotonic)
                    {
                        self.pending.begin_hold(dir, cx!(self, now, out));
                    }
                }
                Owner::Hold => {
                    if let Op::Hold { dir } = finished.op
                        && self.atlas.exclusives.get(dir).is_none()
                    {
                        self.atlas.exclusives.rests(dir, now.monotonic);
                    }
                }
                Owner::Finder { request, ino } => {
                    self.pending.on_found(request, ino, &finished.result, finished.rank, cx);
                    self.release_found(&finished, now, out);
                }
                Owner::Seeker { request, ino } => {
                    self.pending.on_sought(request, ino, &finished.result, finished.rank, cx);
                }
                Owner::GiveBack { attempt } => {
                    if let (Op::Forget { items }, Ok(Answer::NotHere(inos))) =
                        (&finished.op, &finished.result)
                    {
                        let (what, by) = ((items.as_slice(), inos.as_slice()), finished.rank);
                        let pending = &mut self.pending;
                        self.give_back.on_not_here(what, (by, attempt), pending, cx);
                    }
                }
                Owner::Replay => {
                    if let Err(error) = finished.result {
                        tracing::warn!(request = finished.id.0, %error, "a replay was refused");
                    }
                    self.release_found(&finished, now, out);
                }
                Owner::Unmade => {
                    self.on_unmade(&finished, now, out);
                    self.release_found(&finished, now, out);
                }
                Owner::Scout | Owner::Nobody | Owner::Withdrawn | Owner::Unlock => {
                    self.release_found(&finished, now, out)
                }
            }
        }
    }

    fn is_held(&mut self, ino: Ino, whereabouts: (Option<Ino>, Rank), now: Now, out: &mut Effects) {
        self.give_back.is_held(ino, whereabouts, &self.pending, cx!(self, now, out));
    }

    /// A reply that carries the attributes of a non-directory pins it, also if nobody waits.
    fn count_pin(&mut self, finished: &Finished, now: Now, out: &mut Effects) {
        let Ok(answer) = &finished.result else { return };
        let Some(ino) = answer.pins() else { return };
        if !self.atlas.inodes.pin(ino, finished.id) {
            let target = Target { ino, place: place_of(finished, answer) };
            let whereabouts = Whereabouts::new(&target, Some(finished.rank), &self.atlas);
            self.give_back.add(ino, whereabouts, &self.pending, cx!(self, now, out));
        }
    }

    /// What an answer names may be of no interest any more.
    fn release_found(&mut self, finished: &Finished, now: Now, out: &mut Effects) {
        let ino = match &finished.result {
            Ok(Answer::Found(Found::Here(attr)) | Answer::Attr(attr)) => attr.ino,
            Ok(Answer::Found(Found::Dir { ino, .. } | Found::Remote { ino, .. })) => *ino,
            Ok(_) | Err(_) => return,
        };
        if ino != Ino::ROOT {
            release_if_unused(ino, &mut self.give_back, &self.pending, cx!(self, now, out));
        }
    }
}

/// Where an inode lies that only this answer names.
fn place_of(finished: &Finished, answer: &Answer) -> Place {
    match (&finished.op, answer) {
        (Op::Lookup { dir, name } | Op::Link { dir, name, .. }, Answer::Found(Found::Here(_))) => {
            Place::Entry { dir: *dir, name: name.clone() }
        }
        (Op::Create(create), Answer::Found(Found::Here(_))) => {
            Place::Entry { dir: create.dir, name: create.name.clone() }
        }
        (
            Op::Getattr { target }
            | Op::Setattr { target, .. }
            | Op::Wrote { target, .. }
            | Op::SetLock { target, .. },
            _,
        ) => target.place.clone(),
        _ => Place::Home,
    }
}

#[cfg(test)]
mod tests;
