//! The world's part in which clients die, are sent away, or lose their sessions, and others come in their
//! place.

use std::collections::BTreeSet;
use std::time::Duration;

use client_core::ClientCore;
use common::id::{ClientId, Ino, Rank, RequestId, Seq};
use common::limit::LEASE;
use common::time::Monotonic;
use common::wire::admin::AdminRequest;
use mds_core::Input;

use super::monitor::Post;
use super::{Event, Violation, World};
use crate::sim::client::{Asks, Change, ClientHost, Standing};
use crate::sim::dice::Dice;
use crate::sim::history::{History, OperationId};
use crate::sim::monitor::Caller;
use crate::sim::network::{Lane, Life, Way};
use crate::sim::operation::Operation;
use crate::sim::trace::Who;

const DIAL: Duration = Duration::from_millis(10);
const BEGIN: Duration = Duration::from_millis(25);
const MOUNT: Duration = Duration::from_secs(2);
/// Until a rank hears that a client's machine is gone, if it hears of that at all.
const UNNOTICED: Duration = Duration::from_secs(20);
/// A session ends meanwhile, or does not quite.
const CUT_MIN: Duration = Duration::from_secs(8);
const CUT_MAX: Duration = Duration::from_secs(16);
/// After which nobody has a session any more whose client is dead, whoever came back with it when.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// What is kept of those who have gone.
#[derive(Clone, Debug, Default)]
pub(super) struct Gone {
    /// Mounts that are to come.
    pub mounts_due: u32,
    risks: Vec<Risk>,
    /// Whose data may stay: it may not be in the tree, and whoever could tell is gone.
    pub data: BTreeSet<Ino>,
}

/// Changes that were answered and that nobody repeats should their rank lose power.
#[derive(Clone, Debug)]
struct Risk {
    client: usize,
    rank: Rank,
    /// In the order in which the rank has made them.
    made: Vec<OperationId>,
    /// The life that has made them, and where it was then: what it syncs from there on includes them.
    /// `None`: power was lost since, or they were not made yet: it is seen when the session ends.
    safe_at: Option<(Life, Seq)>,
    loses: Loses,
    session: Session,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    /// Until it ends, the rank waits for the client before it serves again.
    Kept,
    Over,
}

/// Which of several changes may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loses {
    /// All from one on.
    Rest,
    /// Any: the client did not wait for one to be made before it had the next one made.
    Any,
}

impl Risk {
    fn lose(&self, history: &mut History) {
        match self.loses {
            Loses::Rest => history.may_lose(&self.made),
            Loses::Any => history.may_lose_any(&self.made),
        }
    }
}

impl World {
    /// Who can still do something.
    #[must_use]
    pub fn living(&self) -> Vec<usize> {
        let living = self.clients.iter().filter(|host| host.standing != Standing::Dead);
        living.map(|host| host.number).collect()
    }

    pub(super) fn some_client(&self, dice: &mut Dice) -> Option<usize> {
        dice.pick(&self.living()).copied()
    }

    /// A client begins: its processes do so a while later.
    pub(super) fn mounts(&mut self, first: Duration) {
        let number = self.clients.len();
        let id = ClientId(500 + u64::try_from(number).expect("there are few clients"));
        let nowsync = self.settings.nowsync;
        let core = ClientCore::new(client_core::Params { client: id, nowsync });
        self.clients.push(ClientHost::new(number, id, core, self.settings.processes));
        self.soon(DIAL, Event::Post(Post::Dials(Caller::Client(number))));
        for process in 0..self.settings.processes {
            self.after(first, Event::Process { client: number, process });
        }
    }

    pub(super) fn another_mounts(&mut self) {
        self.gone.mounts_due -= 1;
        self.mounts(BEGIN);
    }

