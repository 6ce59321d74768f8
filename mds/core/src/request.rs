//! The life of a client's request: admitted, tried, perhaps parked and tried anew, answered.
//!
//! An operation ([`Cx`] in, [`Step`] out; one file each) either happens whole in one turn or has
//! changed nothing and says why it stops. What waits is a [`Parked`] request under the [`Wait`] that
//! ends it; when that comes, it is tried from the beginning. So there is no half-done state.
//!
//! A change that others must hear of first is applied at once, but its answer is held until they
//! have acknowledged: [`withheld`].

use std::collections::{BTreeMap, BTreeSet};

use common::acl;
use common::error::FsError;
use common::id::{ClientId, Ino, NoticeId, RequestId, Seq};
use common::wire::reply::{Answer, Outcome, Promise, Reply};
use common::wire::request::{Op, Request};
use common::wire::session::ToClient;

use crate::capability::{self, Told, exclusive};
use crate::cx::{Cx, Step, Stop, Wait};
use crate::effect::Effect;
use crate::mutant::mutated;
use crate::replica;
use crate::request::withheld::Withheld;

pub mod create;
pub mod deadlock;
pub mod file_lock;
pub mod forget;
pub mod getattr;

pub mod hold;
pub mod link;
pub mod lookup;
pub mod mkdir;
pub mod readdir;
pub mod readlink;
pub mod rename;
pub mod retry;
pub mod rmdir;
pub mod setattr;
pub mod sync;
pub mod target;
pub mod under_way;
pub mod unlink;
mod withheld;
pub mod xattr;

/// The requests that are under way at this rank.
#[derive(Clone, Debug, Default, Hash)]
pub struct Requests {
    parked: BTreeMap<Wait, Vec<Parked>>,
    /// Those that are parked: every request that comes is looked for among them.
    waiting: BTreeSet<(ClientId, RequestId)>,
    held: BTreeMap<(ClientId, RequestId), Withheld>,
    /// Handed over to an operation of several ranks, which answers.
    handed_over: BTreeSet<(ClientId, RequestId)>,
    /// Repeated, and refused though they were not then: something that is not repeated came before them.
    stumbled: Vec<Parked>,
    /// Of those: nothing is left that could have.
    hopeless: BTreeSet<(ClientId, RequestId)>,
    /// Requests answered since the start.
    answered: u64,
}

/// A request that waits to be tried anew.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Parked {
    pub client: ClientId,
    pub request: Request,
}

/// What an operation has come to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Done {
    pub answer: Answer,
    pub effect: Changed,
    /// Acknowledgements without which it may not be answered.
    pub awaited: Vec<(ClientId, NoticeId)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Changed {
    Nothing,
    Something,
}

impl Done {
    #[must_use]
    pub fn read(answer: Answer) -> Self {
        Self { answer, effect: Changed::Nothing, awaited: Vec::new() }
    }

    #[must_use]
    pub fn changed(answer: Answer) -> Self {
        Self { answer, effect: Changed::Something, awaited: Vec::new() }
    }
}

/// Whether a request is done with here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Answered, held or parked.
    Kept,
    /// Several ranks must take part: the caller hands it to the two-phase coordinator.
    TwoPhase(Parked),
}

impl Requests {
    /// A request arrives from a client with a session.
    pub fn admit(&mut self, client: ClientId, request: Request, cx: &mut Cx<'_>) -> Verdict {
        cx.own.sessions.on_request(client, (request.id, request.oldest), cx.out);
        if self.waiting.remove(&(client, request.id)) {
            // Its client may have heard meanwhile where that is which it asks for.
            cov_mark::hit!(a_copy_replaces_what_waits);
            self.unpark(|parked| (parked.client, parked.request.id) == (client, request.id));
        } else if self.is_under_way(client, request.id) {
            // A new connection repeats what the old one may have lost. The answer will come.
            return Verdict::Kept;
        }
        let parked = Parked { client, request };
        // Sent once more before its client had the answer, or while another rank was asked.
        if let Some(outcome) = cx.own.sessions.answered(client, parked.request.id).cloned() {
            cov_mark::hit!(a_copy_of_what_came_to_nothing);
            self.reply(&parked, outcome, cx);
            return Verdict::Kept;
        }
        if let Some(applied) = retry::undurable(&parked, cx) {
            self.park(parked, Wait::Durable(applied), cx);
            return Verdict::Kept;
        }
        self.run(parked, cx)
    }

