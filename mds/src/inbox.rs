//! What waits for the core, from all connections and threads, in the order of arrival.

use common::limit::INBOX_MESSAGES_MAX;
use mds_core::Input;
use tokio::sync::mpsc;

/// Something the core's next turn takes.
#[expect(clippy::large_enum_variant, reason = "nearly all are inputs; a box for each costs more")]
#[derive(Debug)]
pub enum Arrival {
    Input(Input),
    /// Nothing happened; the monitor is to see that the core turns.
    Poke,
}

/// The way in. When it is full, connections stop being read and threads wait.
#[derive(Clone, Debug)]
pub struct Inbox {
    queue: mpsc::Sender<Arrival>,
}

/// The core has ended: so does whoever wanted to tell it something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended;

/// There is no room for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A place in the inbox that is kept for whoever has this.
#[derive(Debug)]
pub struct Room<'a>(mpsc::Permit<'a, Arrival>);

impl Room<'_> {
    pub fn put(self, input: Input) {
        self.0.send(Arrival::Input(input));
    }
}

#[must_use]
pub fn inbox() -> (Inbox, mpsc::Receiver<Arrival>) {
    let (queue, arrivals) = mpsc::channel(INBOX_MESSAGES_MAX);
    (Inbox { queue }, arrivals)
}

impl Inbox {
    /// For tasks.
    ///
    /// # Errors
    /// The core has ended.
    pub async fn put(&self, input: Input) -> Result<(), Ended> {
        self.queue.send(Arrival::Input(input)).await.map_err(|_| Ended)
    }

    /// Room for one input, whenever there is.
    ///
    /// # Errors
    /// The core has ended.
    pub async fn room(&self) -> Result<Room<'_>, Ended> {
        self.queue.reserve().await.map(Room).map_err(|_| Ended)
    }

    /// For threads of their own.
    ///
    /// # Errors
    /// The core has ended.
    pub fn put_blocking(&self, input: Input) -> Result<(), Ended> {
        self.queue.blocking_send(Arrival::Input(input)).map_err(|_| Ended)
    }

    /// For whoever must not wait.
    ///
    /// # Errors
    /// There is no room, or the core has ended.
    pub fn try_put(&self, input: Input) -> Result<(), Full> {
        self.queue.try_send(Arrival::Input(input)).map_err(|_| Full)
    }

    /// A full inbox needs no poke: then the core turns, or is stuck and is to be seen as such.
    pub fn poke(&self) {
        let _ = self.queue.try_send(Arrival::Poke);
    }
}