    /// A client dies in the middle of whatever it does. Its machine may go down with it, so that nobody
    /// is told.
    pub(super) fn some_client_dies(&mut self, dice: &mut Dice) {
        let Some(client) = self.some_client(dice) else { return };
        let with_machine = dice.percent(50);
        self.trace.line(self.now, Who::Client(client), "dies", || {
            if with_machine { "with its machine".to_owned() } else { String::new() }
        });
        self.tally.client_deaths += 1;
        self.note_death(client);
        let ways = self.network.conns_of(client);
        for conn in ways {
            self.network.shut(conn, Lane::ToClient(conn));
            let Some(it) = self.network.conn(conn).copied() else { continue };
            if !with_machine && it.to_rank == Way::Open {
                // What it has said arrives, then the end.
                if let Some(it) = self.network.conn_mut(conn) {
                    it.to_rank = Way::Ending;
                }
                self.along(Lane::ToRank(conn), Event::ToRankEnds(conn));
            } else if with_machine {
                self.network.shut(conn, Lane::ToRank(conn));
                let gone = Input::ClientGone { conn, client: self.clients[client].id };
                let hears = dice.wait(Duration::ZERO, UNNOTICED);
                self.after(hears, Event::RankInput(it.life, Box::new(gone)));
            }
        }
        for conn in self.monitor.lines_of(Caller::Client(client)) {
            self.hang_up(conn);
        }
        self.gone.mounts_due += 1;
        let later = dice.wait(Duration::ZERO, MOUNT);
        self.after(later, Event::Mounts);
    }

    /// What it had asked for happens or not; what it had been told may be lost.
    fn note_death(&mut self, client: usize) {
        self.lock_book.has_died(client, self.now);
        let host = &mut self.clients[client];
        host.standing = Standing::Dead;
        host.processes.iter_mut().for_each(|process| process.plan.clear());
        for waiting in std::mem::take(&mut host.calls).into_values() {
            let Asks::Operation(id, operation) = waiting.asks else { continue };
            self.history.abandon(id);
            if let Operation::Write { node, .. } = operation {
                self.gone.data.insert(node);
            }
        }
        self.lose_unmade(client);
        for rank in 0..self.ranks.len() {
            let process = self.ranks[rank].process.as_ref();
            let id = self.clients[client].id;
            let known = process.is_none_or(|it| it.mds.holdings().sessions.get(id).is_some());
            let rank = Rank(u16::try_from(rank).expect("ranks have 16 bits"));
            self.note_risk(client, rank, if known { Session::Kept } else { Session::Over });
        }
    }

    /// A change was answered whose session may have ended since: the answer was on its way.
    pub(super) fn note_late_answer(&mut self, client: usize, request: RequestId) {
        let host = &self.clients[client];
        let Some(change) = host.changes.get(&request).copied() else { return };
        let ranks = self.ranks.iter().map(|host| host.rank);
        let made_by: Vec<Rank> =
            ranks.filter(|rank| host.core.at_risk(*rank).any(|id| id == request)).collect();
        for rank in made_by {
            self.note_changes(client, rank, Session::Over, &[change]);
        }
    }

    fn note_risk(&mut self, client: usize, rank: Rank, session: Session) {
        let host = &self.clients[client];
        let changes: Vec<Change> =
            host.core.at_risk(rank).filter_map(|id| host.changes.get(&id).copied()).collect();
        self.note_changes(client, rank, session, &changes);
    }

    fn note_changes(&mut self, client: usize, rank: Rank, session: Session, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        self.gone.data.extend(changes.iter().filter_map(|change| change.made));
        let rank_host = &self.ranks[usize::from(rank.0)];
        // What was asked for before may have been made before, and answered afterwards.
        let power_lost = changes.iter().any(|change| change.asked <= rank_host.power_lost);
        let safe_at = rank_host.process.as_ref().filter(|_| !power_lost);
        let safe_at = safe_at.map(|process| (process.life, process.mds.seq()));
        let made = changes.iter().map(|change| change.id).collect();
        let loses = Loses::Rest;
        self.gone.risks.push(Risk { client, rank, made, safe_at, loses, session });
        if session == Session::Over && power_lost {
            self.decide(|risk| risk.client == client && risk.rank == rank);
        }
    }

    /// What a client has answered and no rank has made yet may never be made, now that the client is dead or
    /// has lost a session.
    fn lose_unmade(&mut self, client: usize) {
        let host = &self.clients[client];
        let unmade = host.core.unmade().filter_map(|id| host.changes.get(&id).copied());
        let unmade: Vec<Change> = unmade.collect();
        self.may_not_be_made(client, &unmade);
    }

