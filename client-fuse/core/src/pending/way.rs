//! How an operation finds its way: what it is about, and which rank that leads to.

use common::error::FsError;
use common::id::{Ino, Rank, RequestId, Seq};
use common::limit::INO_RANGE_LOW;
use common::wire::request::{Create, Op, Place, Request, Target};

use crate::cx::Cx;
use crate::pending::{Owner, Pended, State, UNNUMBERED};

impl Pended {
    pub(super) fn request(&self, id: RequestId, oldest: RequestId, replay: Option<Seq>) -> Request {
        Request { id, oldest, caller: self.caller, at: self.at, replay, op: self.op.clone() }
    }

    /// The inode and its place, of an operation about one inode.
    pub(super) fn target(&mut self) -> Option<&mut Target> {
        match &mut self.op {
            Op::Getattr { target }
            | Op::Setattr { target, .. }
            | Op::Link { target, .. }
            | Op::Readlink { target }
            | Op::GetXattr { target, .. }
            | Op::SetXattr { target, .. }
            | Op::ListXattr { target }
            | Op::RemoveXattr { target, .. }
            | Op::Wrote { target, .. }
            | Op::GetLock { target, .. }
            | Op::SetLock { target, .. } => Some(target),
            Op::Lookup { .. }
            | Op::Readdir { .. }
            | Op::Stat { .. }
            | Op::Create(_)
            | Op::Mkdir { .. }
            | Op::Unlink { .. }
            | Op::Rmdir { .. }
            | Op::Rename(_)
            | Op::Forget { .. }
            | Op::Sync
            | Op::Hold { .. } => None,
        }
    }

    /// Names the inode, and where other ranks' parts are, as is known by now.
    pub(super) fn refresh(&mut self, cx: &Cx<'_>) {
        // Whoever is sought may be where we do not believe it to be.
        if !self.as_it_was && !matches!(self.owner, Owner::Seeker { .. }) {
            self.refresh_place(cx);
        }
        match &mut self.op {
            Op::Rename(rename) => rename.from_rank = cx.atlas.rank_of_dir(rename.from_dir),
            Op::Link { target, rank, .. } => {
                let at = cx.atlas.inodes.is_at(target.ino);
                *rank = cx.atlas.rank_of(target, at);
            }
            Op::Lookup { .. }
            | Op::Getattr { .. }
            | Op::Setattr { .. }
            | Op::Readdir { .. }
            | Op::Stat { .. }
            | Op::Create(_)
            | Op::Mkdir { .. }
            | Op::Unlink { .. }
            | Op::Rmdir { .. }
            | Op::Readlink { .. }
            | Op::GetXattr { .. }
            | Op::SetXattr { .. }
            | Op::ListXattr { .. }
            | Op::RemoveXattr { .. }
            | Op::Wrote { .. }
            | Op::Forget { .. }
            | Op::Sync
            | Op::GetLock { .. }
            | Op::SetLock { .. }
            | Op::Hold { .. } => {}
        }
    }

    fn refresh_place(&mut self, cx: &Cx<'_>) {
        if let Some(target) = self.target()
            && cx.atlas.inodes.get(target.ino).is_some()
        {
            target.place = cx.atlas.inodes.place(target.ino);
        }
    }

    /// The number of the file that it makes.
    pub(super) fn made(&self) -> Option<Ino> {
        let Op::Create(create) = &self.op else { return None };
        Some(create.ino)
    }

    /// Whether its first answer is still to come, and may pin an inode.
    pub(super) fn may_name(&self) -> bool {
        let names = !matches!(
            self.op,
            Op::Readdir { .. } | Op::Stat { .. } | Op::Forget { .. } | Op::Sync | Op::Hold { .. }
        );
        names && !self.asks_for_lock() && !matches!(self.state, State::Applied(..))
    }

    /// Whether it concerns one rank and no other.
    pub(super) fn is_bound(&self) -> bool {
        matches!(self.op, Op::Stat { .. } | Op::Forget { .. } | Op::Sync)
    }

    /// What the caller hears if the rank that it concerns, and no other, is lost.
    pub(super) fn lost_with_its_rank(&mut self) -> Option<FsError> {
        match (&self.op, self.owner) {
            (Op::Sync, _) => Some(FsError::Io),
            (Op::Stat { .. } | Op::Forget { .. }, _) | (_, Owner::Seeker { .. }) => {
                Some(FsError::NotFound)
            }
            (_, _) => {
                let orphan = |target: &Target| matches!(target.place, Place::Orphan { .. });
                self.op.subject().is_some_and(orphan).then_some(FsError::Io)
            }
        }
    }

    pub(super) fn goes_to(&self, cx: &Cx<'_>) -> Rank {
        if let Some(rank) = self.forced {
            return rank;
        }
        if let (State::Waiting(rank), Some(dir)) = (&self.state, self.op.dir())
            && !cx.atlas.leads_to(dir)
        {
            // Removed since, maybe: whoever had the request knows what has become of it.
            return *rank;
        }
        if let (Some(rank), Some(dir)) = (self.known_at, self.op.dir())
            && !cx.atlas.leads_to(dir)
        {
            cov_mark::hit!(no_name_leads_to_it_any_more);
            return rank;
        }
        match (self.op.subject(), self.op.dir()) {
            (Some(target), _) => cx.atlas.rank_of(target, cx.atlas.inodes.is_at(target.ino)),
            (None, Some(dir)) => cx.atlas.rank_of_dir(dir),
            (None, None) => Rank::ROOT,
        }
    }

    /// A rank does not know the number: nothing was made by it. Another one is chosen for the next time.
    pub(super) fn renumber(&mut self, rank: Rank, cx: &Cx<'_>) -> bool {
        let (Op::Create(Create { ino, .. }) | Op::Mkdir { ino, .. }) = &mut self.op else {
            return false;
        };
        // The kernel may know it, unless whoever makes it still waits.
        let is_told = self.known_at.is_some() && !matches!(self.owner, Owner::Call(_));
        let is_strange = !is_told && !cx.numbers.accepts(rank, *ino);
        if is_strange {
            *ino = UNNUMBERED;
        }
        is_strange
    }

    /// Chooses the number of what is made, from those that `rank` accepts. False: none is left.
    pub(super) fn number(&mut self, rank: Rank, cx: &mut Cx<'_>) -> bool {
        let (Op::Create(Create { ino, .. }) | Op::Mkdir { ino, .. }) = &mut self.op else {
            return true;
        };
        // What is replayed was made once, and what was not answered may have been: somebody may refer to
        // it by its number, which is known wherever it has gone since.
        let made = self.owner == Owner::Replay || self.known_at.is_some() || self.unanswered > 0;
        if *ino != UNNUMBERED && (made || cx.numbers.accepts(rank, *ino)) {
            return true;
        }
        if *ino != UNNUMBERED {
            // Every copy was turned away, so the number was never used.
            cx.numbers.give_back(*ino);
        }
        let taken = cx.numbers.take(rank);
        *ino = taken.unwrap_or(UNNUMBERED);
        if cx.numbers.left(rank) < INO_RANGE_LOW {
            let left = cx.numbers.left(rank);
            cx.sessions.renew_early(rank, left, cx.now, cx.out);
        }
        taken.is_some()
    }
}
