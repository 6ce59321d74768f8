//! The thread that talks: a connection to each rank, the monitor's map, and the timers.
//!
//! One thread with a runtime of its own (measured: far cheaper per round trip than many). Threads
//! of the kernel's requests only queue messages.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use client_core::{Input, LinkEnd, LinkId};
use common::id::{ClientId, ClusterId};
use common::wire::hello::{Hello, Identity, Refusal};
use common::wire::monitor::{FromMonitor, ToMonitor};
use common::wire::session::{ToClient, ToMds};
use quinn::{Connection, Endpoint, VarInt};
use tokio::sync::{mpsc, watch};
use transport::hello::{Greeted, HelloError, greet};
use transport::{Credentials, DialError, FrameError, FramedRecv, FramedSend, Role, dial};

use crate::client::{Client, Dial};

/// How long a connection may take to deliver its last messages.
const GOODBYE: Duration = Duration::from_secs(3);
/// Pause before the monitor is tried again.
const MONITOR_RETRY: Duration = Duration::from_millis(500);
/// Bytes gathered into one write.
const GATHER_BYTES: usize = 64 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Hello(#[from] HelloError),
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// With whom to talk, and as whom.
#[derive(Clone, Debug)]
pub struct Parties {
    pub cluster: ClusterId,
    pub client: ClientId,
    pub monitor: SocketAddr,
}

/// The running thread. Ends when told to, after the last messages are delivered.
#[derive(Debug)]
pub struct Transport {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Transport {
    /// # Errors
    /// The thread, its runtime or its socket cannot be made.
    pub fn start(
        credentials: Credentials,
        parties: Parties,
        client: Arc<Client>,
        dials: mpsc::Receiver<Dial>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let endpoint = {
            let _context = runtime.enter();
            transport::client_endpoint(&credentials).map_err(io::Error::other)?
        };
        let (stop, stopped) = watch::channel(false);
        let thread = thread::Builder::new().name("grove-net".to_owned()).spawn(move || {
            let speaker = Arc::new(Speaker { endpoint, parties, client });
            runtime.block_on(speaker.run(dials, stopped));
        })?;
        Ok(Self { stop, thread })
    }

    /// Waits until everything queued is delivered, but not for ever.
    pub fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.thread.join();
    }
}

#[derive(Debug)]
struct Speaker {
    endpoint: Endpoint,
    parties: Parties,
    client: Arc<Client>,
}

impl Speaker {
    async fn run(
        self: Arc<Self>,
        mut dials: mpsc::Receiver<Dial>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut links = tokio::task::JoinSet::new();
        let timers = tokio::spawn(Arc::clone(&self).keep_time());
        let map = tokio::spawn(Arc::clone(&self).follow_map());
        loop {
            tokio::select! {
                Some(dial) = dials.recv() => {
                    links.spawn(Arc::clone(&self).run_link(dial));
                }
                Some(_) = links.join_next() => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        timers.abort();
        map.abort();
        let goodbye = async { while links.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
        self.endpoint.close(VarInt::from_u32(0), b"unmounted");
        let _ = tokio::time::timeout(GOODBYE, self.endpoint.wait_idle()).await;
    }

    async fn keep_time(self: Arc<Self>) {
        loop {
            let next = self.client.next_timer();
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => self.client.fire_timers(),
                () = self.client.timer_moved.notified() => {}
            }
        }
    }

    async fn follow_map(self: Arc<Self>) {
        loop {
            if let Err(error) = self.subscribe().await {
                tracing::warn!(%error, "monitor not reachable");
            }
            tokio::time::sleep(MONITOR_RETRY).await;
        }
    }

    async fn subscribe(&self) -> Result<(), LinkError> {
        let Parties { cluster, client, monitor } = self.parties;
        let connection = dial(&self.endpoint, monitor, Role::Mon).await?;
        let hello = Hello::new(cluster, Identity::Client(client), None);
        let Greeted { mut send, mut recv, .. } = greet(&connection, &hello).await?;
        send.send(&ToMonitor::Subscribe).await?;
        while let Some(message) = recv.next::<FromMonitor>().await? {
            if let FromMonitor::Map(map) = message {
                tracing::debug!(epoch = map.epoch.0, "map");
                self.client.handle(Input::Map(map));
            }
        }
        Ok(())
    }

    async fn run_link(self: Arc<Self>, dial: Dial) {
        let (link, rank) = (dial.link, dial.rank);
        let end = match self.converse(dial).await {
            Ok(()) => return,
            Err(LinkError::Hello(HelloError::Refused(Refusal::Evicted))) => LinkEnd::Evicted,
            Err(error) => {
                tracing::info!(rank = rank.0, %error, "connection lost");
                LinkEnd::Broken
            }
        };
        self.client.handle(Input::Disconnected { link, end });
    }

    /// Carries one connection to a rank, until it breaks or nobody wants it any more.
    async fn converse(&self, order: Dial) -> Result<(), LinkError> {
        let Dial { link, incarnation, addr, outbox, .. } = order;
        let connection = dial(&self.endpoint, addr, Role::Mds).await?;
        let identity = Identity::Client(self.parties.client);
        let hello = Hello::new(self.parties.cluster, identity, Some(incarnation));
        let Greeted { send, recv, .. } = greet(&connection, &hello).await?;
        self.client.handle(Input::Connected { link });
        tokio::select! {
            sent = send_all(send, outbox) => {
                let send = sent?.finish();
                let _ = tokio::time::timeout(GOODBYE, send.stopped()).await;
            }
            received = self.receive_all(link, recv) => received?,
        }
        close(&connection);
        Ok(())
    }

    async fn receive_all(&self, link: LinkId, mut recv: FramedRecv) -> Result<(), FrameError> {
        while let Some(message) = recv.next::<ToClient>().await? {
            self.client.handle(Input::FromMds { link, message });
        }
        Err(FrameError::Truncated)
    }
}

/// Sends what is queued, as many messages in one write as are there.
async fn send_all(
    mut send: FramedSend,
    mut outbox: mpsc::Receiver<ToMds>,
) -> Result<FramedSend, FrameError> {
    while let Some(message) = outbox.recv().await {
        send.queue(&message);
        while send.queued_bytes() < GATHER_BYTES
            && let Ok(message) = outbox.try_recv()
        {
            send.queue(&message);
        }
        send.flush().await?;
    }
    Ok(send)
}

fn close(connection: &Connection) {
    connection.close(VarInt::from_u32(0), b"done");
}