    /// Whoever keeps its sessions loses nothing.
    pub(super) fn is_lost(&mut self, client: usize, change: RequestId) -> Result<(), Violation> {
        let lost = self.clients[client].changes.get(&change).copied();
        if self.clients[client].standing == Standing::Lives {
            let what = format!("client {client} has lost {change:?}, which was answered: {lost:?}");
            return Err(Violation::Disagreement(what));
        }
        self.may_not_be_made(client, lost.as_slice());
        Ok(())
    }

    /// If they are made, it is before the sessions end in which they may have been asked for.
    fn may_not_be_made(&mut self, client: usize, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        self.tally.never_made += changes.len() as u64;
        self.gone.data.extend(changes.iter().filter_map(|change| change.made));
        let made: Vec<OperationId> = changes.iter().map(|change| change.id).collect();
        self.history.may_lose_any(&made);
        for host in &self.ranks {
            let (rank, made) = (host.rank, made.clone());
            let (safe_at, loses, session) = (None, Loses::Any, Session::Kept);
            self.gone.risks.push(Risk { client, rank, made, safe_at, loses, session });
        }
    }

    /// It is lost, or not. What is left may be lost another time.
    fn decide(&mut self, which: impl Fn(&Risk) -> bool) {
        for risk in self.gone.risks.iter_mut().filter(|risk| which(risk)) {
            risk.lose(&mut self.history);
            let process = self.ranks[usize::from(risk.rank.0)].process.as_ref();
            risk.safe_at = process.map(|process| (process.life, process.mds.seq()));
        }
    }

    /// Those that have a session with a rank that has its store, and whether they pin anything there.
    pub(super) fn sessions_with(&self, life: Life) -> Vec<(ClientId, bool)> {
        let process = self.ranks[usize::from(life.rank.0)].process.as_ref();
        let process = process.filter(|process| process.life == life);
        let own = process.map(|process| process.mds.holdings());
        let sessions = own.into_iter().flat_map(|own| {
            let sessions = own.sessions.iter();
            sessions.map(|(client, _)| (client, own.pins.of(client).next().is_some()))
        });
        sessions.collect()
    }

    /// Sessions that a rank had and has not any more: nobody loses one who could have kept it. Whoever
    /// has nothing there and never went there does not need to know of it.
    pub(super) fn sessions_end(
        &mut self,
        life: Life,
        had: &[(ClientId, bool)],
    ) -> Result<(), Violation> {
        if had.is_empty() {
            return Ok(());
        }
        let has = self.sessions_with(life);
        let has = |id: ClientId| has.iter().any(|(other, _)| *other == id);
        for (id, pins) in had.iter().copied().filter(|(id, _)| !has(*id)) {
            let Some(client) = self.clients.iter().position(|host| host.id == id) else {
                continue;
            };
            self.tally.sessions_ended += 1;
            self.trace.line(self.now, Who::Rank(life.rank), "ends", || {
                format!("the session of client {client}")
            });
            match self.clients[client].standing {
                Standing::Lives if pins || self.clients[client].opened.contains(&life.rank) => {
                    return Err(Violation::Evicted { client });
                }
                Standing::Lives => (),
                Standing::Disturbed => {
                    self.clients[client].kernel.unpin_all();
                    self.lose_unmade(client);
                    self.note_risk(client, life.rank, Session::Over);
                }
                Standing::Dead => {
                    let of = |risk: &Risk| risk.client == client && risk.rank == life.rank;
                    for risk in self.gone.risks.iter_mut().filter(|risk| of(risk)) {
                        risk.session = Session::Over;
                    }
                    self.decide(|risk| of(risk) && risk.safe_at.is_none());
                }
            }
        }
        Ok(())
    }

    pub(super) fn power_lost_at(&mut self, rank: Rank) {
        self.ranks[usize::from(rank.0)].power_lost = self.now;
        for risk in self.gone.risks.iter_mut().filter(|risk| risk.rank == rank) {
            match risk.session {
                Session::Kept => risk.safe_at = None,
                Session::Over => risk.lose(&mut self.history),
            }
        }
        self.gone.risks.retain(|risk| risk.rank != rank || risk.session == Session::Kept);
    }

