//! `Exclusives`: directories that one client has for itself.
//!
//! Whoever makes a directory may hold it: nobody else has seen it. Whoever finds one may, if nobody else has
//! anything of it cached ([`hold`](crate::request::hold)). The holder answers its own processes, and tells this
//! rank afterwards what it has changed. So nobody else may see or change the directory's
//! attributes, its names, and the inodes embedded in its entries, before the holder has been *recalled* and
//! has acknowledged, which it does when all that it has answered is made here ([`admit`]).
//!
//! It ends with an acknowledgement or with the session, and not by time. It is not stored:
//! * to a rank that begins anew clients say what they hold before it serves anybody. Those it does not wait
//!   for may hold anything in what has come with a migration, until they say so
//!   ([`Wait::Strangers`]);
//! * it travels with a region.
//!
//! What is on record and is not held any more does no harm: its holder acknowledges at once.

use std::collections::{BTreeMap, BTreeSet};

use common::id::{ClientId, DirFragId, Ino, NoticeId};
use common::time::Monotonic;
use common::wire::reply::Outcome;
use common::wire::request::Request;
use common::wire::session::Notice;

use super::{Scope, concerned, end};
use crate::cx::{Cx, Step, Stop, Wait};
use crate::mutant::mutated;
use crate::session::{SessionTable, Tell};
use crate::subtree::{Access, Intent, SubtreeMap};

#[derive(Clone, Debug, Default, Hash)]
pub struct Exclusives {
    holders: BTreeMap<Ino, Holder>,
    /// How many each client has.
    counts: BTreeMap<ClientId, usize>,
    recalls: BTreeMap<(ClientId, NoticeId), Ino>,
    /// Nobody holds these any more: whoever waits for that is to try again.
    released: BTreeSet<Ino>,
    /// Somebody waits for clients that may hold anything.
    strangers_awaited: bool,
}

#[derive(Clone, Debug, Hash)]
struct Holder {
    client: ClientId,
    recalled: bool,
    /// An operator has ended its session: it may go on until then, or until it begins another one.
    until: Option<Monotonic>,
}

impl Exclusives {
    /// A directory has just been made for this client, or came with it.
    pub fn grant(&mut self, dir: Ino, client: ClientId) {
        self.remove(dir);
        self.holders.insert(dir, Holder { client, recalled: false, until: None });
        *self.counts.entry(client).or_default() += 1;
    }

    #[must_use]
    pub fn holder(&self, dir: Ino) -> Option<ClientId> {
        self.holders.get(&dir).map(|holder| holder.client)
    }

    #[must_use]
    pub fn are_held_by(&self, client: ClientId) -> bool {
        self.counts.contains_key(&client)
    }

    /// Everything that is held, and by whom.
    pub fn iter(&self) -> impl Iterator<Item = (Ino, ClientId)> + '_ {
        self.holders.iter().map(|(dir, holder)| (*dir, holder.client))
    }

    fn remove(&mut self, dir: Ino) -> Option<Holder> {
        let holder = self.holders.remove(&dir)?;
        if let Some(count) = self.counts.get_mut(&holder.client) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&holder.client);
            }
        }
        self.released.insert(dir);
        Some(holder)
    }

    /// Whether nobody but this client holds anything.
    fn all_of(&self, client: Option<ClientId>) -> bool {
        let own = client.and_then(|client| self.counts.get(&client)).copied();
        own.unwrap_or(0) == self.holders.len()
    }

    /// Whether somebody was asked to let a directory go.
    #[must_use]
    pub fn is_recalled(&self, dir: Ino) -> bool {
        self.holders.get(&dir).is_some_and(|holder| holder.recalled)
    }

    /// Directories that were let go since this was asked last.
    #[must_use]
    pub fn take_released(&mut self) -> BTreeSet<Ino> {
        std::mem::take(&mut self.released)
    }

    /// Whether somebody waited for strangers, and there are none any more.
    #[must_use]
    pub fn strangers_have_come(&mut self, sessions: &SessionTable) -> bool {
        let have_come = self.strangers_awaited && !sessions.has_strangers();
        self.strangers_awaited &= !have_come;
        have_come
    }

    /// Drops what is elsewhere by now, and what has ended.
    fn trim(&mut self, now: Monotonic, is_elsewhere: impl Fn(Ino) -> bool) {
        let has_ended = |holder: &Holder| holder.until.is_some_and(|until| until <= now);
        let gone = self.holders.iter();
        let gone = gone.filter(|(dir, holder)| has_ended(holder) || is_elsewhere(**dir));
        let gone: Vec<Ino> = gone.map(|(dir, _)| *dir).collect();
        for dir in gone {
            self.remove(dir);
        }
    }
}

/// Lets a request see and change what it names only if nobody else holds that exclusively.
///
/// # Errors
/// What to wait for; whoever holds it has been recalled.
pub fn admit_request(cx: &mut Cx<'_>, client: ClientId, request: &Request) -> Step<()> {
    let nobody = cx.own.capabilities.exclusives.all_of(Some(client));
    let no_strangers = !cx.own.sessions.has_strangers();
    if (nobody && no_strangers) || request.replay.is_some() || mutated!(cx.params, ExclusiveIgnored)
    {
        // What is replayed was admitted once.
        return Ok(());
    }
    // What it will be answered is not known yet, and makes no difference here.
    let unknown = Outcome::Gone { ino: Ino::ROOT };
    for scope in concerned(cx, &request.op, &unknown) {
        if let Scope::Dir(dir) = scope {
            admit(cx, dir, Some(client))?;
        }
    }
    Ok(())
}