    /// What was repeated in vain since this was asked last.
    pub fn take_stumbled(&mut self) -> Vec<Parked> {
        std::mem::take(&mut self.stumbled)
    }

    /// It is answered as it stands from now on.
    pub fn give_up(&mut self, Parked { client, request }: &Parked) {
        self.hopeless.insert((*client, request.id));
    }

    fn may_stumble(&self, Parked { client, request }: &Parked) -> bool {
        request.replay.is_some() && !self.hopeless.contains(&(*client, request.id))
    }

    /// Tries a request from the beginning.
    fn run(&mut self, parked: Parked, cx: &mut Cx<'_>) -> Verdict {
        let Parked { client, request } = &parked;
        let Some(session) = cx.own.sessions.get(*client) else { return Verdict::Kept };
        if session.is_past(request.id) && !matches!(request.op, Op::SetLock { .. }) {
            // A copy that waited while another one was answered: carried out it would be done twice.
            cov_mark::hit!(a_copy_outlives_its_answer);
            return Verdict::Kept;
        }
        let done = session.has_completed(request.id)
            || (mutated!(cx.params, CompletedAsWatermark)
                && session.completed().iter().last() > Some(request.id));
        let met_at = session.met_at();
        let step = if let Err(stop) = exclusive::admit_request(cx, *client, request) {
            Err(stop)
        } else if request.op.is_change() && !done && cx.own.is_read_only() {
            Err(FsError::ReadOnly.into())
        } else if request.op.is_change() && !done && cx.own.durable < met_at {
            // Whose change is lost with this rank's power repeats it before others see that it is missing.
            cov_mark::hit!(who_changes_something_is_known_to_have_been_here);
            Err(Stop::Wait(Wait::Durable(met_at)))
        } else if request.op.is_change() && done {
            retry::answer(cx, *client, request)
        } else {
            let _of_others = cx.own.namespace.take_touched();
            attempt(cx, *client, request)
        };
        match step {
            Ok(done) => self.finish(&parked, done, cx),
            Err(Stop::TwoPhase) => {
                self.handed_over.insert((parked.client, parked.request.id));
                return Verdict::TwoPhase(parked);
            }
            Err(stop) => self.stop(parked, stop, cx),
        }
        Verdict::Kept
    }

    /// What it names is not where the client believes it to be. If a notice that is still to be told says
    /// where it is, the answer comes after that: or the client would look for it in vain.
    fn gone(&mut self, parked: Parked, ino: Ino, cx: &mut Cx<'_>) {
        match cx.own.sessions.hears_at(parked.client, ino) {
            Some(seq) => {
                cov_mark::hit!(gone_comes_after_the_notice);
                self.park(parked, Wait::Durable(seq), cx);
            }
            None => self.reply(&parked, Outcome::Gone { ino }, cx),
        }
    }

    fn park(&mut self, parked: Parked, wait: Wait, cx: &mut Cx<'_>) {
        match &wait {
            Wait::Fetch(fetch) => cx.own.namespace.fetch(fetch.clone(), cx.out),
            Wait::Durable(_) => cx.out.push(Effect::SyncSoon),
            Wait::Spine(dir) => replica::discover(cx, *dir, None),
            Wait::Thaw(_)
            | Wait::Unlock(_)
            | Wait::Map
            | Wait::Repeated
            | Wait::FileLock(_)
            | Wait::Recall(_)
            | Wait::Strangers => {}
        }
        tracing::trace!(client = parked.client.0, id = parked.request.id.0, ?wait, "parked");
        self.waiting.insert((parked.client, parked.request.id));
        self.parked.entry(wait).or_default().push(parked);
    }

