//! The writing half of a connection: a bounded queue, gathered into few writes.

use std::time::Duration;

use common::limit::OUTBOX_MESSAGES_MAX;
use quinn::{Connection, VarInt};
use serde::Serialize;
use tokio::sync::mpsc;
use transport::FramedSend;

/// Messages gathered into one write.
const GATHERED_MAX: usize = 256;
/// How long a connection that is to be closed may take to deliver what was said before.
const FAREWELL: Duration = Duration::from_secs(2);

/// A place for messages to one receiver. Dropping it closes the connection after what was put in.
#[derive(Debug)]
pub struct Outbox<T> {
    queue: mpsc::Sender<T>,
}

/// The receiver reads too slowly, or is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind;

impl<T: Serialize + Send + Sync + 'static> Outbox<T> {
    /// Starts the writing task, on the runtime around.
    #[must_use]
    pub fn start(connection: Connection, send: FramedSend) -> Self {
        let (queue, messages) = mpsc::channel(OUTBOX_MESSAGES_MAX);
        tokio::spawn(write(connection, send, messages));
        Self { queue }
    }

    /// Never waits: a receiver for whom the queue is full is to be disconnected.
    ///
    /// # Errors
    /// The queue is full or the connection gone.
    pub fn put(&self, message: T) -> Result<(), Behind> {
        self.queue.try_send(message).map_err(|_| Behind)
    }
}

async fn write<T: Serialize + Sync>(
    connection: Connection,
    mut send: FramedSend,
    mut messages: mpsc::Receiver<T>,
) {
    let mut gathered = Vec::new();
    while messages.recv_many(&mut gathered, GATHERED_MAX).await > 0 {
        for message in gathered.drain(..) {
            send.queue(&message);
        }
        if send.flush().await.is_err() {
            return;
        }
    }
    let stream = send.finish();
    let _ = tokio::time::timeout(FAREWELL, stream.stopped()).await;
    connection.close(VarInt::from_u32(0), b"closed");
}
