//! Who comes in: a certificate's role and a hello that fits it decide what a connection is for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::id::{ClusterId, Incarnation, MapEpoch, Rank};
use common::wire::hello::{Identity, Refusal, Welcome};
use mds_core::input::{AdminId, ConnId};
use quinn::{Connection, Endpoint};
use tracing::{debug, info};
use transport::hello::{self, HelloError, Stranger};
use transport::{Role, peer_identity};

use super::{admin, client, peer};
use crate::inbox::Inbox;
use crate::outlet::Outlet;

/// What every connection needs to know of this daemon.
#[derive(Debug)]
pub struct Reception {
    pub cluster: ClusterId,
    pub me: Rank,
    pub incarnation: Incarnation,
    /// Of the newest map this daemon has.
    pub map_epoch: Arc<AtomicU64>,
    pub inbox: Inbox,
    pub outlet: Arc<Outlet>,
    pub arrivals: peer::Arrivals,
    numbers: AtomicU64,
}

impl Reception {
    pub fn new(
        (cluster, me, incarnation): (ClusterId, Rank, Incarnation),
        map_epoch: Arc<AtomicU64>,
        inbox: Inbox,
        outlet: Arc<Outlet>,
    ) -> Self {
        Self {
            cluster,
            me,
            incarnation,
            map_epoch,
            inbox,
            outlet,
            arrivals: peer::Arrivals::default(),
            numbers: AtomicU64::new(1),
        }
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// The welcome for whoever has sent us `received` messages before.
    pub(super) fn welcome(&self, received: u64) -> Welcome {
        let map_epoch = MapEpoch(self.map_epoch.load(Ordering::Relaxed));
        Welcome::Accepted { incarnation: self.incarnation, map_epoch, received }
    }
}

/// Accepts connections until the endpoint is closed.
pub async fn listen(endpoint: Endpoint, reception: Arc<Reception>) {
    while let Some(incoming) = endpoint.accept().await {
        let reception = Arc::clone(&reception);
        tokio::spawn(async move {
            let from = incoming.remote_address();
            let connection = match incoming.await {
                Ok(connection) => connection,
                Err(error) => return info!(%from, %error, "a connection was not accepted"),
            };
            if let Err(error) = receive(connection, &reception).await {
                debug!(%from, %error, "a connection ended");
            }
        });
    }
}

pub(super) async fn receive(
    connection: Connection,
    reception: &Reception,
) -> Result<(), HelloError> {
    let stranger = hello::receive(&connection, reception.cluster).await?;
    match admit(&connection, &stranger, reception) {
        Ok(Guest::Client(id)) => {
            let conn = ConnId(reception.number());
            client::serve(connection, stranger, (conn, id), reception).await
        }
        Ok(Guest::Admin) => {
            let next = || AdminId(reception.number());
            admin::serve(connection, stranger, next, reception).await
        }
        Ok(Guest::Peer(from, incarnation)) => {
            peer::serve(connection, stranger, (from, incarnation), reception).await
        }
        Err(refusal) => {
            info!(from = %connection.remote_address(), %refusal, "a connection was refused");
            hello::refuse(&connection, stranger.send, &refusal).await;
            Err(HelloError::Refused(refusal))
        }
    }
}

enum Guest {
    Client(common::id::ClientId),
    Admin,
    Peer(Rank, Incarnation),
}

fn admit(
    connection: &Connection,
    stranger: &Stranger,
    reception: &Reception,
) -> Result<Guest, Refusal> {
    let hello = &stranger.hello;
    if let Some(yours) = hello.to.filter(|to| *to != reception.incarnation) {
        return Err(Refusal::Incarnation { current: reception.incarnation, yours });
    }
    let role = peer_identity(connection).map(|identity| identity.role);
    match (role, &hello.from) {
        (Ok(Role::Client), Identity::Client(id)) => Ok(Guest::Client(*id)),
        (Ok(Role::Admin), Identity::Admin) => Ok(Guest::Admin),
        (Ok(Role::Mds), Identity::Mds { rank, incarnation, .. }) if *rank != reception.me => {
            Ok(Guest::Peer(*rank, *incarnation))
        }
        (Ok(role), _) => Err(Refusal::Role { role: role.to_string() }),
        (Err(_), _) => Err(Refusal::Role { role: "none".to_owned() }),
    }
}
