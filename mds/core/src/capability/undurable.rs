//! `Undurable`: directories in which something was changed that a loss of power may undo.

use std::collections::BTreeMap;

use common::id::{ClientId, Ino, Seq};

/// Up to where it is recorded, and whose it all is, if it is one client's.
#[derive(Clone, Debug, Default, Hash)]
pub struct Undurable(BTreeMap<Ino, (Seq, Option<ClientId>)>);

impl Undurable {
    pub fn note(&mut self, dir: Ino, seq: Seq, client: ClientId) {
        let known = self.0.entry(dir).or_insert((seq, Some(client)));
        *known = (seq, known.1.filter(|of| *of == client));
    }

    /// Up to where what others than this client have changed in a directory is still to become durable.
    #[must_use]
    pub fn of_others(&self, dir: Ino, client: ClientId) -> Option<Seq> {
        self.0.get(&dir).filter(|(_, of)| *of != Some(client)).map(|(seq, _)| *seq)
    }

    pub fn on_durable(&mut self, through: Seq) {
        self.0.retain(|_, (seq, _)| *seq > through);
    }
}
