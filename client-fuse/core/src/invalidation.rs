//! `Invalidations`: what the kernel is being told to drop, and what waits for that.
//!
//! A rank hears when the kernel knows, and so do processes: an answer may tell of the very change, and
//! whoever has it must not find in a cache what was before.

use std::collections::{BTreeMap, VecDeque};

use common::id::{Ino, NoticeId};
use common::name::Name;

use crate::capability::NEVER;
use crate::effect::{Effect, Effects};
use crate::input::{InvalidationId, LinkId};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Invalidations {
    last: u64,
    /// With what is to be acknowledged then.
    under_way: BTreeMap<InvalidationId, Option<(LinkId, NoticeId)>>,
    /// Answers, in order, each with the last invalidation that it waits for.
    answers: VecDeque<(InvalidationId, Effect)>,
}

impl Invalidations {
    pub(crate) fn begin(
        &mut self,
        notice: Option<(LinkId, NoticeId)>,
        names: Option<(Ino, Vec<Name>)>,
        inodes: Vec<Ino>,
        out: &mut Effects,
    ) {
        // What waits to be answered was asked for before: it may be about this.
        for (_, answer) in &mut self.answers {
            if let Effect::Answer { until, .. } = answer {
                *until = NEVER;
            }
        }
        self.last += 1;
        let id = InvalidationId(self.last);
        self.under_way.insert(id, notice);
        out.push(Effect::Invalidate { id, names, inodes });
    }

    /// The kernel knows. Tells what is to be acknowledged.
    pub(crate) fn on_done(
        &mut self,
        id: InvalidationId,
        out: &mut Effects,
    ) -> Option<(LinkId, NoticeId)> {
        let notice = self.under_way.remove(&id)?;
        let first = self.under_way.keys().next().copied();
        while let Some((last, answer)) = self.answers.pop_front() {
            if first.is_some_and(|first| first <= last) {
                self.answers.push_front((last, answer));
                break;
            }
            out.push(answer);
        }
        notice
    }

    /// What is answered while something is under way waits for that.
    pub(crate) fn hold_back(&mut self, out: &mut Effects) {
        if !self.under_way.is_empty() {
            let last = InvalidationId(self.last);
            self.answers.extend(out.take_answers().into_iter().map(|answer| (last, answer)));
        }
    }
}

#[cfg(test)]
mod tests {
    use common::error::FsError;

    use super::*;
    use crate::input::CallId;

    fn answers(out: &mut Effects) -> Vec<u64> {
        let number = |answer| if let Effect::Answer { call, .. } = answer { call.0 } else { 0 };
        out.take_answers().into_iter().map(number).collect()
    }

    #[test]
    fn an_answer_waits_for_what_was_under_way_before_it() {
        let (mut invalidations, mut out) = (Invalidations::default(), Effects::default());
        let notice = (LinkId(1), NoticeId(1));
        invalidations.begin(Some(notice), None, vec![Ino(7)], &mut out);
        invalidations.begin(None, None, vec![Ino(8)], &mut out);
        out.answer(CallId(1), Err(FsError::Io));
        invalidations.hold_back(&mut out);
        invalidations.begin(None, None, vec![Ino(9)], &mut out);
        out.answer(CallId(2), Err(FsError::Io));
        invalidations.hold_back(&mut out);
        assert_eq!(invalidations.on_done(InvalidationId(2), &mut out), None);
        assert_eq!(answers(&mut out), []);
        assert_eq!(invalidations.on_done(InvalidationId(1), &mut out), Some(notice));
        assert_eq!(answers(&mut out), [1]);
        invalidations.on_done(InvalidationId(3), &mut out);
        assert_eq!(answers(&mut out), [2]);
    }
}
