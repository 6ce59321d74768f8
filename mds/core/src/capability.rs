//! `CapabilityTable`: which clients may use what they were told of a directory, and of what is in it,
//! without asking again.
//!
//! What a client has for itself is in [`exclusive`]. All else is `Shared`, of one directory (its attributes, its
//! names present and absent, and the attributes of files embedded in its entries) or of one inode at its home. It
//! comes with an answer, and ends by itself [`CAPABILITY_TIME`] after the client had asked. Until then its holder hears of every change
//! that somebody else makes, and whoever makes it is answered when the holder has let go of what it had
//! cached: it keeps the capability, but not what is not true any more. Until then nobody hears of the change
//! in another way: what was asked since waits for the same acknowledgements.
//!
//! Nothing of this is stored (but who was evicted: [`evicted`]), and holders do not travel:
//! * a rank that begins anew serves when its clients have dropped what its earlier life told them, or
//!   have not come back for longer than a capability lasts;
//! * with a region come the exporter's sessions: for the time of a capability each of them may hold any
//!   ([`CapabilityTable::suspect`]); and what they have not acknowledged, which they are told once more
//!   ([`take_over`]).
//!
//! Who is sent away by an operator may go on with what it has cached: it stays on record until that has ended,
//! or until it begins another session, before which it has dropped everything.

use std::collections::{BTreeMap, BTreeSet};

use common::error::FsError;
use common::id::{ClientId, Ino, NoticeId};
use common::limit::{CAPABILITY_MARGIN, CAPABILITY_TIME};
use common::name::Name;
use common::time::Monotonic;
use common::wire::reply::{Answer, Found, Outcome, Promise, Reply};
use common::wire::request::{Op, Place, Target};
use common::wire::session::Notice;

use crate::cx::Cx;
use crate::lock::Lock;
use crate::message::migration::Cached;
use crate::mutant::mutated;
use crate::row::{Key, Linkage};
use crate::session::Tell;
use crate::subtree::{Access, Intent};

pub mod evicted;
pub mod exclusive;
pub mod undurable;

use evicted::Evicted;
use exclusive::Exclusives;
use undurable::Undurable;

/// What a capability is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    Dir(Ino),
    /// An inode of several names, at its home, or of none.
    Home(Ino),
}

#[derive(Clone, Debug, Default, Hash)]
pub struct CapabilityTable {
    holders: BTreeMap<Scope, BTreeMap<ClientId, Monotonic>>,
    /// These may hold anything here, from another rank.
    suspects: BTreeMap<ClientId, Monotonic>,
    /// What has changed and is not known yet to these, who have been told.
    unheard: BTreeMap<Scope, Told>,
    /// They begin a session, and what they had cached before that is dropped when they say so.
    newcomers: BTreeSet<ClientId>,
    /// When those who were told have nothing cached any more, whether they have heard or not.
    told: BTreeMap<(ClientId, NoticeId), Monotonic>,
    pub undurable: Undurable,
    pub evicted: Evicted,
    pub exclusives: Exclusives,
}

/// Acknowledgements to wait for.
pub type Told = BTreeSet<(ClientId, NoticeId)>;

impl CapabilityTable {
    fn grant(&mut self, scope: Scope, client: ClientId, now: Monotonic) {
        self.holders.entry(scope).or_default().insert(client, end(now));
    }

    /// What another rank has granted in a region that has come here is not known.
    pub fn suspect(&mut self, clients: impl IntoIterator<Item = ClientId>, now: Monotonic) {
        for client in clients {
            self.suspects.insert(client, end(now));
            // What it is about to say is not about this.
            self.newcomers.remove(&client);
        }
    }

    /// If its session is a new one it drops everything before it says what it refers to.
    pub fn opens(&mut self, client: ClientId, new: bool) {
        if new {
            self.newcomers.insert(client);
        } else {
            self.newcomers.remove(&client);
        }
    }

    /// It has begun its session. Returns what nobody needs to wait for any more.
    pub fn has_begun_session(&mut self, client: ClientId) -> BTreeSet<NoticeId> {
        match self.newcomers.remove(&client) {
            true => self.forget_client(client),
            false => BTreeSet::new(),
        }
    }

