//! What ranks tell us of what somebody else did.

use std::collections::BTreeSet;

use common::id::{Ino, NoticeId, Rank};
use common::name::Name;
use common::time::Now;
use common::wire::session::{Notice, ToMds};

use super::ClientCore;
use crate::effect::{Effect, Effects};
use crate::exclusive::Recall;
use crate::input::LinkId;
use crate::session::Readiness;

impl ClientCore {
    pub(super) fn on_notice(
        &mut self,
        (from, link): (Rank, LinkId),
        (id, notice): (NoticeId, &Notice),
        now: Now,
        out: &mut Effects,
    ) {
        if let Notice::Moved { ino, place, rank, moves } = notice
            && self.pending.is_renamed(*ino)
        {
            // By that, or by one before: where it is by now we know, and nobody else has moved it.
            self.atlas.inodes.heard(*ino, *moves);
            self.is_held(*ino, (place.embedded_in(), *rank), now, out);
            return out.send(link, ToMds::Acked(id));
        }
        if let Notice::Moved { ino, .. } | Notice::Unlinked { ino, .. } = notice
            && let Some((dir, name)) = self.atlas.inodes.name_of(*ino).cloned()
        {
            out.push(Effect::DropName { dir, name });
        }
        let is_news = match notice {
            Notice::Moved { ino, .. } | Notice::Unlinked { ino, .. } => {
                self.atlas.inodes.is_told(*ino, from, id)
            }
            Notice::Expect { .. }
            | Notice::Pinned { .. }
            | Notice::Changed { .. }
            | Notice::ChangedAtHome { .. }
            | Notice::Recall { .. } => true,
        };
        if is_news {
            self.atlas.noticed(notice);
            self.pending.noticed(from, id, notice, now.monotonic);
        } else {
            cov_mark::hit!(a_notice_comes_after_what_was_told_later);
        }
        let (names, mut inodes) = self.touched(notice);
        match notice {
            Notice::Changed { dir, .. } => self.atlas.exclusives.drop(*dir),
            Notice::ChangedAtHome { .. } => {}
            Notice::Recall { dir } => {
                // Acknowledged when everything is made that we have answered.
                self.pending.on_recalled(*dir);
                self.atlas.exclusives.rests(*dir, now.monotonic);
                return self.atlas.exclusives.recall(Recall { link, notice: id, dir: *dir });
            }
            Notice::Moved { ino, place, rank, .. } => {
                self.is_held(*ino, (place.embedded_in(), *rank), now, out);
                // It counts us among those it waits for, should it have to start anew.
                let _it_will_open = self.sessions.want(*rank, self.atlas.map.as_ref(), out);
            }
            Notice::Unlinked { ino, rank } => {
                self.is_held(*ino, (None, *rank), now, out);
            }
            Notice::Pinned { inos } => {
                for (ino, dir) in inos {
                    self.is_held(*ino, (Some(*dir), from), now, out);
                }
            }
            Notice::Expect { rank } => {
                match self.sessions.want(*rank, self.atlas.map.as_ref(), out) {
                    Readiness::NotYet => return self.sessions.expect(*rank, from, id),
                    Readiness::Open(_) => {}
                }
            }
        }
        let capabilities = &mut self.atlas.capabilities;
        let mut held = false;
        inodes.extend(names.as_ref().map(|(dir, _)| *dir));
        for ino in &inodes {
            held |= capabilities.on_changed(*ino, now.monotonic);
        }
        if held {
            let inodes = inodes.into_iter().collect();
            self.invalidations.begin(Some((link, id)), names, inodes, out);
        } else {
            out.send(link, ToMds::Acked(id));
        }
    }

    /// Of which names and inodes a notice says that something has changed.
    fn touched(&self, notice: &Notice) -> (Option<(Ino, Vec<Name>)>, BTreeSet<Ino>) {
        match notice {
            Notice::Changed { dir, names } => {
                let known =
                    names.iter().filter_map(|(name, _)| self.atlas.inodes.named(*dir, name));
                let inodes = names.iter().filter_map(|(_, ino)| *ino).chain(known).collect();
                (Some((*dir, names.iter().map(|(name, _)| name.clone()).collect())), inodes)
            }
            // Changes of what has moved are told to those who asked for it where it is now.
            Notice::ChangedAtHome { ino }
            | Notice::Moved { ino, .. }
            | Notice::Unlinked { ino, .. } => (None, [*ino].into()),
            Notice::Expect { .. } | Notice::Pinned { .. } | Notice::Recall { .. } => {
                (None, BTreeSet::new())
            }
        }
    }
}
