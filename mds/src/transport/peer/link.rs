//! The dialling half: keeps a connection to one incarnation of a rank, and sends what was not taken.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use common::limit::{BULK_FRAME_BYTES_MAX, FRAME_BYTES_MAX, OUTBOX_MESSAGES_MAX};
use common::wire::encode_frame;
use common::wire::hello::Hello;
use mds_core::message::PeerMsg;
use quinn::{Connection, Endpoint, VarInt};
use tokio::sync::{mpsc, watch};
use tracing::{debug, info};
use transport::hello::{self, Greeted, HelloError};
use transport::{DialError, FrameError, FramedRecv, FramedSend, Role, dial};

use super::{Numbered, Taken};

const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_millis(500);
/// Messages gathered into one write.
const GATHERED_MAX: usize = 256;

pub(super) struct Dialler {
    pub(super) endpoint: Endpoint,
    pub(super) addr: SocketAddr,
    pub(super) hello: Hello,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Hello(#[from] HelloError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the peer has ended the stream")]
    Ended,
}

/// How a connection came to its end.
enum End {
    Broken(Broken),
    /// Nobody will send anything any more.
    Dropped,
}

/// Until the way is dropped.
pub(super) async fn run(
    dialler: Dialler,
    control: mpsc::Receiver<PeerMsg>,
    bulk: mpsc::Receiver<PeerMsg>,
) {
    let mut control = Lane::new(control, FRAME_BYTES_MAX);
    let mut bulk = Lane::new(bulk, BULK_FRAME_BYTES_MAX);
    let mut wait = RETRY_FIRST;
    loop {
        match connect(&dialler).await {
            Ok((connection, greeted)) => {
                wait = RETRY_FIRST;
                info!(addr = %dialler.addr, "connected to a rank");
                let end = converse(&connection, greeted, &mut control, &mut bulk).await;
                connection.close(VarInt::from_u32(0), b"");
                match end {
                    End::Dropped => return,
                    End::Broken(error) => info!(addr = %dialler.addr, %error, "lost a rank"),
                }
            }
            Err(error) => debug!(addr = %dialler.addr, %error, "a rank cannot be reached"),
        }
        if control.is_dropped() {
            return;
        }
        tokio::time::sleep(wait).await;
        wait = RETRY_MAX.min(wait * 2);
    }
}

async fn connect(dialler: &Dialler) -> Result<(Connection, Greeted), Broken> {
    let connection = dial(&dialler.endpoint, dialler.addr, Role::Mds).await?;
    let greeted = hello::greet(&connection, &dialler.hello).await?;
    Ok((connection, greeted))
}

async fn converse(
    connection: &Connection,
    greeted: Greeted,
    control: &mut Lane,
    bulk: &mut Lane,
) -> End {
    let Greeted { send, mut recv, .. } = greeted;
    let first = match next_taken(&mut recv).await {
        Ok(taken) => taken,
        Err(error) => return End::Broken(error),
    };
    let bulk_send = match connection.open_uni().await {
        Ok(stream) => FramedSend::new(stream),
        Err(error) => return End::Broken(HelloError::Lost(error).into()),
    };
    let (taken, mut heard) = watch::channel(first);
    let mut heard_too = heard.clone();
    let listen = async {
        loop {
            match next_taken(&mut recv).await {
                Ok(next) => taken.send_replace(next),
                Err(error) => return End::Broken(error),
            };
        }
    };
    tokio::select! {
        end = control.pump(send, &mut heard, |taken| taken.control) => end,
        end = bulk.pump(bulk_send, &mut heard_too, |taken| taken.bulk) => end,
        end = listen => end,
    }
}

async fn next_taken(recv: &mut FramedRecv) -> Result<Taken, Broken> {
    recv.next::<Taken>().await?.ok_or(Broken::Ended)
}

/// Messages of one kind, numbered over all connections to one incarnation.
struct Lane {
    messages: mpsc::Receiver<PeerMsg>,
    /// The listener ends the connection at a longer frame, and would again after each new one.
    frame_bytes_max: usize,
    /// Of the last message that was numbered.
    last: u64,
    /// Encoded messages that the listener has not yet counted; the newest is `last`.
    kept: VecDeque<Vec<u8>>,
}

impl Lane {
    fn new(messages: mpsc::Receiver<PeerMsg>, frame_bytes_max: usize) -> Self {
        Self { messages, frame_bytes_max, last: 0, kept: VecDeque::new() }
    }

    /// Whether the incarnation is over for the core: what still waits is for nobody.
    fn is_dropped(&self) -> bool {
        self.messages.is_closed()
    }

    /// Forgets what the listener has taken.
    fn trim(&mut self, taken: u64) {
        let first = self.last - self.kept.len() as u64 + 1;
        let count = usize::try_from(taken.saturating_sub(first - 1)).unwrap_or(usize::MAX);
        self.kept.drain(..count.min(self.kept.len()));
    }

    /// # Panics
    /// If the core has made a message that no frame holds: it bounds what it puts into one.
    fn number(&mut self, msg: PeerMsg, send: &mut FramedSend) {
        self.last += 1;
        let mut frame = Vec::new();
        encode_frame(&Numbered { number: self.last, msg }, &mut frame);
        let (bytes, max) = (frame.len(), self.frame_bytes_max);
        assert!(bytes <= max, "a message to a rank takes {bytes} bytes; a frame holds {max}");
        send.queue_encoded(&frame);
        self.kept.push_back(frame);
    }

    /// Sends what was not taken, then what comes. Whatever is numbered is kept before it is sent.
    async fn pump(
        &mut self,
        mut send: FramedSend,
        taken: &mut watch::Receiver<Taken>,
        of: impl Fn(&Taken) -> u64,
    ) -> End {
        let count = of(&taken.borrow_and_update());
        self.trim(count);
        for frame in &self.kept {
            send.queue_encoded(frame);
        }
        let mut gathered = Vec::new();
        loop {
            if let Err(error) = send.flush().await {
                return End::Broken(error.into());
            }
            tokio::select! {
                count = self.messages.recv_many(&mut gathered, GATHERED_MAX),
                    if self.kept.len() < OUTBOX_MESSAGES_MAX =>
                {
                    if count == 0 {
                        return End::Dropped;
                    }
                    for msg in gathered.drain(..) {
                        self.number(msg, &mut send);
                    }
                }
                changed = taken.changed() => {
                    if changed.is_err() {
                        return End::Broken(Broken::Ended);
                    }
                    let count = of(&taken.borrow_and_update());
                    self.trim(count);
                }
            }
        }
    }
}