    /// Who may have something cached, and until when.
    fn holders(&self, scope: Scope, now: Monotonic) -> BTreeMap<ClientId, Monotonic> {
        let mut holders = self.suspects.clone();
        for (client, end) in self.holders.get(&scope).into_iter().flatten() {
            let known = holders.entry(*client).or_insert(*end);
            *known = (*known).max(*end);
        }
        holders.retain(|_, end| *end > now);
        holders
    }

    /// These have changed, and that is not known before all of it is. Tells what is to be waited for.
    fn change(&mut self, scopes: &BTreeSet<Scope>, told: Told) -> Told {
        let earlier = scopes.iter().filter_map(|scope| self.unheard.get(scope)).flatten();
        let told: Told = earlier.copied().chain(told).collect();
        if !told.is_empty() {
            self.unheard.extend(scopes.iter().map(|scope| (*scope, told.clone())));
        }
        told
    }

    pub fn on_acked(&mut self, client: ClientId, notice: NoticeId) {
        self.told.remove(&(client, notice));
        self.hear(|it| *it == (client, notice));
    }

    fn hear(&mut self, has_heard: impl Fn(&(ClientId, NoticeId)) -> bool) {
        self.unheard.retain(|_, told| {
            told.retain(|it| !has_heard(it));
            !told.is_empty()
        });
    }

    /// It has nothing cached. Returns what nobody needs to wait for any more.
    pub fn forget_client(&mut self, client: ClientId) -> BTreeSet<NoticeId> {
        let told = self.told_to(client);
        self.suspects.remove(&client);
        self.newcomers.remove(&client);
        self.told.retain(|(of, _), _| *of != client);
        self.hear(|(of, _)| *of == client);
        self.holders.retain(|_, holders| {
            holders.remove(&client);
            !holders.is_empty()
        });
        told
    }

    /// What it is to acknowledge as one who may have something cached.
    #[must_use]
    pub fn told_to(&self, client: ClientId) -> BTreeSet<NoticeId> {
        let of_client = (client, NoticeId(0))..=(client, NoticeId(u64::MAX));
        self.told.range(of_client).map(|((_, id), _)| *id).collect()
    }

    fn clients(&self) -> impl Iterator<Item = ClientId> + '_ {
        let holders = self.holders.values().flat_map(BTreeMap::keys);
        self.suspects.keys().chain(holders).copied().chain(self.evicted.clients())
    }

    /// Drops what has ended. Whom nobody needs to wait for any more: they have nothing cached.
    pub fn trim(&mut self, now: Monotonic) -> Vec<(ClientId, NoticeId)> {
        self.suspects.retain(|_, end| *end > now);
        self.holders.retain(|_, holders| {
            holders.retain(|_, end| *end > now);
            !holders.is_empty()
        });
        self.told.iter().filter(|(_, end)| **end <= now).map(|(told, _)| *told).collect()
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.holders.values().map(|holders| holders.len() as u64).sum()
    }
}

/// The client counts from when it had asked, which was before.
fn end(now: Monotonic) -> Monotonic {
    now.after(CAPABILITY_TIME + CAPABILITY_MARGIN)
}

/// What an answer says may be cached, and the client is on record for it: should it change before the answer
/// is sent, the client hears of that first.
pub fn grant(cx: &mut Cx<'_>, client: ClientId, op: &Op, outcome: &Outcome) -> Promise {
    let scopes = scopes(op, outcome);
    if cx.own.sessions.get(client).is_none() {
        // It has left since it asked.
        return Promise::None;
    }
    if scopes.iter().any(|scope| is_unsettled(cx, *scope)) {
        return Promise::None;
    }
    for scope in &scopes {
        cx.own.capabilities.grant(*scope, client, cx.now.monotonic);
    }
    let exclusive = matches!(
        op,
        Op::Mkdir { ino, .. } | Op::Hold { dir: ino } if is_exclusive(cx, client, *ino)
    );
    match (scopes.is_empty(), exclusive) {
        (true, _) => Promise::None,
        (false, true) => Promise::Exclusive,
        (false, false) => Promise::Shared,
    }
}

fn is_exclusive(cx: &Cx<'_>, client: ClientId, dir: Ino) -> bool {
    cx.own.capabilities.exclusives.holder(dir) == Some(client)
}

