//! `sync`: everything this rank has applied for the client is to be durable.

use common::error::FsError;
use common::id::ClientId;
use common::wire::reply::Answer;

use super::Done;
use crate::cx::{Cx, Step, Stop, Wait};

/// # Errors
/// What to wait for.
pub fn sync(cx: &Cx<'_>, client: ClientId) -> Step<Done> {
    let Some(session) = cx.own.sessions.get(client) else { return Err(FsError::Stale.into()) };
    if session.applied() <= cx.own.durable {
        return Ok(Done::read(Answer::Done));
    }
    Err(Stop::Wait(Wait::Durable(session.applied())))
}
