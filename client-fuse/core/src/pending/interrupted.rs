//! What becomes of requests whose process has been interrupted. Those for locks are in
//! [`super::file_lock`].

use common::id::RequestId;

use super::{Owner, Pending, State};

impl Pending {
    /// Whether a request can be given up without its caller being told a lie.
    pub(crate) fn is_harmless(&self, id: RequestId) -> bool {
        let Some(pended) = self.requests.get(&id) else { return true };
        // What is made in order is made soon, and others may go by it already.
        let in_order = pended.is_known() || matches!(pended.state, State::Behind(_));
        !in_order && (pended.unanswered == 0 || !pended.op.is_change())
    }

    /// Nobody waits for it any more. What was sent is brought to its end all the same.
    pub(crate) fn abandon(&mut self, id: RequestId) {
        let Some(pended) = self.requests.get_mut(&id) else { return };
        if pended.is_known() {
            // Others go by what comes of it.
            pended.owner = Owner::Unmade;
        } else if pended.unanswered == 0 && pended.state != State::Finding {
            self.requests.remove(&id);
        } else {
            pended.owner = Owner::Nobody;
        }
    }
}
