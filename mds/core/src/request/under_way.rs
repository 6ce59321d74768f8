//! What is not answered yet, and what each of it waits for.

use std::collections::BTreeSet;

use common::id::{ClientId, NoticeId, RequestId};

use super::Requests;
use crate::cx::Wait;

/// What a request waits for.
#[derive(Clone, Copy, Debug)]
pub enum Awaited<'a> {
    Here(&'a Wait),
    Acknowledgements(&'a BTreeSet<(ClientId, NoticeId)>),
    /// An operation of several ranks, which knows more.
    Operation,
}

impl Requests {
    /// Everything that is not answered yet.
    pub fn under_way(&self) -> impl Iterator<Item = ((ClientId, RequestId), Awaited<'_>)> {
        let parked = self.parked.iter().flat_map(|(wait, all)| {
            all.iter().map(move |it| ((it.client, it.request.id), Awaited::Here(wait)))
        });
        let held = self.held.iter();
        let held = held.map(|(id, held)| (*id, Awaited::Acknowledgements(&held.awaited)));
        let handed_over = self.handed_over.iter().map(|id| (*id, Awaited::Operation));
        parked.chain(held).chain(handed_over)
    }

    /// Whether a request waits to be carried out.
    #[must_use]
    pub fn is_waiting(&self, client: ClientId, id: RequestId) -> bool {
        self.is_under_way(client, id) && !self.held.contains_key(&(client, id))
    }

    /// Whether a request waits for the store, and for nothing else.
    #[must_use]
    pub fn is_reading(&self, client: ClientId, id: RequestId) -> bool {
        let mut reading = self.parked.iter().filter(|(wait, _)| matches!(wait, Wait::Fetch(_)));
        reading.any(|(_, all)| all.iter().any(|it| (it.client, it.request.id) == (client, id)))
    }

    /// Whether other ranks take part in it.
    #[must_use]
    pub fn is_handed_over(&self, client: ClientId, id: RequestId) -> bool {
        self.handed_over.contains(&(client, id))
    }

    pub(super) fn is_under_way(&self, client: ClientId, id: RequestId) -> bool {
        self.held.contains_key(&(client, id))
            || self.handed_over.contains(&(client, id))
            || self.waiting.contains(&(client, id))
    }
}
