//! Answers that are withheld: somebody may still go by what was before.

use common::id::{ClientId, Ino, NoticeId, RequestId};
use common::wire::reply::{Outcome, Promise, Reply};

use super::Requests;
use crate::capability::Told;
use crate::cx::{Cx, Stop};
use crate::subtree::Intent;

/// Carried out; answered once these have acknowledged what that, or a change it tells of, did to them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Withheld {
    pub(super) reply: Reply,
    /// It would have changed something.
    pub(super) is_change: bool,
    /// The directory that it is about.
    pub(super) dir: Option<Ino>,
    pub(super) awaited: Told,
}

impl Withheld {
    /// Whether it names a file and changes nothing: whoever asks once more is answered the same.
    fn only_names(&self) -> bool {
        let Outcome::Done(answer) = &self.reply.outcome else { return false };
        self.reply.applied.is_none() && answer.pins().is_some()
    }
}

impl Requests {
    /// Answers what has waited for nothing else.
    pub(super) fn release_held(
        &mut self,
        matches: impl Fn(&(ClientId, NoticeId)) -> bool,
        cx: &mut Cx<'_>,
    ) {
        for held in self.held.values_mut() {
            held.awaited.retain(|awaited| !matches(awaited));
        }
        let due: Vec<(ClientId, RequestId)> = self
            .held
            .iter()
            .filter(|(_, held)| held.awaited.is_empty())
            .map(|(key, _)| *key)
            .collect();
        for (client, id) in due {
            let Some(mut held) = self.held.remove(&(client, id)) else { continue };
            if let Some(dir) = held.dir.filter(|_| held.only_names())
                && let Err(Stop::Redirect(route)) = cx.admit(dir, Intent::Read)
            {
                // The client could not say at the next rank that it refers to what it has not heard of.
                cov_mark::hit!(what_was_withheld_is_asked_for_elsewhere);
                (held.reply.outcome, held.reply.promise) =
                    (Outcome::Redirect(route), Promise::None);
            }
            self.send(client, held, cx);
        }
    }
}