/// The same for one directory. `client`: who may hold it.
///
/// # Errors
/// What to wait for; whoever holds it has been recalled.
pub fn admit(cx: &mut Cx<'_>, dir: Ino, client: Option<ClientId>) -> Step<()> {
    if let Some(holder) = cx.own.capabilities.exclusives.holder(dir)
        && Some(holder) != client
    {
        let is_awaited = recall(cx, dir) && !mutated!(cx.params, RecallNotAwaited);
        return if is_awaited { Err(Stop::Wait(Wait::Recall(dir))) } else { Ok(()) };
    }
    if may_be_a_strangers(cx, dir, client) {
        cov_mark::hit!(who_has_not_claimed_may_hold_exclusively);
        cx.own.capabilities.exclusives.strangers_awaited = true;
        return Err(Stop::Wait(Wait::Strangers));
    }
    Ok(())
}

/// Whether another client may hold a directory that has come here, and has not said so to this life.
#[must_use]
pub fn may_be_a_strangers(cx: &Cx<'_>, dir: Ino, client: Option<ClientId>) -> bool {
    let has_come = cx.own.held.contains_key(&DirFragId::whole(dir));
    has_come && cx.own.sessions.has_stranger_but(client)
}

/// Asks a directory's holder to let it go. False: nobody is there to be asked.
fn recall(cx: &mut Cx<'_>, dir: Ino) -> bool {
    let Some(holder) = cx.own.capabilities.exclusives.holders.get_mut(&dir) else { return false };
    if std::mem::replace(&mut holder.recalled, true) {
        return true;
    }
    let client = holder.client;
    let notice = Notice::Recall { dir };
    match cx.own.sessions.notify(client, notice, Tell::Now, cx.out) {
        Some(id) => {
            cx.own.capabilities.exclusives.recalls.insert((client, id), dir);
            true
        }
        None => {
            cx.own.capabilities.exclusives.remove(dir);
            false
        }
    }
}

/// A client that does not hold a directory, or must not, believes so.
pub fn disabuse(cx: &mut Cx<'_>, client: ClientId, dir: Ino) {
    let notice = Notice::Recall { dir };
    let _ends_with_the_session = cx.own.sessions.notify(client, notice, Tell::Now, cx.out);
}

/// A client has acknowledged a notice: if it was a recall, it goes on with what it has cached as everybody
/// does.
pub fn on_acked(cx: &mut Cx<'_>, client: ClientId, notice: NoticeId) {
    if let Some(dir) = cx.own.capabilities.exclusives.recalls.remove(&(client, notice)) {
        let_go(cx, client, dir);
    }
}

pub fn let_go(cx: &mut Cx<'_>, client: ClientId, dir: Ino) {
    let capabilities = &mut cx.own.capabilities;
    // Whoever waits may wait for somebody who has let it go at another rank.
    capabilities.exclusives.released.insert(dir);
    if capabilities.exclusives.holder(dir) == Some(client) {
        capabilities.exclusives.remove(dir);
        capabilities.grant(Scope::Dir(dir), client, cx.now.monotonic);
    }
}

/// A session is over. `goes_on`: its client may not know that yet.
pub fn end_session(cx: &mut Cx<'_>, client: ClientId, goes_on: bool) {
    let until = end(cx.now.monotonic);
    let exclusives = &mut cx.own.capabilities.exclusives;
    let held: Vec<Ino> =
        exclusives.iter().filter(|(_, of)| *of == client).map(|(dir, _)| dir).collect();
    for dir in held {
        match exclusives.holders.get_mut(&dir) {
            Some(holder) if goes_on => (holder.recalled, holder.until) = (true, Some(until)),
            Some(_) | None => drop(exclusives.remove(dir)),
        }
    }
    for (_, dir) in exclusives.recalls.extract_if(.., |(of, _), _| *of == client) {
        exclusives.released.insert(dir);
    }
}

/// What a client says that it holds is what it holds. `known`: whether its session is the one in which it
/// was given that.
pub fn claim(cx: &mut Cx<'_>, client: ClientId, claimed: &BTreeSet<Ino>, known: bool) {
    let held = cx.own.capabilities.exclusives.iter().filter(|(_, of)| *of == client);
    let is_ours = |dir: &Ino| known && claimed.contains(dir);
    let held: Vec<Ino> = held.map(|(dir, _)| dir).filter(|dir| !is_ours(dir)).collect();
    for dir in held {
        let_go(cx, client, dir);
    }
    for dir in claimed {
        let (dir, subtrees) = (*dir, &cx.own.subtrees);
        if let Ok(Access::Elsewhere(_)) = subtrees.access(dir, Intent::Read, &cx.own.namespace) {
            continue;
        }
        match cx.own.capabilities.exclusives.holder(dir) {
            Some(holder) if holder == client && known => {}
            None if known => cx.own.capabilities.exclusives.grant(dir, client),
            Some(_) | None => {
                cov_mark::hit!(what_was_held_before_the_session_is_not_held);
                disabuse(cx, client, dir);
            }
        }
    }
}

/// Drops what is of no consequence.
pub fn trim(cx: &mut Cx<'_>) {
    let (subtrees, namespace): (&SubtreeMap, _) = (&cx.own.subtrees, &cx.own.namespace);
    let is_elsewhere =
        |dir| matches!(subtrees.access(dir, Intent::Read, namespace), Ok(Access::Elsewhere(_)));
    cx.own.capabilities.exclusives.trim(cx.now.monotonic, is_elsewhere);
}

#[cfg(test)]
mod tests;