    fn finish(&mut self, parked: &Parked, done: Done, cx: &mut Cx<'_>) {
        let mut awaited = capability::tell_touched(cx, parked.client);
        awaited.extend(done.awaited);
        let applied = (done.effect == Changed::Something).then(|| {
            let seq = cx.own.advance();
            cx.own.sessions.complete(parked.client, parked.request.id, seq, cx.out);
            seq
        });
        self.answer(parked, applied, Outcome::Done(done.answer), awaited, cx);
    }

    /// Answers what an operation of several ranks has done.
    pub fn finish_two_phase(
        &mut self,
        parked: &Parked,
        applied: Option<Seq>,
        done: Done,
        cx: &mut Cx<'_>,
    ) {
        self.handed_over.remove(&(parked.client, parked.request.id));
        let awaited = done.awaited.into_iter().collect();
        self.answer(parked, applied, Outcome::Done(done.answer), awaited, cx);
    }

    /// An operation of several ranks could not be, or is to be tried anew.
    pub fn stop_two_phase(&mut self, parked: Parked, stop: Stop, cx: &mut Cx<'_>) {
        self.handed_over.remove(&(parked.client, parked.request.id));
        if cx.own.sessions.get(parked.client).is_none() {
            cov_mark::hit!(who_asked_for_it_has_been_sent_away);
            return;
        }
        self.stop(parked, stop, cx);
    }

    fn stop(&mut self, parked: Parked, stop: Stop, cx: &mut Cx<'_>) {
        match stop {
            Stop::Refuse(_) | Stop::Gone(_) if self.may_stumble(&parked) => {
                self.stumbled.push(parked);
            }
            Stop::Refuse(error) => {
                self.answer(&parked, None, Outcome::Refused(error), Told::new(), cx);
            }
            Stop::Redirect(route) => self.reply(&parked, Outcome::Redirect(route), cx),
            Stop::Gone(ino) => self.gone(parked, ino, cx),
            Stop::Wait(Wait::FileLock(_)) if self.closes_circle(&parked, &cx.own.pins) => {
                self.refuse_lock(&parked, cx);
            }
            Stop::Wait(wait) => self.park(parked, wait, cx),
            Stop::TwoPhase => unreachable!("the coordinator is where such operations end up"),
        }
    }

    /// Other ranks were in the way and are not any more: from the beginning.
    pub fn retry_two_phase(&mut self, parked: Parked, cx: &mut Cx<'_>) -> Verdict {
        self.handed_over.remove(&(parked.client, parked.request.id));
        self.run(parked, cx)
    }

    /// Answers, when everybody knows who is to know before.
    fn answer(
        &mut self,
        parked: &Parked,
        applied: Option<Seq>,
        outcome: Outcome,
        mut awaited: Told,
        cx: &mut Cx<'_>,
    ) {
        let Parked { client, request } = parked;
        awaited.extend(capability::unheard(cx, *client, &request.op, &outcome));
        // A change that was made before is answered as it was made: what has become of it since is not known.
        let promise = if request.op.is_change() && applied.is_none() {
            Promise::None
        } else {
            capability::grant(cx, *client, &request.op, &outcome)
        };
        let (id, map_epoch, after) = (request.id, cx.map.epoch, cx.own.sessions.last_notice());
        let reply = Reply { id, applied, map_epoch, outcome, promise, after };
        let (is_change, dir) = (request.op.is_change(), request.op.dir());
        let held = Withheld { reply, is_change, dir, awaited };
        if held.awaited.is_empty() {
            self.send(*client, held, cx);
        } else {
            self.held.insert((*client, request.id), held);
        }
    }