/// Whether nobody else has anything of a directory, knows something of it that others are still to hear, or has
/// asked for it.
#[must_use]
pub fn is_alone(cx: &Cx<'_>, client: ClientId, dir: Ino) -> bool {
    let scope = Scope::Dir(dir);
    let capabilities = &cx.own.capabilities;
    let holder = capabilities.exclusives.holder(dir);
    let sharers = capabilities.holders(scope, cx.now.monotonic);
    let is_shared = sharers.keys().any(|other| *other != client);
    !is_unsettled(cx, scope)
        && holder.is_none_or(|holder| holder == client)
        && !capabilities.exclusives.is_recalled(dir)
        && !capabilities.unheard.contains_key(&scope)
        && !is_shared
}

fn is_here(cx: &Cx<'_>, dir: Ino) -> bool {
    let access = cx.own.subtrees.access(dir, Intent::Read, &cx.own.namespace);
    matches!(access, Ok(Access::Granted { .. }))
}

/// What was promised with an answer may have been taken back while that was withheld; by another rank, if
/// the directory has gone there.
pub fn keep_promise(cx: &Cx<'_>, client: ClientId, reply: &mut Reply) {
    let promised = match (reply.promise, &reply.outcome) {
        (Promise::Exclusive, Outcome::Done(Answer::Found(found))) => found.ino(),
        (Promise::Exclusive, Outcome::Done(Answer::Held(contents))) => contents.attr.ino,
        (_, _) => return,
    };
    if !(is_exclusive(cx, client, promised) && is_here(cx, promised)) {
        cov_mark::hit!(recalled_before_it_was_told);
        reply.promise = Promise::Shared;
    }
}

/// Whether an operation of several ranks is about to change something of it, or another rank is about to
/// serve it, which was told already who may have something cached.
fn is_unsettled(cx: &Cx<'_>, scope: Scope) -> bool {
    let locks = &cx.own.locks;
    match scope {
        Scope::Dir(dir) => {
            let whole = [Lock::Contents(dir), Lock::Parent(dir)];
            locks.in_dir(dir).is_some()
                || whole.iter().any(|lock| locks.holder(lock).is_some())
                || cx.admit(dir, Intent::Pin).is_err()
        }
        Scope::Home(ino) => locks.holder(&Lock::Inode(ino)).is_some(),
    }
}

/// What an answer says something about.
fn scopes(op: &Op, outcome: &Outcome) -> BTreeSet<Scope> {
    match (op, outcome) {
        (Op::Lookup { dir, .. }, Outcome::Refused(FsError::NotFound)) => [Scope::Dir(*dir)].into(),
        (
            Op::Lookup { dir, .. } | Op::Mkdir { dir, .. } | Op::Link { dir, .. },
            Outcome::Done(Answer::Found(found)),
        ) => of_entry(*dir, found),
        (Op::Create(create), Outcome::Done(Answer::Found(found))) => of_entry(create.dir, found),
        (Op::Readdir { dir, .. }, Outcome::Done(Answer::Page(page))) => {
            page.entries.iter().flat_map(|entry| of_entry(*dir, &entry.found)).collect()
        }
        (
            Op::Getattr { target } | Op::Setattr { target, .. } | Op::Wrote { target, .. },
            Outcome::Done(Answer::Attr(attr)),
        ) if attr.nlink > 0 => of_target(target).into_iter().collect(),
        (Op::Stat { targets }, Outcome::Done(Answer::Stats(attrs))) => {
            let known = targets.iter().zip(attrs).filter(|(_, attr)| attr.is_some());
            known.filter_map(|(target, _)| of_target(target)).collect()
        }
        (Op::Hold { dir }, Outcome::Done(Answer::Held(_))) => [Scope::Dir(*dir)].into(),
        // A kernel that has cached the one name goes on with the other.
        (Op::Rename(rename), Outcome::Done(_)) => {
            [Scope::Dir(rename.from_dir), Scope::Dir(rename.to_dir)].into()
        }
        _ => BTreeSet::new(),
    }
}

/// What an answer tells of changes that others do not know of yet: it comes when they do. Its own caches
/// are the client's business.
pub fn unheard(cx: &mut Cx<'_>, client: ClientId, op: &Op, outcome: &Outcome) -> Told {
    if cx.own.capabilities.unheard.is_empty() || mutated!(cx.params, SeenBeforeHeard) {
        return Told::new();
    }
    let scopes = concerned(cx, op, outcome);
    let told = scopes.iter().filter_map(|scope| cx.own.capabilities.unheard.get(scope)).flatten();
    told.copied().filter(|(of, _)| *of != client).collect()
}

