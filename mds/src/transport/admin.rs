//! An operator's connection: one question after another, each answered before the next is read.

use common::wire::admin::{AdminReply, AdminRequest};
use mds_core::Input;
use mds_core::input::AdminId;
use quinn::Connection;
use transport::hello::{HelloError, Stranger};

use super::listener::Reception;

pub(super) async fn serve(
    connection: Connection,
    mut stranger: Stranger,
    next: impl Fn() -> AdminId,
    reception: &Reception,
) -> Result<(), HelloError> {
    stranger.send.send(&reception.welcome(0)).await?;
    while let Some(request) = stranger.recv.next::<AdminRequest>().await? {
        let id = next();
        let scan = if let AdminRequest::Scan { after } = &request { after.clone() } else { None };
        let answered = reception.outlet.questions.add(id);
        if reception.inbox.put(Input::Admin { id, request }).await.is_err() {
            break;
        }
        let reply = match answered.await {
            Ok(AdminReply::Leftovers(counts)) => {
                AdminReply::Leftovers(reception.outlet.readers.count_rows(counts).await)
            }
            Ok(AdminReply::Scanned(_)) => {
                AdminReply::Scanned(reception.outlet.readers.scan(scan).await)
            }
            Ok(reply) => reply,
            Err(_) => break,
        };
        stranger.send.send::<AdminReply>(&reply).await?;
    }
    stranger.send.finish();
    connection.closed().await;
    Ok(())
}
