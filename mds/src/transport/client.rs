//! One connection of a client: requests in, replies and notices out, in order.

use common::id::ClientId;
use common::wire::session::ToMds;
use mds_core::Input;
use mds_core::input::ConnId;
use quinn::Connection;
use transport::FramedRecv;
use transport::hello::{HelloError, Stranger};

use super::listener::Reception;
use super::outbox::Outbox;

/// Until the connection ends. Its session lives on: the core's lease decides that.
pub(super) async fn serve(
    connection: Connection,
    mut stranger: Stranger,
    (conn, client): (ConnId, ClientId),
    reception: &Reception,
) -> Result<(), HelloError> {
    stranger.send.send(&reception.welcome(0)).await?;
    reception.outlet.clients.add(conn, Outbox::start(connection, stranger.send));
    let ended = read(&mut stranger.recv, (conn, client), reception).await;
    reception.outlet.clients.remove(conn);
    // If the core has ended there is nobody left to tell.
    let _ = reception.inbox.put(Input::ClientGone { conn, client }).await;
    ended
}

async fn read(
    recv: &mut FramedRecv,
    (conn, client): (ConnId, ClientId),
    reception: &Reception,
) -> Result<(), HelloError> {
    while let Some(msg) = recv.next::<ToMds>().await? {
        if reception.inbox.put(Input::Client { conn, client, msg }).await.is_err() {
            break;
        }
    }
    Ok(())
}