/// Everything that an answer depends upon.
fn concerned(cx: &mut Cx<'_>, op: &Op, outcome: &Outcome) -> BTreeSet<Scope> {
    let mut all = scopes(op, outcome);
    match op {
        Op::Lookup { dir, name }
        | Op::Mkdir { dir, name, .. }
        | Op::Unlink { dir, name }
        | Op::Rmdir { dir, name } => all.extend(of_name(cx, *dir, name)),
        Op::Create(create) => all.extend(of_name(cx, create.dir, &create.name)),
        Op::Link { target, dir, name, .. } => {
            all.extend(of_target(target));
            all.extend(of_name(cx, *dir, name));
        }
        Op::Rename(rename) => {
            all.extend(of_name(cx, rename.from_dir, &rename.from));
            all.extend(of_name(cx, rename.to_dir, &rename.to));
        }
        Op::Readdir { dir, .. } => all.extend([Scope::Dir(*dir)]),
        Op::Getattr { target }
        | Op::Setattr { target, .. }
        | Op::Wrote { target, .. }
        | Op::Readlink { target }
        | Op::GetXattr { target, .. }
        | Op::SetXattr { target, .. }
        | Op::ListXattr { target }
        | Op::RemoveXattr { target, .. } => all.extend(of_target(target)),
        Op::Stat { targets } => all.extend(targets.iter().filter_map(of_target)),
        // What is locked is cached by nobody, and whoever asks for a directory takes it from nobody.
        Op::Forget { .. }
        | Op::Sync
        | Op::GetLock { .. }
        | Op::SetLock { .. }
        | Op::Hold { .. } => {}
    }
    all
}

/// A name, and what it stands for.
fn of_name(cx: &mut Cx<'_>, dir: Ino, name: &Name) -> Vec<Scope> {
    let inner = match cx.own.namespace.entry(dir, name) {
        Ok(Some(Linkage::Dir { ino })) => Some(Scope::Dir(*ino)),
        Ok(Some(Linkage::Remote { ino, .. })) => Some(Scope::Home(*ino)),
        Ok(Some(Linkage::Primary(_)) | None) | Err(_) => None,
    };
    [Scope::Dir(dir)].into_iter().chain(inner).collect()
}

fn of_entry(dir: Ino, found: &Found) -> BTreeSet<Scope> {
    let inner = match found {
        Found::Here(_) | Found::Dir { attr: None, .. } | Found::Remote { attr: None, .. } => None,
        Found::Dir { ino, attr: Some(_), .. } => Some(Scope::Dir(*ino)),
        Found::Remote { ino, attr: Some(_), .. } => Some(Scope::Home(*ino)),
    };
    [Scope::Dir(dir)].into_iter().chain(inner).collect()
}

fn of_target(target: &Target) -> Option<Scope> {
    match &target.place {
        Place::Dir => Some(Scope::Dir(target.ino)),
        Place::Entry { dir, .. } => Some(Scope::Dir(*dir)),
        Place::Home | Place::Orphan { .. } => Some(Scope::Home(target.ino)),
    }
}

/// Tells of what has just been changed here. Names the acknowledgements to wait for.
pub fn tell_touched(cx: &mut Cx<'_>, requester: ClientId) -> Told {
    let touched = cx.own.namespace.take_touched();
    let told = tell(cx, requester, &touched);
    let scopes: BTreeSet<Scope> = touched.iter().filter_map(scope_of).collect();
    let seq = cx.own.seq.next();
    for scope in &scopes {
        if let Scope::Dir(dir) = scope {
            cx.own.capabilities.undurable.note(*dir, seq, requester);
        }
    }
    let mut told = cx.own.capabilities.change(&scopes, told);
    told.retain(|(client, _)| *client != requester);
    told
}

/// What a row is part of.
fn scope_of(key: &Key) -> Option<Scope> {
    if let Key::Inode(ino) | Key::Orphan(ino) = key {
        return Some(Scope::Home(*ino));
    }
    key.dir().map(Scope::Dir)
}

