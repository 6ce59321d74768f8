//! What clients say that they hold. A claim is taken at once, so that nobody takes away what it is on;
//! that the inode is where its client believes is looked at afterwards.

use std::collections::{BTreeMap, BTreeSet};

use common::file_lock::FileLocks;
use common::id::{ClientId, DirFragId, Ino, RequestId};
use common::time::Now;
use common::wire::request::{Place, Target};
use common::wire::session::{Notice, PinClaim, PinnedBy, ToClient};

use super::Mds;
use crate::capability::exclusive;
use crate::effect::Effects;
use crate::holdings::Repeated;
use crate::input::Fetch;
use crate::mutant::mutated;
use crate::row::Linkage;
use crate::session::{Met, Tell};
use crate::subtree::{Access, Intent};

/// Claims on their way.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Claims {
    /// Those made so far on the present connection.
    making: BTreeMap<ClientId, Making>,
    /// Taken before it was known who is the authority, or what the name is of.
    unverified: Vec<Unverified>,
    /// Those of them that wait for the store. There may be very many.
    unfetched: BTreeMap<Fetch, Vec<Unverified>>,
    /// Those in directories that were lost with power, maybe, and that clients are about to make once more.
    unrepeated: Vec<Unverified>,
    /// Those of files without a name that there are not: what takes the last name may not have been answered,
    /// and be carried out when all that was answered is repeated.
    unnamed: Vec<Unverified>,
    /// Claims in a region that may be ours or not: they end with the doubt if it is not.
    in_doubt: BTreeMap<DirFragId, Vec<Unverified>>,
}

/// What a client that has just opened a connection holds.
#[derive(Clone, Debug, Hash)]
struct Making {
    /// Pinned by it before, as far as this rank knows: given back unless it is claimed. (What comes
    /// with an import afterwards, the client may not know to be here.)
    held: BTreeSet<Ino>,
    met: Met,
    made: BTreeMap<Ino, Claimed>,
    exclusive: BTreeSet<Ino>,
}

#[derive(Clone, Debug, Hash)]
struct Claimed {
    place: Place,
    by: PinnedBy,
    locks: FileLocks,
}

/// A pin that was claimed where its inode may not be.
#[derive(Clone, Debug, Hash)]
struct Unverified {
    client: ClientId,
    ino: Ino,
    /// The directory in whose entry it is embedded, which may be elsewhere. `None`: it is at its home.
    dir: Option<Ino>,
    /// By what answer it is claimed, and at which place: somebody may have moved the inode while this rank,
    /// or the one that had its directory then, knew nothing of the client, and so told it nothing.
    news: Option<(RequestId, Place)>,
    /// Locks of a session that has just begun: whether they are in another's way is not judged before it is
    /// known that the file is here. Until then it may have locked anything.
    locks: FileLocks,
}

impl Claims {
    pub(super) fn begin(&mut self, client: ClientId, held: BTreeSet<Ino>, met: Met) {
        self.making.insert(
            client,
            Making { held, met, made: BTreeMap::new(), exclusive: BTreeSet::new() },
        );
    }

    /// Its session is over.
    pub(super) fn forget(&mut self, client: ClientId) {
        self.making.remove(&client);
    }

    /// The store has answered.
    pub(super) fn on_fetched(&mut self, asked: &Fetch) {
        self.unverified.extend(self.unfetched.remove(asked).unwrap_or_default());
    }
}

impl Mds {
    /// What lies elsewhere is counted elsewhere: the client did not hear that its region moved.
    pub(super) fn on_claim(&mut self, client: ClientId, pins: Vec<PinClaim>, out: &mut Effects) {
        for PinClaim { target, by, locks } in pins {
            let orphaned = Place::Orphan { rank: self.params.me };
            let place = match self.own.sessions.untold_place(client, target.ino) {
                // It may not have heard that the last name went, and the name's directory may be elsewhere.
                _ if self.own.namespace.orphan(target.ino).is_some() => {
                    if target.place != orphaned {
                        self.tell_unlinked(client, target.ino, out);
                    }
                    orphaned
                }
                // The other rank has kept its pin.
                Some((_, rank)) if rank != self.params.me => continue,
                Some((place, _)) => place.clone(),
                None => target.place,
            };
            let dir = place.embedded_in();
            let access =
                dir.map(|dir| self.own.subtrees.access(dir, Intent::Read, &self.own.namespace));
            match access {
                Some(Ok(Access::Elsewhere(route))) => {
                    self.own.sessions.tell(client, ToClient::Route(route), out);
                }
                Some(Ok(Access::Unknown)) if self.own.repeated == Repeated::Yes => {}
                Some(Ok(Access::Frozen { base })) if self.migrator.brings_pins(base) => {
                    cov_mark::hit!(the_exporter_counts_pins);
                }
                _ if mutated!(self.params, ClaimDropped) => {}
                // What is not known may be lost, and about to be repeated.
                Some(
                    Ok(Access::Granted { .. } | Access::Frozen { .. } | Access::Unknown) | Err(_),
                )
                | None => {
                    let Some(making) = self.clients.claims.making.get_mut(&client) else {
                        continue;
                    };
                    making.made.insert(target.ino, Claimed { place, by, locks });
                }
            }
        }
    }

