//! The listening half: takes each message once, whatever connections it comes on.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use common::id::{Incarnation, Rank};
use common::limit::BULK_FRAME_BYTES_MAX;
use common::wire::hello::Refusal;
use mds_core::Input;
use parking_lot::Mutex;
use quinn::Connection;
use tracing::debug;
use transport::hello::{self, HelloError, Stranger};
use transport::{FrameError, FramedRecv};

use super::{Numbered, Taken};
use crate::inbox::{Ended, Inbox};
use crate::transport::listener::Reception;
use crate::transport::outbox::{Behind, Outbox};

/// The dialler is told what was taken after so many messages. Until then it keeps them.
const CONTROL_MESSAGES_PER_TAKEN: u64 = 128;
const BULK_MESSAGES_PER_TAKEN: u64 = 4;

/// Whom we have heard, and how much of it.
#[derive(Debug, Default)]
pub struct Arrivals(Mutex<BTreeMap<Rank, (Incarnation, Arc<Counted>)>>);

/// Counts of one incarnation of a sender. A lane's lock is held while its message is handed on, so
/// that two connections, an old and a new one, cannot change the order.
#[derive(Debug, Default)]
struct Counted {
    control: tokio::sync::Mutex<u64>,
    bulk: tokio::sync::Mutex<u64>,
}

impl Arrivals {
    /// The counts to go on with. `Err` names the incarnation that has superseded the sender.
    fn of(&self, from: Rank, incarnation: Incarnation) -> Result<Arc<Counted>, Incarnation> {
        let mut known = self.0.lock();
        let entry = known.entry(from).or_insert_with(|| (incarnation, Arc::default()));
        if entry.0 > incarnation {
            return Err(entry.0);
        }
        if entry.0 < incarnation {
            *entry = (incarnation, Arc::default());
        }
        Ok(Arc::clone(&entry.1))
    }

    fn is_current(&self, from: Rank, incarnation: Incarnation) -> bool {
        self.0.lock().get(&from).is_some_and(|(known, _)| *known == incarnation)
    }
}

/// Why nothing more is read from a connection.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("message {got} came where {expected} was due")]
    Gap { expected: u64, got: u64 },
    #[error("the sender was superseded by a later incarnation")]
    Superseded,
    #[error("the sender does not read what was taken")]
    Behind,
    #[error("this daemon ends")]
    Ended,
    #[error("the sender has ended the stream")]
    Finished,
}

impl From<Ended> for Stop {
    fn from(_: Ended) -> Self {
        Self::Ended
    }
}

impl From<Behind> for Stop {
    fn from(_: Behind) -> Self {
        Self::Behind
    }
}

pub(in crate::transport) async fn serve(
    connection: Connection,
    mut stranger: Stranger,
    (from, incarnation): (Rank, Incarnation),
    reception: &Reception,
) -> Result<(), HelloError> {
    let counted = match reception.arrivals.of(from, incarnation) {
        Ok(counted) => counted,
        Err(current) => {
            let refusal = Refusal::Incarnation { current, yours: incarnation };
            hello::refuse(&connection, stranger.send, &refusal).await;
            return Err(HelloError::Refused(refusal));
        }
    };
    let taken = Taken { control: *counted.control.lock().await, bulk: *counted.bulk.lock().await };
    stranger.send.queue(&reception.welcome(taken.control));
    stranger.send.queue(&taken);
    stranger.send.flush().await?;

    let told =
        Told { outbox: Outbox::start(connection.clone(), stranger.send), taken: taken.into() };
    let receiver =
        Receiver { from, incarnation, inbox: &reception.inbox, arrivals: &reception.arrivals };
    let control = async {
        let mut recv = stranger.recv.with_limit(BULK_FRAME_BYTES_MAX);
        loop {
            let count = receiver.take(&mut recv, &counted.control).await?;
            if count % CONTROL_MESSAGES_PER_TAKEN == 0 {
                told.tell(|taken| taken.control = count)?;
            }
        }
    };
    let bulk = async {
        let stream = connection.accept_uni().await.map_err(|_| Stop::Finished)?;
        let mut recv = FramedRecv::new(stream, BULK_FRAME_BYTES_MAX);
        loop {
            let count = receiver.take(&mut recv, &counted.bulk).await?;
            if count % BULK_MESSAGES_PER_TAKEN == 0 {
                told.tell(|taken| taken.bulk = count)?;
            }
        }
    };
    let Err::<Infallible, Stop>(stop) = tokio::select! {
        stop = control => stop,
        stop = bulk => stop,
    };
    debug!(rank = from.0, %stop, "a rank's connection ended");
    connection.close(quinn::VarInt::from_u32(0), b"");
    Ok(())
}

/// What the dialler was told last.
struct Told {
    outbox: Outbox<Taken>,
    taken: Mutex<Taken>,
}

impl Told {
    fn tell(&self, change: impl Fn(&mut Taken)) -> Result<(), Behind> {
        let mut taken = self.taken.lock();
        change(&mut taken);
        self.outbox.put(*taken)
    }
}

struct Receiver<'a> {
    from: Rank,
    incarnation: Incarnation,
    inbox: &'a Inbox,
    arrivals: &'a Arrivals,
}

impl Receiver<'_> {
    /// Takes the next message, and hands it on unless it was taken before. Tells the count.
    async fn take(
        &self,
        recv: &mut FramedRecv,
        count: &tokio::sync::Mutex<u64>,
    ) -> Result<u64, Stop> {
        let Numbered { number, msg } = recv.next().await?.ok_or(Stop::Finished)?;
        let mut count = count.lock().await;
        if number > *count + 1 {
            return Err(Stop::Gap { expected: *count + 1, got: number });
        }
        if number == *count + 1 {
            if !self.arrivals.is_current(self.from, self.incarnation) {
                return Err(Stop::Superseded);
            }
            let (from, incarnation) = (self.from, self.incarnation);
            self.inbox.put(Input::Peer { from, incarnation, msg }).await?;
            *count = number;
        }
        Ok(*count)
    }
}