    /// What a life had written up to there cannot be lost any more.
    pub(super) fn is_safe(&mut self, life: Life, through: Seq) {
        let is_safe = |(of, at): (Life, Seq)| of == life && at <= through;
        self.gone.risks.retain(|risk| !risk.safe_at.is_some_and(is_safe));
    }

    /// An operator ends all sessions of a client that is dead, or of one that is not.
    pub(super) fn evict_some_client(&mut self, dice: &mut Dice) {
        let dead = self.clients.iter().filter(|host| host.standing == Standing::Dead);
        let dead: Vec<usize> = dead.map(|host| host.number).collect();
        let dead = dice.pick(&dead).copied().filter(|_| dice.percent(50));
        let Some(client) = dead.or_else(|| self.some_client(dice)) else { return };
        self.trace.line(self.now, Who::Client(client), "evicted", String::new);
        self.clients[client].is_sent_away();
        let client = self.clients[client].id;
        for rank in 0..self.settings.ranks {
            self.order(Rank(rank), AdminRequest::EvictSession { client });
        }
    }

    /// A client does not reach one rank or all of them for about as long as a session lasts.
    pub(super) fn cut_client_off(&mut self, dice: &mut Dice) {
        let Some(client) = self.some_client(dice) else { return };
        self.clients[client].is_disturbed();
        let heals = self.now.after(dice.wait(CUT_MIN, CUT_MAX));
        self.disturbed_until = self.disturbed_until.max(heals);
        let only = dice.index(self.ranks.len());
        let all = dice.percent(50);
        self.trace.line(self.now, Who::Client(client), "cut off", || {
            if all { "from all".to_owned() } else { format!("from {only}") }
        });
        for rank in self.ranks.iter().map(|host| host.rank) {
            if all || usize::from(rank.0) == only {
                self.network.cut(Who::Client(client), Who::Rank(rank), heals);
                self.network.cut(Who::Rank(rank), Who::Client(client), heals);
            }
        }
    }

    pub(super) fn is_for_the_dead(&self, event: &Event) -> bool {
        let (Event::Connects { client, .. }
        | Event::NoConnection { client, .. }
        | Event::ClientTimer(client, ..)
        | Event::Map(Who::Client(client), _)
        | Event::Invalidates { client, .. }
        | Event::Process { client, .. }
        | Event::Signal { client, .. }
        | Event::Post(Post::Dials(Caller::Client(client)))) = event
        else {
            return false;
        };
        self.clients[*client].standing == Standing::Dead
    }

    /// Nothing is left of the dead; what they asked for has happened, or will not.
    pub(super) fn await_ends_of_sessions(&mut self) -> Result<(), Violation> {
        let deadline = self.now.after(FORGOTTEN);
        while let Some(rank) = self.knows_of_the_dead() {
            if self.now > deadline {
                let left = "a session whose client is dead".to_owned();
                return Err(Violation::LeftOver { rank, left });
            }
            self.run_for(Duration::from_secs(1))?;
        }
        self.history.settle();
        Ok(())
    }

    fn knows_of_the_dead(&self) -> Option<Rank> {
        let dead = self.clients.iter().filter(|host| host.standing == Standing::Dead);
        let dead: BTreeSet<ClientId> = dead.map(|host| host.id).collect();
        let mut lives = self.ranks.iter().filter_map(|host| host.process.as_ref());
        let knows = lives.find(|process| {
            process.mds.holdings().sessions.iter().any(|(id, _)| dead.contains(&id))
        });
        knows.map(|process| process.life.rank)
    }

    /// How long others may wait for those who have gone, where nothing else holds anybody up.
    pub(super) fn check_wait(&mut self, client: usize, since: Monotonic) -> Result<(), Violation> {
        if self.clients[client].standing != Standing::Lives {
            return Ok(());
        }
        let waited = self.now.since(since);
        self.tally.longest_wait = self.tally.longest_wait.max(waited);
        match self.settings.leases_waited_max {
            Some(leases) if waited > LEASE * leases + Duration::from_secs(2) => {
                Err(Violation::Hung(format!("client {client} has waited for {waited:?}")))
            }
            Some(_) | None => Ok(()),
        }
    }
}