    pub(super) fn on_claim_exclusive(&mut self, client: ClientId, dirs: Vec<Ino>) {
        if let Some(making) = self.clients.claims.making.get_mut(&client)
            && !mutated!(self.params, ExclusiveUnclaimed)
        {
            making.exclusive.extend(dirs);
        }
    }

    /// A client's session may have ended, and with it what was still to be told. It would give back what
    /// it holds to where it believes it to be.
    fn tell_unlinked(&mut self, client: ClientId, ino: Ino, out: &mut Effects) {
        let tell = Tell::Durable(self.own.advance());
        let notice = Notice::Unlinked { ino, rank: self.params.me };
        let _ends_again_with_the_session = self.own.sessions.notify(client, notice, tell, out);
    }

    /// Looks again at claims: the directory may not have been cached, or have moved since.
    pub(super) fn verify_claims(&mut self, out: &mut Effects) {
        let is_over = self.clients.replay_is_over();
        let (claims, subtrees) = (&mut self.clients.claims, &self.own.subtrees);
        for (_, settled) in claims.in_doubt.extract_if(.., |base, _| !subtrees.is_in_doubt(*base)) {
            claims.unverified.extend(settled);
        }
        if self.own.repeated == Repeated::Yes {
            claims.unverified.append(&mut claims.unrepeated);
        }
        if is_over {
            claims.unverified.append(&mut claims.unnamed);
        }
        for claim in std::mem::take(&mut self.clients.claims.unverified) {
            let Some(dir) = claim.dir else {
                self.verify_place(claim, out);
                continue;
            };
            match self.own.subtrees.access(dir, Intent::Read, &self.own.namespace) {
                Ok(Access::Frozen { base }) if self.migrator.brings_pins(base) => {
                    self.unclaim(&claim, out);
                }
                Ok(Access::Frozen { base }) if self.own.subtrees.is_in_doubt(base) => {
                    self.clients.claims.in_doubt.entry(base).or_default().push(claim);
                }
                Ok(Access::Granted { .. } | Access::Frozen { .. }) => self.verify_place(claim, out),
                Ok(Access::Unknown) if self.own.repeated == Repeated::NotYet => {
                    cov_mark::hit!(what_is_claimed_may_still_be_repeated);
                    self.clients.claims.unrepeated.push(claim);
                }
                Ok(Access::Elsewhere(_) | Access::Unknown) => self.unclaim(&claim, out),
                Err(fetch) => self.fetch_for_claim(fetch, claim, out),
            }
        }
    }

    fn fetch_for_claim(&mut self, fetch: Fetch, claim: Unverified, out: &mut Effects) {
        self.own.namespace.fetch(fetch.clone(), out);
        self.clients.claims.unfetched.entry(fetch).or_default().push(claim);
    }

    /// What was claimed is counted elsewhere, unless it has come here since.
    fn unclaim(&mut self, claim: &Unverified, out: &mut Effects) {
        if self.own.pins.dir_of(claim.ino) == claim.dir {
            self.own.unpin(claim.ino, claim.client, out);
        }
        self.judge_locks(claim, out);
    }

    /// The file is here.
    fn judge_locks(&mut self, claim: &Unverified, out: &mut Effects) {
        let Unverified { client, ino, locks, .. } = claim;
        if self.own.pins.locks().is_assumed(*ino, *client) && !locks.is_empty() {
            self.claim_locks(*client, *ino, locks.clone(), false, out);
        }
    }

    fn claim_locks(
        &mut self,
        client: ClientId,
        ino: Ino,
        locks: FileLocks,
        is_resumed: bool,
        out: &mut Effects,
    ) {
        let lost = self.own.pins.claim_locks(ino, client, locks, is_resumed);
        if !lost.is_empty() {
            cov_mark::hit!(what_was_locked_is_locked_by_another);
            self.own.sessions.tell(client, ToClient::NotLocked { ino, locks: lost }, out);
        }
    }

    /// A place that it is not at says nothing about where it is: its client finds it by another name, or not.
    fn verify_place(&mut self, claim: Unverified, out: &mut Effects) {
        let Unverified { client, ino, dir, news: Some((latest, place)), .. } = &claim else {
            return;
        };
        let told_since = self.own.sessions.untold_place(*client, *ino).is_some();
        let is_orphan = self.own.namespace.orphan(*ino).is_some();
        if told_since || is_orphan || self.own.pins.dir_of(*ino) != *dir {
            return self.judge_locks(&claim, out);
        }
        let is_there = match place {
            Place::Entry { dir, name } => self.own.namespace.entry(*dir, name).map(
                |found| matches!(found, Some(Linkage::Primary(inode)) if inode.attr.ino == *ino),
            ),
            Place::Home => self.own.namespace.inode(*ino).map(|found| found.is_some()),
            // Whoever removed its last name may have died, and nobody has done so again.
            Place::Orphan { .. } => Ok(false),
            Place::Dir => Ok(true),
        };
        match is_there {
            Ok(true) => self.judge_locks(&claim, out),
            Ok(false) => {
                cov_mark::hit!(what_is_claimed_where_it_is_not_is_not_held);
                // What it has found since counts.
                self.own.give_back(*ino, *client, RequestId(latest.0.saturating_add(1)), out);
                let target = Target { ino: *ino, place: place.clone() };
                let not_held = ToClient::NotHeld { target, latest: *latest };
                self.own.sessions.tell(*client, not_held, out);
            }
            Err(fetch) => self.fetch_for_claim(fetch, claim, out),
        }
    }