/// Tells everybody who may have cached something of these rows, but for whoever changes them.
pub fn tell(cx: &mut Cx<'_>, requester: ClientId, keys: &BTreeSet<Key>) -> Told {
    // With what the names stand for now.
    let mut dirs: BTreeMap<Ino, BTreeMap<Name, Option<Ino>>> = BTreeMap::new();
    let mut told = Told::new();
    for key in keys {
        match (scope_of(key), key) {
            // Nobody has it cached as that. What it was before has changed as well.
            (_, Key::Orphan(_)) => {}
            (Some(Scope::Dir(dir)), Key::Entry(entry)) => {
                let linkage = cx.own.namespace.entry(dir, &entry.name);
                let ino = linkage.ok().flatten().map(Linkage::ino);
                dirs.entry(dir).or_default().insert(entry.name.clone(), ino);
            }
            (Some(Scope::Dir(dir)), _) => {
                dirs.entry(dir).or_default();
            }
            (Some(scope @ Scope::Home(ino)), _) => {
                let notice = Notice::ChangedAtHome { ino };
                tell_holders(cx, scope, &notice, requester, &mut told);
            }
            (None, _) => {}
        }
    }
    for (dir, names) in dirs {
        let notice = Notice::Changed { dir, names: names.into_iter().collect() };
        tell_holders(cx, Scope::Dir(dir), &notice, requester, &mut told);
    }
    if mutated!(cx.params, AnsweredBeforeHeard) {
        told.clear();
    }
    told
}

fn tell_holders(
    cx: &mut Cx<'_>,
    scope: Scope,
    notice: &Notice,
    requester: ClientId,
    told: &mut Told,
) {
    for (client, end) in cx.own.capabilities.holders(scope, cx.now.monotonic) {
        if client != requester {
            told.insert(tell_one(cx, client, Some(notice.clone()), end));
        }
    }
}

/// Who has no session cannot be told: that ends by itself.
fn tell_one(
    cx: &mut Cx<'_>,
    client: ClientId,
    notice: Option<Notice>,
    end: Monotonic,
) -> (ClientId, NoticeId) {
    let sessions = &mut cx.own.sessions;
    let id = notice.and_then(|notice| sessions.notify(client, notice, Tell::Now, cx.out));
    let id = id.unwrap_or_else(|| sessions.untellable());
    cx.own.capabilities.told.insert((client, id), end);
    (client, id)
}

/// What travels with a region of these directories.
#[must_use]
pub fn cached(cx: &Cx<'_>, dirs: &BTreeSet<Ino>) -> Cached {
    let (capabilities, sessions) = (&cx.own.capabilities, &cx.own.sessions);
    let evicted = capabilities.clients().filter(|client| sessions.get(*client).is_none());
    let unheard = capabilities.unheard.iter().filter_map(|(scope, told)| {
        let Scope::Dir(dir) = scope else { return None };
        let notice =
            |(client, id): &(ClientId, NoticeId)| (*client, sessions.notice(*client, *id).cloned());
        dirs.contains(dir).then(|| (*dir, told.iter().map(notice).collect()))
    });
    let exclusive = capabilities.exclusives.iter().filter(|(dir, _)| dirs.contains(dir));
    let exclusive = if mutated!(cx.params, ExclusiveNotCarried) {
        BTreeMap::new()
    } else {
        exclusive.collect()
    };
    Cached { evicted: evicted.collect(), unheard: unheard.collect(), exclusive }
}

/// What came with a region. Nobody hears here either of what clients have not dropped yet.
pub fn take_over(cx: &mut Cx<'_>, cached: &Cached) {
    let now = cx.now.monotonic;
    cx.own.capabilities.suspect(cached.evicted.iter().copied(), now);
    for (dir, client) in &cached.exclusive {
        cx.own.capabilities.exclusives.grant(*dir, *client);
    }
    for client in &cached.evicted {
        if cx.own.sessions.get(*client).is_none() {
            cx.own.capabilities.evicted.note(*client, now, cx.out);
            exclusive::end_session(cx, *client, true);
        }
    }
    for (dir, told) in &cached.unheard {
        let told: Vec<_> = told
            .iter()
            .map(|(client, notice)| tell_one(cx, *client, notice.clone(), end(now)))
            .collect();
        cx.own.capabilities.unheard.entry(Scope::Dir(*dir)).or_default().extend(told);
    }
}

#[cfg(test)]
mod tests;