    /// Says where to ask instead, or once more what was said.
    fn reply(&mut self, parked: &Parked, outcome: Outcome, cx: &mut Cx<'_>) {
        let (id, map_epoch, promise) = (parked.request.id, cx.map.epoch, Promise::None);
        let after = cx.own.sessions.last_notice();
        let reply = Reply { id, applied: None, map_epoch, outcome, promise, after };
        let is_change = parked.request.op.is_change();
        self.send(
            parked.client,
            Withheld { reply, is_change, dir: None, awaited: Told::new() },
            cx,
        );
    }

    fn send(&mut self, client: ClientId, held: Withheld, cx: &mut Cx<'_>) {
        let Withheld { mut reply, is_change, dir: _, awaited: _ } = held;
        capability::keep_promise(cx, client, &mut reply);
        self.answered += 1;
        self.hopeless.remove(&(client, reply.id));
        let came_to_nothing = match reply.outcome {
            // With another number it may be asked for again.
            Outcome::Refused(FsError::Stale) | Outcome::Redirect(_) | Outcome::Gone { .. } => false,
            Outcome::Refused(_) => true,
            Outcome::Done(_) => is_change && reply.applied.is_none(),
        };
        if came_to_nothing {
            cx.own.sessions.answer(client, reply.id, reply.outcome.clone());
        }
        tracing::trace!(client = client.0, id = reply.id.0, outcome = ?reply.outcome, "reply");
        cx.own.sessions.tell(client, ToClient::Reply(reply), cx.out);
    }

    /// These wait no more.
    fn unpark(&mut self, which: impl Fn(&Parked) -> bool) {
        self.parked.retain(|_, all| {
            all.retain(|parked| !which(parked));
            !all.is_empty()
        });
    }

    /// Something that requests waited for has come. Those that need several ranks are returned.
    #[must_use]
    pub fn wake(&mut self, wait: &Wait, cx: &mut Cx<'_>) -> Vec<Parked> {
        let woken = self.parked.remove(wait).unwrap_or_default();
        for parked in &woken {
            self.waiting.remove(&(parked.client, parked.request.id));
        }
        self.run_all(woken, cx)
    }

    /// Everything up to `through` is durable.
    #[must_use]
    pub fn wake_durable(&mut self, through: Seq, cx: &mut Cx<'_>) -> Vec<Parked> {
        let due: Vec<Wait> = self
            .parked
            .range(Wait::Durable(Seq(0))..=Wait::Durable(through))
            .map(|(wait, _)| wait.clone())
            .collect();
        due.iter().flat_map(|wait| self.wake(wait, cx)).collect()
    }

    fn run_all(&mut self, woken: Vec<Parked>, cx: &mut Cx<'_>) -> Vec<Parked> {
        let mut handed_over = Vec::new();
        for parked in woken {
            match self.run(parked, cx) {
                Verdict::Kept => {}
                Verdict::TwoPhase(parked) => handed_over.push(parked),
            }
        }
        handed_over
    }

    /// A client has acknowledged a notice: whoever waited for the last one is answered.
    pub fn on_acked(&mut self, client: ClientId, notice: NoticeId, cx: &mut Cx<'_>) {
        self.release_held(|awaited| *awaited == (client, notice), cx);
    }

    /// A session ended: nobody waits for it, and what it asked is void.
    /// But for these notices: it may go on with what it has cached.
    pub fn forget_client(
        &mut self,
        client: ClientId,
        awaited: &BTreeSet<NoticeId>,
        cx: &mut Cx<'_>,
    ) {
        self.unpark(|parked| parked.client == client);
        self.waiting.retain(|(owner, _)| *owner != client);
        self.hopeless.retain(|(owner, _)| *owner != client);
        self.held.retain(|(holder, _), _| *holder != client);
        self.release_held(|(of, notice)| *of == client && !awaited.contains(notice), cx);
    }