    /// The client holds exactly what it has claimed, and what answers name that it has not seen yet:
    /// those it was told of since, and those that are still to come.
    pub(super) fn on_claims_done(&mut self, now: Now, client: ClientId, out: &mut Effects) {
        let Some(making) = self.clients.claims.making.remove(&client) else { return };
        let Making { mut held, met, made, exclusive } = making;
        let known = met != Met::NotYet;
        exclusive::claim(&mut self.split(now, out).0, client, &exclusive, known);
        for notice in self.own.capabilities.has_begun_session(client) {
            self.heard(now, client, notice, out);
        }
        if self.own.sessions.has_claimed(client) {
            // Also what was assumed since.
            held = self.own.pins.of(client).collect();
        }
        let mut unseen = self.own.pins.end_claims(client);
        unseen.extend(self.requests.unsent_pins(client));
        for ino in held {
            if !made.contains_key(&ino) && !unseen.contains(&ino) {
                self.own.unpin(ino, client, out);
            }
        }
        for (ino, Claimed { place, by, locks }) in made {
            let untold = self.own.sessions.untold_place(client, ino);
            if untold.is_some_and(|(_, rank)| rank != self.params.me) {
                cov_mark::hit!(it_was_moved_while_it_was_claimed);
                continue;
            }
            let latest = match by {
                PinnedBy::Answered(latest) => Some(latest),
                // What was carried out has pinned it then, as the journal does not say.
                PinnedBy::Unanswered(id) => self
                    .own
                    .sessions
                    .get(client)
                    .and_then(|session| session.has_completed(id).then_some(id)),
            };
            if let Some(latest) = latest {
                self.take_claim((client, met), (Target { ino, place }, locks), latest, out);
            }
        }
    }

    /// Whoever comes for the first time held nothing here before, but by a session that has ended.
    fn take_claim(
        &mut self,
        (client, met): (ClientId, Met),
        (target, locks): (Target, FileLocks),
        latest: RequestId,
        out: &mut Effects,
    ) {
        let (ino, is_news) = (target.ino, met == Met::NotYet);
        let claimed = target.place.embedded_in();
        let dir = self.place_of_pinned(ino).unwrap_or(claimed);
        let is_orphan = self.own.namespace.orphan(ino).is_some();
        if is_news && !is_orphan && claimed.is_some() && dir != claimed {
            self.own.sessions.tell(client, ToClient::NotHeld { target, latest }, out);
            return;
        }
        let latest = if mutated!(self.params, ClaimForGood) { RequestId(u64::MAX) } else { latest };
        self.own.pins.claim(ino, dir, client, latest);
        let is_here = claimed.is_none_or(|dir| {
            let access = self.own.subtrees.access(dir, Intent::Read, &self.own.namespace);
            matches!(access, Ok(Access::Granted { .. }))
        });
        let unjudged = if is_news && !is_here && !locks.is_empty() {
            cov_mark::hit!(whose_locks_these_are_is_not_known_yet);
            self.own.pins.locks_mut(ino).assume(ino, client);
            locks
        } else {
            self.claim_locks(client, ino, locks, !is_news, out);
            FileLocks::default()
        };
        // Its session at the rank from which the directory came may have ended before it did.
        let has_come =
            claimed.is_some_and(|dir| self.own.held.contains_key(&DirFragId::whole(dir)));
        let is_orphaned = matches!(target.place, Place::Orphan { .. });
        let is_none = is_orphaned && !is_orphan;
        if dir.is_some() || is_news || is_none {
            let news = (is_news || has_come || is_none).then_some((latest, target.place));
            let claim = Unverified { client, ino, dir, news, locks: unjudged };
            if is_none {
                self.clients.claims.unnamed.push(claim);
            } else if has_come && !is_news && self.own.repeated == Repeated::NotYet {
                self.clients.claims.unrepeated.push(claim);
            } else {
                self.clients.claims.unverified.push(claim);
            }
        }
    }

    /// Where an inode is embedded, if this rank knows. Who claims may not have heard of it yet.
    fn place_of_pinned(&self, ino: Ino) -> Option<Option<Ino>> {
        if self.own.namespace.orphan(ino).is_some() {
            return Some(None);
        }
        self.own.pins.is_pinned(ino).then(|| self.own.pins.dir_of(ino))
    }
}