    /// What answers will pin for a client that are not sent yet, once for each.
    #[must_use]
    pub fn unsent_pins(&self, client: ClientId) -> Vec<Ino> {
        let of_client = (client, RequestId(0))..=(client, RequestId(u64::MAX));
        let pins = |held: &Withheld| match &held.reply.outcome {
            Outcome::Done(answer) => answer.pins(),
            Outcome::Refused(_) | Outcome::Redirect(_) | Outcome::Gone { .. } => None,
        };
        self.held.range(of_client).filter_map(|(_, held)| pins(held)).collect()
    }

    /// What waits, and for what.
    pub fn parked(&self) -> impl Iterator<Item = (&Wait, ClientId, RequestId)> {
        self.parked.iter().flat_map(|(wait, parked)| {
            parked.iter().map(move |parked| (wait, parked.client, parked.request.id))
        })
    }

    /// Whether what is parked and what is known to be are the same.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        let parked: BTreeSet<_> = self.parked().map(|(_, client, id)| (client, id)).collect();
        parked == self.waiting && parked.len() == self.parked().count()
    }

    /// What operations of several ranks answer.
    pub fn handed_over(&self) -> impl Iterator<Item = (ClientId, RequestId)> + '_ {
        self.handed_over.iter().copied()
    }

    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// Requests that wait, for whatever.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        (self.waiting.len() + self.held.len() + self.handed_over.len()) as u64
    }
}

/// Carries a request out, or says why it does not go on.
fn attempt(cx: &mut Cx<'_>, client: ClientId, request: &Request) -> Step<Done> {
    match &request.op {
        Op::Lookup { dir, name } => lookup::lookup(cx, client, *dir, name),
        Op::Getattr { target } => getattr::getattr(cx, client, target),
        Op::Stat { targets } => getattr::stat(cx, targets),
        Op::Setattr { target, set } => setattr::setattr(cx, client, request, target, set),
        Op::Wrote { target, end, kill_privileges } => {
            setattr::wrote(cx, client, request, target, *end, *kill_privileges)
        }
        Op::Readdir { dir, cookie, entries_max } => {
            readdir::readdir(cx, *dir, *cookie, *entries_max)
        }
        Op::Create(create) => create::create(cx, client, request, create),
        Op::Mkdir { dir, name, ino, mode, umask, exclusive } => {
            let new = mkdir::NewDir { dir: *dir, name, ino: *ino, mode: *mode, umask: *umask };
            let done = mkdir::mkdir(cx, client, request, &new)?;
            if *exclusive && !cx.dir(*ino)?.xattrs.contains_key(acl::DEFAULT) {
                cx.own.capabilities.exclusives.grant(*ino, client);
            }
            Ok(done)
        }
        Op::Unlink { dir, name } => unlink::unlink(cx, client, request, *dir, name),
        Op::Rmdir { dir, name } => rmdir::rmdir(cx, request, *dir, name),
        Op::Link { target, dir, name, .. } => link::link(cx, client, request, target, (*dir, name)),
        Op::Rename(rename) => rename::rename(cx, client, request, rename),
        Op::Readlink { target } => readlink::readlink(cx, target),
        Op::GetXattr { target, name } => xattr::get(cx, target, name),
        Op::SetXattr { target, name, value, mode } => {
            xattr::set(cx, request, target, (name, value), *mode)
        }
        Op::ListXattr { target } => xattr::list(cx, target),
        Op::RemoveXattr { target, name } => xattr::remove(cx, request, target, name),
        Op::Forget { items } => forget::forget(cx, client, items),
        Op::Sync => sync::sync(cx, client),
        Op::GetLock { target, lock } => file_lock::get(cx, client, target, *lock),
        Op::SetLock { target, set, unanswered } => {
            file_lock::set(cx, client, request.id, target, (set, unanswered))
        }
        Op::Hold { dir } => hold::hold(cx, client, *dir),
    }
}

#[cfg(test)]
mod tests;
